"""One corpus whose ids, groups and texts are commands to whatever interprets them."""

import json

from projects import WORDS, Project

from attnlag.figures.settings import ON_REQUEST

MARK = "hostile"
SCRIPT = f"</script><script>alert('{MARK}')</script><img src=x onerror=alert('{MARK}')>"
FORMULA = f"=cmd|'/c {MARK}'!A1"
TERMINAL = f"\x1b]0;{MARK}\x07\x1b[2J\x9b31m\x00"
MARKUP = f"$\\frac{{{MARK}$ & <b> \\$ ${{_$"
LINES = f"{MARK}\nerror: all is well\r\n| group_x"
TURNED = "\u202e\u200e\u200f\u061c\u2066\u2028\ufffe"

PARTS = (SCRIPT, FORMULA, TERMINAL, MARKUP, LINES, TURNED)
# A group of its own for each, and one for all of them.
GROUPS = (*PARTS, "+".join(PARTS))
DOCUMENTS_OF_EACH = 7


def write_hostile_corpus(project: Project) -> None:
    """Make the corpus of a project hostile, and ask for every page and figure that shows it."""
    rows = []
    for place, group in enumerate(GROUPS):
        for number in range(DOCUMENTS_OF_EACH):
            words = [
                WORDS[(place + number * 7 + at * (place + 3)) % len(WORDS)] for at in range(30)
            ]
            text = " ".join(words[:15]) + f" {group} " + " ".join(words[15:])
            rows.append({"id": f"{group}{number}", "genre": group, "text": text})
    (project.folder / "data/small.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    project.write_config(
        extraction={"keep": "norms"},
        regressions={
            "notebook": {"lags": [1, 2]},
            "grouped": {"lags": [1], "covariates": ["group"], "bias_correction": "none"},
        },
        figures={"also": list(ON_REQUEST), "formats": ["svg"]},
    )
