"""Tokens in lines of a number of characters, in scripts that run to the right or to the left.

The order is that of Unicode's algorithm (UAX 9) without embeddings and pairs of brackets.
"""

import itertools
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

# Line ends as they are shown.
LINE_ENDS = str.maketrans("\n\r", "⏎⏎")

# Whether letters run to the left, by the class of their direction; numbers run to the right.
LETTERS = {"L": 0, "R": 1, "AL": 1}
NUMBER = re.compile(r"\d(?:[.,:/]?\d)*")


class Part(NamedTuple):
    """Characters of a token that stand side by side in a line."""

    token: int
    line: int
    column: int  # of the leftmost one
    text: str
    to_left: bool  # whether they run to the left


def wrapped(tokens: Sequence[str], width: int, lines: int) -> tuple[list[Part], bool]:
    """Arrange tokens in lines with words whole; return their parts, and whether some are left out.

    Blank lines and white space between lines are left out silently.
    """
    text = "".join(tokens).translate(LINE_ENDS)
    owners = np.repeat(np.arange(len(tokens)), [len(token) for token in tokens])
    wrapper = textwrap.TextWrapper(
        width, expand_tabs=False, replace_whitespace=False, break_on_hyphens=False
    )
    contents = (
        (content, bool(_letters(paragraph).dropna().iloc[:1].sum()))
        for paragraph in re.findall(r"[^\s⏎][^⏎]*⏎?", text)
        for content in wrapper.wrap(paragraph)
    )
    parts, end = [], 0
    for line, (content, to_left) in enumerate(itertools.islice(contents, lines)):
        start = text.index(content, end)
        end = start + len(content)
        owner, levels = owners[start:end], _levels(content, to_left)
        columns = to_left * (width - len(content)) + _columns(levels)
        borders = np.flatnonzero(np.diff(owner) | np.diff(levels)) + 1
        for run in np.split(np.arange(len(content)), borders):
            shown = content[run[0] : run[-1] + 1].replace("\t", "→")
            place = int(owner[run[0]]), line, int(columns[run].min())
            parts.append(Part(*place, shown, bool(levels[run[0]] == 1)))
    return parts, next(contents, None) is not None


def _letters(text: str) -> pd.Series:
    """Return whether letters run to the left, as 0 or 1; NaN for other characters."""
    return pd.Series([unicodedata.bidirectional(c) for c in text], dtype=str).map(LETTERS)


def _levels(line: str, to_left: bool) -> np.ndarray:
    """Return the level of each character, odd where it runs to the left, as paragraphs do or not.

    A number goes with the letters before it, what is neither with those on both sides, if they
    agree, or else with the paragraph.
    """
    # The paragraph goes on before and after the line.
    letters = pd.Series([to_left, *_letters(line), to_left], dtype=float)
    number = np.zeros(len(letters), bool)
    for match in NUMBER.finditer(f" {line}"):
        number[slice(*match.span())] = True
    known = letters.where(~number, letters.ffill())
    before, after = known.ffill(), known.bfill()
    turned = np.where(before == after, before, to_left) == 1
    return np.where(turned, 1 + number, 2 * to_left)[1:-1]


def _columns(levels: np.ndarray) -> np.ndarray:
    """Return the column of each character, the leftmost being 0."""
    order = np.arange(len(levels))
    # Numbers and names inside are turned back.
    for level in (2, 1):
        inside = levels[order] >= level
        runs = np.split(order, np.flatnonzero(np.diff(inside)) + 1)
        order = np.concatenate([run[::-1] if levels[run[:1]] >= level else run for run in runs])
    return np.argsort(order)
