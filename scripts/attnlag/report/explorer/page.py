"""The explorer: one page that shows a study and opens without a network.

It is HTML that contains its style, scripts, glossary and numbers. Names and texts of a run reach it
only as compressed data, which it writes as text, never as markup.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from attnlag.report.explorer.contents import Contents, contents
from attnlag.report.explorer.documents import MOST_VALUES
from attnlag.report.explorer.packing import json_block
from attnlag.report.regression_tables import RegressionTables

FOLDER = Path(__file__).parent

# Largest page in bytes.
MOST_BYTES = 6_000_000

PROGRAMS = "contents page.charts documents page.state page.study page.tabs page.tokens page".split()


def page(regressions: Sequence[RegressionTables], findings: Sequence[Path]) -> str:
    """Return the page as HTML, of at most `MOST_BYTES` unless it shows one document per corpus.

    How well it compresses is known afterwards; too large a page is made again with fewer documents.
    """
    values, values_before = MOST_VALUES, -1
    while True:
        made = contents(regressions, findings, values)
        text = page_of(made)
        data, excess = sum(map(len, made.blocks.values())), len(text.encode()) - MOST_BYTES
        if excess <= 0 or made.values == values_before:
            return text
        values_before = made.values
        values = int(max(0.97 * made.values * (1 - excess / data), 0))


def page_of(contents: Contents) -> str:
    """Return the page of some contents as HTML."""
    blocks = {"index": json_block(contents.index), "glossary": json_block(glossary())}
    blocks |= contents.blocks
    # Base64 needs no escaping in HTML; blocks are numbered in order.
    data = "\n".join(
        f'<script type="application/octet-stream" id="block-{place}">{text}</script>'
        for place, text in enumerate(blocks.values())
    )
    replacements = {
        "@STYLE@": _read("page.css"),
        "@NAMES@": json_block(list(blocks)),
        "@DATA@": data,
        "@PROGRAM@": "\n".join(_read(f"{name}.js") for name in PROGRAMS),
    }
    text = _read("page.html")
    for mark, replacement in replacements.items():
        text = text.replace(mark, replacement)
    return text


def glossary() -> dict[str, str]:
    """Return the definition of each term, by its names in lower case."""
    entries = re.findall(r"- \*\*(.+?)\*\*: ((?:.|\n  )+)", _read("page.glossary.md"))
    return {
        name: " ".join(re.sub("[*`]", "", meaning).split())
        for names, meaning in entries
        for name in names.lower().split(", ")
    }


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
