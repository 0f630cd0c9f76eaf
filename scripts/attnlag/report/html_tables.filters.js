function () {
  const table = this.api(), head = ".dt-scroll-head thead";
  const cells = table.table().container().querySelector(head).rows[1].cells;
  if (cells[0].querySelector("input")) return;
  table.columns().every(function (place) {
    const field = document.createElement("input");
    field.setAttribute("aria-label", "filter " + this.title());
    field.placeholder = "filter";
    field.addEventListener("input", () => this.search(field.value).draw());
    cells[place].replaceChildren(field);
  });
  table.columns.adjust();
}
