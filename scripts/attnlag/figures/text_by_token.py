"""Documents with every token shaded by its norm in one layer."""

import functools
import itertools
import operator
import re
import textwrap
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Rectangle

from attnlag.claims.numbers import number, significant
from attnlag.corpus.alignment import token_texts
from attnlag.corpus.documents import group_by_document, unknown_documents
from attnlag.errors import UserError, counted
from attnlag.escaping import text_for
from attnlag.figures.drawing import SHADES, TAIL, chosen_layers, framed
from attnlag.figures.inputs import Inputs
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.templates import CustomFigure
from attnlag.figures.wording import shortened
from attnlag.quantities import columns
from attnlag.quantities.outcomes import log_norms
from attnlag.storage import tables

DRAWN_BY = "plot_adjustments"
CATEGORY = "norms"
SUBCATEGORY = "the text itself"
METHOD = (
    "Tokens are shaded by their norm in one layer, on the scale of the central 99% of the corpus."
)

# Number of groups whose first document is shown by default, and of tokens read per document, which
# exceeds the room of a figure.
MOST_DOCUMENTS, MOST_TOKENS = 20, 2000

# Number of lines of a figure, shared by its documents, and the smallest number for one document.
MOST_LINES, FEWEST_LINES = {"page": 40, "column": 30}, 3

# Sizes in inches. The width of the font is 0.602 of its size.
FONT, SIZE = "DejaVu Sans Mono", 8.0
LINE, CHARACTER = 0.185, 0.602 * SIZE / 72
BESIDE, LONGEST_NAME = 1.25, 16

# Line ends as they are shown, and the mark of a character that the font lacks.
LINE_ENDS, NO_GLYPH = str.maketrans("\n\r", "⏎⏎"), "▯"

# Whether letters run to the right or to the left, and digits, by Unicode's class of a character,
# and the mark with which a text runs to the left.
KINDS, MARK = {"L": "L", "R": "R", "AL": "R", "EN": "digits", "AN": "digits"}, "\u200f"

# A correlation of neighbours below this is called weak.
WEAK = 0.1


def chosen_documents(
    requested: Sequence[str] | None, group_of: Mapping[str, str], corpus: str
) -> list[str]:
    """Return the requested documents, or the first of each group; unknown ones are a UserError."""
    if requested is None:
        return list(pd.Series(group_of).drop_duplicates().index[:MOST_DOCUMENTS])
    if problems := unknown_documents(corpus, requested, group_of):
        raise UserError(problems)
    return list(requested)


