"""Text of a corpus on its way to a place that interprets it.

Ids, groups, classes and texts may contain anything, and each place takes other characters for
commands. Whatever leaves the data for such a place goes through `text_for`.
"""

import html
import re
from pathlib import Path
from typing import Literal

# Characters that end a line, control a terminal or the direction of text, or that XML forbids.
UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufffe\uffff]"
)

# What a spreadsheet takes for a formula, in some languages in full width too. A sign may also begin
# a number.
FORMULA = re.compile(r"[=@＝＠]|[+\-＋－](?![\d.]*$)")

Place = Literal["line", "figure", "csv", "html", "script"]


def text_for(place: Place, text: str) -> str:
    r"""Return text so that a place shows it and obeys none of it.

    Parameters
    ----------
    place : {"line", "figure", "csv", "html", "script"}
        A ``line`` of a terminal, a log or a text file: control characters are escaped, as in
        ``\x1b``. The text of a ``figure``, where dollar signs would enclose a formula, and a cell
        of ``csv``, where a formula gets a quotation mark in front: both without control characters
        too, which an SVG must not contain and which begin a row in a spreadsheet. The content or an
        attribute of ``html``. JSON in a ``script`` of HTML, which ``</script>`` would end.
    text : str
    """
    if place == "html":
        return html.escape(text)
    if place == "script":
        return text.replace("<", r"\u003c")
    line = UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    if place == "csv" and FORMULA.match(line):
        return f"'{line}"
    return line.replace("$", r"\$") if place == "figure" else line


def name_problem(path: str | Path) -> str | None:
    """Return why Snakemake cannot pass a file to a job by its name, or None if it can."""
    name = str(path)
    if text_for("line", name) != name:
        return f"the name {name!r} has characters that cannot be printed, expected another name"
    # Snakemake replaces {corpus} and {model} by the names of a corpus and a model, and <results> by
    # a folder.
    if ("{" in name and "}" in name) or ("<" in name and ">" in name):
        return f"the name {name!r} has brackets that mark wildcards, expected another name"
    return None
