"""The explorer: one page that shows a study and opens without a network.

It is HTML that contains its style, scripts, glossary and numbers. Names and texts of a run reach it
only as compressed data, which it writes as text, never as markup.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from attnlag.claims.results import RegressionResults
from attnlag.claims.run import RunClaims
from attnlag.report.explorer.contents import Contents, contents
from attnlag.report.explorer.packing import json_block

FOLDER = Path(__file__).parent

PROGRAMS = "contents page.charts documents page.state page.study page.tokens page".split()


def page(
    regressions: Sequence[RegressionResults], claims: RunClaims, findings: Sequence[Path]
) -> str:
    """Return the page as HTML; `documents.MAX_VALUES` bounds its size."""
    return page_of(contents(regressions, claims, findings))


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
        "@PROGRAM@": program(),
    }
    text = _read("page.html")
    for mark, replacement in replacements.items():
        text = text.replace(mark, replacement)
    return text


def program() -> str:
    """Return the JavaScript of the page, which is one module."""
    return "\n".join(_read(f"{name}.js") for name in PROGRAMS)


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