def limits_of(log_norms: pd.Series) -> tuple[float, float]:
    """Return the log norms at which a layer's shades end: the central 99% of its tokens."""
    low, high = log_norms.quantile([TAIL, 1 - TAIL]).fillna(0.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def figure(inputs: Inputs) -> CustomFigure:
    """Return the beginnings of the chosen documents, shaded on the scale of all documents."""
    sample, drop_first = inputs.sample, inputs.drop_first
    group_of = group_by_document(inputs.corpus)
    names = chosen_documents(inputs.documents, group_of, inputs.record["corpus"]["name"])
    layer = sample.layers[len(sample.layers) // 2]
    if inputs.text_layer is not None:
        (layer,) = chosen_layers([inputs.text_layer], sample.layers, "layer of the shaded text")
    corpus, sequences, norms = (
        tables.rows_of_documents(paths, names).groupby("document")
        for paths in ([inputs.corpus], inputs.tokens, inputs.norms)
    )
    documents = []
    for name in names:
        (text,) = corpus.get_group(name)["text"]
        places = sequences.get_group(name)[["char_start", "char_end"]].to_numpy()
        tokens = [token for ends in places for token in token_texts(text, *ends)]
        rows = norms.get_group(name).iloc[:MOST_TOKENS]
        shown = pd.DataFrame({"token": tokens[: len(rows)]})
        shown["dropped"] = rows["position"].to_numpy() < drop_first
        shown["log"] = log_norms(rows[columns.layer_name(layer)].to_numpy())
        documents.append((group_of[name], shown))
    limits = limits_of(sample.from_position(drop_first).log_norms[layer])
    label = f"norm of the {inputs.label} in layer {layer}"
    return CustomFigure(claim_of(documents, layer), draw, (documents, limits, label))


def claim_of(documents: Sequence[tuple[str, pd.DataFrame]], layer: int) -> str:
    """Return the correlation of neighbouring norms within documents."""
    of_documents = [table["log"].mask(table["dropped"]) for _, table in documents]
    logs = pd.concat(of_documents, keys=range(len(documents)))
    pairs = pd.DataFrame({"before": logs.groupby(level=0).shift(), "after": logs}).dropna()
    centred = pairs - pairs.groupby(level=0).transform("mean")
    if not centred["before"].any() or not centred["after"].any():
        return f"Norms along the text in layer {layer}"
    correlation = centred["before"].corr(centred["after"])
    claim = "Norms hardly depend on the previous token's"
    if abs(correlation) > WEAK:
        claim = "Large norms come in runs" if correlation > 0 else "Large and small norms alternate"
    claim += f" in {counted(len(documents), 'document')}"
    return f"{claim} (correlation of neighbours {number(correlation)} in layer {layer})"


def wrapped(tokens: Sequence[str], width: int, lines: int) -> tuple[list[tuple], bool]:
    """Arrange tokens in lines with words whole, and return whether some have no line.

    Blank lines and white space between lines are left out. A token has a part in each line, and
    one for its white space: (token, line, column, text, whether it runs to the left).
    """
    text = "".join(tokens).translate(LINE_ENDS)
    owners = np.repeat(np.arange(len(tokens)), [len(token) for token in tokens]).tolist()
    wrapper = textwrap.TextWrapper(
        width, expand_tabs=False, replace_whitespace=False, break_on_hyphens=False
    )
    contents = itertools.chain(*map(wrapper.wrap, re.findall(r"[^\s⏎][^⏎]*⏎?", text)))
    parts, end = [], 0
    for line, content in enumerate(itertools.islice(contents, lines)):
        start = text.index(content, end)
        end = start + len(content)
        characters = zip(owners[start:end], map(str.isspace, content), content, strict=True)
        groups = itertools.groupby(characters, operator.itemgetter(0, 1))
        runs = [(token, "".join(c for *_, c in run)) for (token, _), run in groups]
        turned = kind_of(re.sub(r"\d", "", content)) == "R"
        column = (width - len(content)) * turned
        for token, shown, to_left in from_the_left(runs, turned):
            parts.append((token, line, column, shown.replace("\t", "→"), to_left))
            column += len(shown)
    return parts, next(contents, None) is not None


def kind_of(text: str) -> str | None:
    """Return the kind of the first letter or digit, None without any."""
    classes = map(unicodedata.bidirectional, text)
    return next((KINDS[name] for name in classes if name in KINDS), None)


def from_the_left(runs: Sequence[tuple], turned: bool) -> list[tuple]:
    """Return the tokens of a line, leftmost first, with whether each runs to the left.

    Digits run to the right, and belong to letters before them that do. Others than letters and
    digits go with both sides, if they agree, or with the line.
    """
    line = "R" if turned else "L"
    known = pd.Series([line, *(kind_of(text) for _, text in runs), line])
    letters = known.where(known != "digits").ffill()
    known = known.mask((known == "digits") & (letters == "L"), "L")
    before, after = known.ffill(), known.bfill()
    directions = before.where(before == after, line).tolist()[1:-1]
    parts = [(*run, kind == "R") for run, kind in zip(runs, directions, strict=True)]
    groups = [list(group) for _, group in itertools.groupby(parts, operator.itemgetter(2))]
    # A line to the left is turned as a whole, and what runs to the right in it once more.
    ordered = [part for g in groups for part in (g if g[0][2] == turned else g[::-1])]
    return ordered[::-1] if turned else ordered


def draw(
    documents: Sequence[tuple[str, pd.DataFrame]],
    limits: tuple[float, float],
    label: str,
    title: str,
    size: Size,
) -> Figure:
    """Draw the beginnings of documents, each token shaded by its norm.

    If there is no room for all documents, the first ones are shown. In a narrow figure their groups
    stand above them instead of beside them.
    """
    shown = documents[: None if size is PAGE else MOST_LINES[size.name] // FEWEST_LINES]
    most = max(FEWEST_LINES, MOST_LINES[size.name] // len(shown) - size.narrow)
    beside, over = (0.0, LINE) if size.narrow else (BESIDE, 0.0)
    width = int((size.canvas - beside - 0.2) / CHARACTER)
    blocks = [wrapped(list(table["token"]), width, most) for _, table in shown]
    # What is nothing but white space has no parts.
    lines = [parts[-1][1] if parts else 0 for parts, _ in blocks]
    tops = np.cumsum([0.0, *(LINE * (1.45 + line) + over for line in lines)])
    texts = {text: to_left for parts, _ in blocks for *_, text, to_left in parts}
    notes = {
        "Dashed: first tokens, which the regressions leave out. Shades: the central 99% of the "
        "corpus. ⏎: a line end.": True,
        "Only the beginnings of the documents are shown.": any(cut for _, cut in blocks),
        "Only the first documents are shown.": len(shown) < len(documents),
        f"{NO_GLYPH}: a character that the font lacks.": any(visible(t) != t for t in texts),
        "Right-to-left text is in order of tokens; letters join within one.": any(texts.values()),
    }
    note = " ".join(text for text, needed in notes.items() if needed)
    figure, canvas = framed(title, note, size, tops[-1] + 0.8)
    axes, bar = canvas.subplots(2, height_ratios=(tops[-1], 0.13))
    axes.set(xlim=(0, size.canvas - 0.2), ylim=(tops[-1], 0))
    axes.axis("off")
    low, high = limits
    # The last tenth of the colours is too dark for text.
    scale = Normalize(low, low + (high - low) / 0.9)
    for (group, table), (parts, _), top in zip(shown, blocks, tops[:-1], strict=True):
        axes.text(0, top + 0.13, shortened(group, LONGEST_NAME), weight="bold", fontsize=8.5)
        shades = np.nan_to_num(scale(np.clip(table["log"].to_numpy(), low, high)))
        for token, line, column, text, to_left in parts:
            left = beside + column * CHARACTER
            above = top + over + line * LINE
            box = Rectangle((left, above + 0.012), len(text) * CHARACTER, LINE - 0.024)
            box.set_facecolor(SHADES(shades[token]) if np.isfinite(table["log"][token]) else "w")
            box.set_edgecolor("k" if table["dropped"][token] else "none")
            box.set(linewidth=0.7, linestyle=(0, (2, 1.5)))
            axes.add_patch(box)
            if text.strip():
                seen = MARK * to_left + text_for("figure", visible(text))
                kind: dict[str, Any] = {"family": FONT, "fontsize": SIZE}
                kind["color"] = "w" if shades[token] > 0.45 else "k"
                axes.text(left, above + 0.135, seen, **kind)
    colours: dict[str, Any] = {"orientation": "horizontal", "label": f"{label} (log scale)"}
    colours |= {"boundaries": np.linspace(low, high, 91), "ticks": np.linspace(low, high, 5)}
    colours["format"] = lambda log, _: significant(np.exp(log))
    canvas.colorbar(ScalarMappable(scale, SHADES), bar, extend="neither", **colours)
    return figure


@functools.cache
def glyphs() -> Collection[int]:
    """Return the code points of the characters that the font of the tokens has."""
    return FT2Font(findfont(FontProperties(family=FONT))).get_charmap()


def visible(text: str) -> str:
    """Return a text with a mark in place of each character that the font lacks."""
    return "".join(c if ord(c) in glyphs() and text_for("line", c) == c else NO_GLYPH for c in text)
