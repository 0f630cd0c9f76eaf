"""Documents with every token shaded by its norm in one layer."""

import functools
import itertools
import re
import textwrap
from collections.abc import Mapping, Sequence
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
from attnlag.corpus.documents import group_by_document
from attnlag.errors import UserError, counted, nearest
from attnlag.escaping import text_for
from attnlag.figures import sizes
from attnlag.figures.drawing import SHADES, TAIL, chosen_layers, framed
from attnlag.figures.files import style
from attnlag.figures.inputs import Inputs
from attnlag.figures.sizes import Size
from attnlag.figures.templates import CustomFigure
from attnlag.figures.wording import shortened
from attnlag.quantities import columns
from attnlag.quantities.catalogue import SITES
from attnlag.quantities.norms import log_norms
from attnlag.storage import tables

DRAWN_BY = "plot_adjustments"
CATEGORY = "norms"
SUBCATEGORY = "the text itself"
METHOD = (
    "Tokens are shaded by their norm in one layer, on the scale of the central 99% of the corpus."
)

# Number of groups whose first document is shown by default.
MOST_DOCUMENTS = 20

# Number of tokens read per document, which exceeds the room of a figure.
MOST_TOKENS = 2000

# Number of lines of a figure, shared by its documents, and the smallest number for one document.
MOST_LINES = {"page": 40, "column": 30}
FEWEST_LINES = 3

# Sizes in inches. The width of the font is 0.602 of its size.
FONT, SIZE = "DejaVu Sans Mono", 8.0
LINE = 0.185
CHARACTER = 0.602 * SIZE / 72
BESIDE = 1.25
LONGEST_NAME = 16

# Line ends as they are shown.
LINE_ENDS = str.maketrans("\n\r", "⏎⏎")

NO_GLYPH = "▯"

# A correlation of neighbours below this is called weak.
WEAK = 0.1


def chosen_documents(
    requested: Sequence[str] | None, group_of: Mapping[str, str], corpus: str
) -> list[str]:
    """Return the documents to show: those requested, or the first one of each group.

    Documents that are not in the corpus are a UserError.
    """
    if requested is None:
        return list(pd.Series(group_of).drop_duplicates().index[:MOST_DOCUMENTS])
    if absent := [name for name in requested if name not in group_of]:
        raise UserError(
            f"figures.documents.{corpus}: found '{name}', expected one of its "
            f"{counted(len(group_of), 'document')}{nearest(name, group_of)}"
            for name in absent
        )
    return list(requested)


