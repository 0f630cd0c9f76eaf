"""The drawing of the workflow and the packages of the library: docs/house.svg."""

import re
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
# From the top down; those that compute are green.
PACKAGES = {
    "study": "measure, fit, intervene and read, in a notebook",
    "pipeline": "targets · stages · outputs · digests · program",
    "config": "schema · reading · problems",
    "report": "answers · findings · explorer · paper",
    "figures": "catalogue · one module per figure · templates",
    "claims": "each statement once, with its numbers",
    "interventions": "edits · derivative · finite · elasticities",
    "regression": "design · estimation · inference · slopes",
    "quantities": "catalogue · extraction · norms · heads · sources …",
    "corpus": "documents · formats · tokens · properties",
    "model": "fetching · decoder · hooks · loading",
    "storage": "tables · writing · results",
}
PLAIN, COMPUTES = "#f1f1f1", set(list(PACKAGES)[3:11])
STEP, LEFT, TOP = 38, 380, 40


def boxes(x: int, width: int, colours: Sequence[str]) -> list[str]:
    """Return boxes of some colours, one below the other."""
    place = f'<rect x="{x}" width="{width}" height="{STEP - 8}" rx="5" stroke="#555555"'
    return [
        f'{place} y="{TOP + STEP * row}" fill="{colour}"/>' for row, colour in enumerate(colours)
    ]


def column(x: int, words: Sequence[str], style: str = "") -> list[str]:
    """Return words, one below the other, in boxes."""
    return [
        f'<text x="{x}" y="{TOP + 20 + STEP * row}"{style}>{text}</text>'
        for row, text in enumerate(words)
    ]


def house() -> str:
    """Return the drawing as SVG."""
    folders = {path.parent.name for path in (ROOT / "scripts/attnlag").glob("*/__init__.py")}
    assert folders == set(PACKAGES), folders ^ set(PACKAGES)
    includes = (ROOT / "workflow/Snakefile").read_text(encoding="utf-8")
    rules = [
        name
        for name in re.findall(r'include: "rules/(\w+)\.smk"', includes)
        if "use rule program as"
        in (ROOT / f"workflow/rules/{name}.smk").read_text(encoding="utf-8")
    ]
    height = STEP * max(len(rules), len(PACKAGES)) - 8
    middle = TOP + height // 2
    colours = ["#eaf4ea" if name in COMPUTES else PLAIN for name in PACKAGES]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {height + 60}" '
        'font-family="system-ui, sans-serif" font-size="14" fill="#222222" role="img" '
        'aria-label="The rules of the workflow call programs, one for each rule, and these call '
        'the packages of the library, whose imports point down">',
        f'<rect width="900" height="{height + 60}" fill="#ffffff"/>',
        '<text x="20" y="26">workflow/rules/*.smk</text><text x="205" y="26">scripts/</text>',
        f'<text x="{LEFT}" y="26">scripts/attnlag/: imports point down</text>',
        *boxes(20, 150, ["#e8f1f7"] * len(rules)),
        *column(30, rules),
        f'<rect x="205" y="{TOP}" width="130" height="{height}" rx="5" fill="#fdf0d5" '
        'stroke="#555555"/>',
        *(
            f'<text x="220" y="{middle - 33 + 22 * row}">{text}</text>'
            for row, text in enumerate(("one thin", "program for", "each rule;", "one for plots"))
        ),
        *(
            f'<path d="M{x} {middle} h{length} m-6 -4 l6 4 l-6 4" fill="none" stroke="#555555"/>'
            for x, length in ((170, 33), (335, 43))
        ),
        *boxes(LEFT, 500, colours),
        *column(LEFT + 12, list(PACKAGES), ' font-weight="600"'),
        *column(LEFT + 126, list(PACKAGES.values()), ' font-size="13" fill="#444444"'),
    ]
    return "\n".join([*lines, "</svg>\n"])
