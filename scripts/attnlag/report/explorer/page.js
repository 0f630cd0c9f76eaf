// The controls, and the start of the page.

for (const key of ["model", "corpus", "site", "regression"]) {
  find(key).addEventListener("change", event => {
    state[key] = event.target.value;
    showStudy();
  });
}
const repaint = () => { paint(); showLayer(); };
find("theme").addEventListener("change", event => {
  state.theme = event.target.value;
  repaint();
});
themes.addEventListener("change", repaint);
for (const key of ["lag", "shade"]) {
  find(key).addEventListener("change", event => {
    state[key] = event.target.value;
    if (key === "shade") delete state.class;
    showLayer();
  });
}
find("layer").addEventListener("input", event => setLayer(study.layers[event.target.value]));
find("find").addEventListener("input", () => {
  if (showDocuments()) showDocument();
});
find("document").addEventListener("change", event => {
  state.document = event.target.value;
  delete state.token;
  showDocument();
});
for (const form of document.forms) form.addEventListener("submit", event => event.preventDefault());

// Arrow keys move between tabs.
find("tabs").addEventListener("keydown", event => {
  const tabs = [...find("tabs").children], at = tabs.indexOf(document.activeElement);
  const to = {ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tabs.length - 1}[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const tab = tabs[(to + tabs.length) % tabs.length];
  openTab(tab.id.replace("tab-", ""));
  tab.focus();
});
addEventListener("scroll", hideTip, {passive: true});
addEventListener("hashchange", () => {
  readAddress();
  paint();
  showStudy();
});

// For the console of the browser: the data of the page.
globalThis.explorer = {index, state, cell, panels: Panel.all, get tokens() { return tokens; }, get study() { return study; }};

find("words-used").querySelector("dl").append(...Object.entries(glossary).flatMap(([name, meaning]) =>
  [make("dt", name), make("dd", meaning)]));
readAddress();
find("main").hidden = false;
paint();
await showStudy();
document.documentElement.dataset.ready = "yes";