def limits_of(log_norms: pd.Series) -> tuple[float, float]:
    """Return the log norms at which a layer's shades end: the central 99% of its tokens."""
    low, high = log_norms.quantile([TAIL, 1 - TAIL]).fillna(0.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def figure(inputs: Inputs) -> CustomFigure:
    """Return the beginnings of the chosen documents, shaded on the scale of all documents."""
    settings, sample = inputs.settings, inputs.sample
    group_of = group_by_document(inputs.corpus)
    names = chosen_documents(settings.documents, group_of, inputs.record["corpus"]["name"])
    layer = sample.layers[len(sample.layers) // 2]
    if settings.text_layer is not None:
        (layer,) = chosen_layers([settings.text_layer], sample.layers, "layer of the shaded text")
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
        dropped = rows["position"].to_numpy() < settings.drop_first
        logs = log_norms(rows[columns.layer_name(layer)].to_numpy())
        shown = pd.DataFrame({"token": tokens[: len(rows)], "dropped": dropped, "log": logs})
        documents.append((group_of[name], shown))
    limits = limits_of(sample.from_position(settings.drop_first).log_norms[layer])
    label = f"norm of the {SITES[inputs.site].label} in layer {layer}"
    drawn = functools.partial(draw, documents, limits, label)
    return CustomFigure(claim_of(documents, layer), drawn)


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
    return f"{claim} (correlation of neighbours {number(correlation)} in layer {layer})"


def wrapped(tokens: Sequence[str], width: int, lines: int) -> list[tuple[int, int, int, str]]:
    """Arrange tokens in lines of a number of characters, with words whole, and return their parts.

    Text that does not fit is left out, as are blank lines and white space between lines. A part is
    (token, line, column, text); a token has a part in each line that it is in.
    """
    text = "".join(tokens).translate(LINE_ENDS)
    owners = np.repeat(np.arange(len(tokens)), [len(token) for token in tokens])
    wrapper = textwrap.TextWrapper(
        width, expand_tabs=False, replace_whitespace=False, break_on_hyphens=False
    )
    wrapped_lines = map(wrapper.wrap, re.findall(r"[^\s⏎][^⏎]*⏎?", text))
    parts, end = [], 0
    for line, content in enumerate(itertools.islice(itertools.chain(*wrapped_lines), lines)):
        start = text.index(content, end)
        end = start + len(content)
        for token, run in itertools.groupby(range(start, end), owners.__getitem__):
            first, *_, last = 2 * list(run)
            shown = text[first : last + 1].replace("\t", "→")
            parts.append((int(token), line, first - start, shown))
    return parts


@style()
def draw(
    documents: Sequence[tuple[str, pd.DataFrame]],
    limits: tuple[float, float],
    label: str,
    title: str,
    size: Size = sizes.PAGE,
) -> Figure:
    """Draw the beginnings of documents, each token shaded by its norm.

    If there is no room for all documents, the first ones are shown. In a narrow figure their groups
    stand above them instead of beside them.
    """
    shown = documents[: None if size is sizes.PAGE else MOST_LINES[size.name] // FEWEST_LINES]
    most = max(FEWEST_LINES, MOST_LINES[size.name] // len(shown) - size.narrow)
    beside, over = (0.0, LINE) if size.narrow else (BESIDE, 0.0)
    width = int((size.canvas - beside - 0.2) / CHARACTER)
    parts_of = [wrapped(list(table["token"]), width, most) for _, table in shown]
    heights = [LINE * (1.45 + parts[-1][1]) + over for parts in parts_of]
    cut = [parts[-1][0] + 1 < len(of) for (_, of), parts in zip(shown, parts_of, strict=True)]
    notes = {
        "Dashed: first tokens, which the regressions leave out. Shades: the central 99% of the "
        "corpus. ⏎: a line end.": True,
        "Only the beginnings of the documents are shown.": any(cut),
        "Only the first documents are shown.": len(shown) < len(documents),
        f"{NO_GLYPH}: a character that the font lacks.": any(
            visible(text) != text for parts in parts_of for *_, text in parts
        ),
    }
    note = " ".join(text for text, needed in notes.items() if needed)
    figure, canvas = framed(title, note, size, sum(heights) + 0.8)
    axes = canvas.subplots()
    axes.set(xlim=(0, size.canvas - 0.2), ylim=(sum(heights), 0))
    axes.axis("off")
    low, high = limits
    # The last tenth of the colours is too dark for text.
    scale = Normalize(low, low + (high - low) / 0.9)
    top = 0.0
    for (group, table), parts, height in zip(shown, parts_of, heights, strict=True):
        name = shortened(group, LONGEST_NAME)
        axes.text(0, top + 0.13, name, weight="bold", fontsize=8.5)
        shades = np.nan_to_num(scale(np.clip(table["log"].to_numpy(), low, high)))
        for token, line, column, text in parts:
            left, above = beside + column * CHARACTER, top + over + line * LINE
            shade, known = shades[token], np.isfinite(table["log"][token])
            box = Rectangle((left, above + 0.012), len(text) * CHARACTER, LINE - 0.024)
            box.set_facecolor(SHADES(shade) if known else "w")
            box.set_edgecolor("k" if table["dropped"][token] else "none")
            box.set(linewidth=0.7, linestyle=(0, (2, 1.5)))
            axes.add_patch(box)
            if text.strip():
                start = left + (len(text) - len(text.lstrip())) * CHARACTER
                kind: dict[str, Any] = {"family": FONT, "fontsize": SIZE}
                kind["color"] = "w" if shade > 0.45 else "k"
                axes.text(start, above + 0.135, text_for("figure", visible(text).strip()), **kind)
        top += height
    canvas.colorbar(
        ScalarMappable(scale, SHADES),
        ax=axes,
        location="bottom",
        label=f"{label} (log scale)",
        boundaries=np.linspace(low, high, 91),
        ticks=np.linspace(low, high, 5),
        format=lambda log, _: significant(np.exp(log)),
        extend="neither",
        aspect=50,
        fraction=0.02,
        pad=0.005,
    )
    return figure


@functools.cache
def glyphs() -> FT2Font:
    """Return the font of the tokens."""
    return FT2Font(findfont(FontProperties(family=FONT)))


def visible(text: str) -> str:
    """Return a text with a mark in place of each character that the font lacks."""
    return "".join(
        c if glyphs().get_char_index(ord(c)) and text_for("line", c) == c else NO_GLYPH
        for c in text
    )
