"""Documents with every token shaded by its norm in one layer."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Rectangle

from attnlag.adjustments import columns
from attnlag.adjustments.norms import log_norms
from attnlag.adjustments.sites import SITES
from attnlag.corpus.documents import group_by_document
from attnlag.corpus.pieces import token_texts
from attnlag.errors import UserError, nearest
from attnlag.escaping import text_for
from attnlag.figures import sizes
from attnlag.figures.drawing import (
    SHADES,
    TAIL,
    frame,
    quantiles_of,
)
from attnlag.figures.files import style
from attnlag.figures.inputs import Inputs
from attnlag.figures.sizes import Size
from attnlag.figures.templates import Own
from attnlag.figures.wording import number, shortened, significant
from attnlag.storage import tables

DRAWN_BY = ("plot_norms",)
CATEGORY = "norms"
SUBCATEGORY = "the text itself"

# Number of groups whose first document is shown by default.
MOST_DOCUMENTS = 20

# Number of tokens read per document, which exceeds the room of a figure.
MOST_TOKENS = 2000

# Number of lines of a figure, shared by its documents, and the smallest number for one document.
MOST_LINES = {"page": 40, "column": 30, "slide": 15}
FEWEST_LINES = 3

# Sizes in inches. The width of DejaVu Sans Mono is 0.602 of its size.
SIZE = 8.0
LINE = 0.185
CHARACTER = 0.602 * SIZE / 72
BESIDE = 1.25
LONGEST_NAME = 16

# Replacements for characters without a glyph.
VISIBLE = str.maketrans({"\n": "⏎", "\t": "→", "\r": "⏎"})

NO_GLYPH = "▯"

# A correlation of neighbours below this is called weak.
WEAK = 0.1


@dataclass
class ShadedDocument:
    """One document, or its beginning."""

    group: str
    tokens: list[str]  # the text that each token stands for
    dropped: np.ndarray  # True for the first tokens of sequences, which the regressions leave out
    logs: np.ndarray  # log norms; NaN if a norm is zero or not finite


def chosen_documents(
    wanted: Sequence[str] | None, group_of: Mapping[str, str], corpus: str
) -> list[str]:
    """Return the documents to show: those requested, or the first one of each group.

    Documents that are not in the corpus are a UserError.
    """
    if wanted is None:
        return list(pd.Series(group_of).drop_duplicates().index[:MOST_DOCUMENTS])
    if absent := [name for name in wanted if name not in group_of]:
        raise UserError(
            f"documents to shade: found '{name}', expected a document of "
            f"{corpus}{nearest(name, group_of)}"
            for name in absent
        )
    return list(wanted)


def chosen_layer(wanted: int | None, layers: Sequence[int]) -> int:
    """Return the index of the layer to show: the one requested, or the middle one.

    A layer that the model does not have is a UserError.
    """
    if wanted is None:
        return len(layers) // 2
    if wanted not in layers:
        raise UserError(
            f"layer of the shaded text: found {wanted}, expected one of this model: {min(layers)} "
            f"to {max(layers)}"
        )
    return list(layers).index(wanted)


def limits_of(log_norms: np.ndarray) -> tuple[float, float]:
    """Return the log norms at which a layer's shades end: the central 99% of its tokens."""
    low, high = np.nan_to_num(quantiles_of(log_norms, (TAIL, 1 - TAIL))).tolist()
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def figure(inputs: Inputs) -> Own:
    """Return the beginnings of the chosen documents, shaded on the scale of all documents."""
    settings, sample = inputs.settings, inputs.sample
    group_of = group_by_document(inputs.corpus)
    chosen = chosen_documents(settings.documents, group_of, inputs.record["corpus"]["name"])
    place = chosen_layer(settings.text_layer, sample.layers)
    layer = sample.layers[place]
    corpus, sequences, norms = (
        tables.rows_of_documents(paths, chosen).groupby("document")
        for paths in ([inputs.corpus], inputs.tokens, inputs.norms)
    )
    documents = []
    # A control on few documents has not measured all of them.
    for name in [name for name in chosen if name in norms.groups]:
        (text,) = corpus.get_group(name)["text"]
        tokens = [
            token
            for starts, ends in sequences.get_group(name)[["char_start", "char_end"]].to_numpy()
            for token in token_texts(text, starts, ends)
        ]
        own = norms.get_group(name).iloc[:MOST_TOKENS]
        dropped = own["position"].to_numpy() < settings.drop_first
        logs = log_norms(own[columns.layer_name(layer)].to_numpy())
        documents.append(ShadedDocument(group_of[name], tokens[:MOST_TOKENS], dropped, logs))
    if not documents:
        raise UserError(f"{inputs.norms[0]}: found no norms of {', '.join(chosen)}, expected some")
    limits = limits_of(sample.log_norms[place][sample.position >= settings.drop_first])
    label = f"norm of the {SITES[inputs.site].label} in layer {layer}"
    return Own(claim_of(documents, layer), functools.partial(draw, documents, limits, label))


def claim_of(documents: Sequence[ShadedDocument], layer: int) -> str:
    """Return the correlation of neighbouring norms within documents."""
    pairs = [np.empty((2, 0))]
    for one in documents:
        logs = np.where(one.dropped, np.nan, one.logs)
        both = np.stack([logs[:-1], logs[1:]])
        both = both[:, np.isfinite(both).all(axis=0)]
        pairs.append(both - both.mean(axis=1, keepdims=True) if both.size else both)
    before, after = np.concatenate(pairs, axis=1)
    if not before.any() or not after.any():
        return f"Norms along the text in layer {layer}"
    correlation = float(np.corrcoef(before, after)[0, 1])
    claim = "Norms hardly depend on the previous token's"
    if abs(correlation) > WEAK:
        claim = "Large norms come in runs" if correlation > 0 else "Large and small norms alternate"
    return f"{claim} (correlation of neighbours {number(correlation)} in layer {layer})"


def wrapped(tokens: Sequence[str], width: int, lines: int) -> list[tuple[int, int, int, str]]:
    """Arrange tokens in lines of a number of characters, with words whole, and return their parts.

    Text that does not fit is left out, as are blank lines and the space before the first word of a
    line. A part is (token, line, column, text); a token has several parts if it contains line ends,
    or if it is longer than a line.
    """
    pieces = [
        (place, piece)
        for place, token in enumerate(tokens)
        for piece in token.splitlines(keepends=True) or [token]
    ]
    words: list[list[tuple[int, str]]] = []  # pieces that no white space separates are a word
    for place, piece in pieces:
        if words and not piece[:1].isspace() and not words[-1][-1][1][-1:].isspace():
            words[-1].append((place, piece))
        else:
            words.append([(place, piece)])
    parts: list[tuple[int, int, int, str]] = []
    line = column = 0
    for word in words:
        if column and column + sum(len(piece.rstrip()) for _, piece in word) > width:
            line, column = line + 1, 0
        for place, piece in word:
            ends = piece.endswith(("\n", "\r"))
            shown = piece.translate(VISIBLE) if column else piece.lstrip().translate(VISIBLE)
            for start in range(0, len(shown), width):
                text = shown[start : start + width]
                if column + len(text) > width and column:
                    line, column = line + 1, 0
                parts.append((place, line, column, text))
                column += len(text)
            if ends and column:
                line, column = line + 1, 0
    return [part for part in parts if part[1] < lines]


@style()
def draw(
    documents: Sequence[ShadedDocument],
    limits: tuple[float, float],
    label: str,
    title: str,
    size: Size = sizes.PAGE,
) -> Figure:
    """Draw the beginnings of documents, each token shaded by its norm.

    If there is no room for all documents, the first ones are shown. In a narrow figure their groups
    stand above them instead of beside them.
    """
    room, given = MOST_LINES[size.name], len(documents)
    documents = documents[: None if size is sizes.PAGE else room // FEWEST_LINES]
    most = max(FEWEST_LINES, room // len(documents) - size.narrow)
    beside, over = (0.0, LINE) if size.narrow else (BESIDE, 0.0)
    width = int((size.canvas - beside - 0.2) / CHARACTER)
    laid = [wrapped(one.tokens, width, most) for one in documents]
    heights = [1 + parts[-1][1] for parts in laid]
    total = LINE * (sum(heights) + 0.45 * len(documents)) + over * len(documents)
    figure = Figure(figsize=size.tall(total + 1.75), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, size.canvas - 0.2), ylim=(total, 0))
    axes.axis("off")
    low, high = limits
    scale = Normalize(low, high, clip=True)
    face = FT2Font(findfont(FontProperties(family="DejaVu Sans Mono")))
    lacking = beyond = False
    top = 0.0
    for one, parts, height in zip(documents, laid, heights, strict=True):
        name = shortened(one.group, LONGEST_NAME)
        axes.text(0, top + 0.13, name, weight="bold", fontsize=8.5)
        beyond |= parts[-1][0] + 1 < len(one.tokens)
        for token, line, column, text in parts:
            left, above = beside + column * CHARACTER, top + over + line * LINE
            value = one.logs[token]
            known = np.isfinite(value)
            share = 0.9 * float(scale(value)) if known else 0.0
            axes.add_patch(
                Rectangle(
                    (left, above + 0.012),
                    len(text) * CHARACTER,
                    LINE - 0.024,
                    facecolor=SHADES(share) if known else "w",
                    edgecolor="k" if one.dropped[token] else "none",
                    linewidth=0.7,
                    linestyle=(0, (2, 1.5)),
                )
            )
            seen = (face.get_char_index(ord(c)) and text_for("line", c) == c for c in text)
            written = "".join(c if s else NO_GLYPH for c, s in zip(text, seen, strict=True))
            lacking |= written != text
            if written.strip():
                axes.text(
                    left + (len(written) - len(written.lstrip())) * CHARACTER,
                    above + 0.135,
                    text_for("figure", written.strip()),
                    family="DejaVu Sans Mono",
                    fontsize=SIZE,
                    color="w" if share > 0.45 else "k",
                )
        top += LINE * (height + 0.45) + over
    figure.colorbar(
        ScalarMappable(Normalize(low, low + (high - low) / 0.9), SHADES),
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
    notes = [
        "Dashed: first tokens, which the regressions leave out. Shades: the central 99% of the "
        "corpus. ⏎: a line end."
    ]
    if beyond:
        notes.append("Only the beginnings of the documents are shown.")
    if len(documents) < given:
        notes.append("Only the first documents are shown.")
    if lacking:
        notes.append(f"{NO_GLYPH}: a character that the font lacks.")
    frame(figure, title, " ".join(notes))
    return figure
