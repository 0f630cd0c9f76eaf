"""Documents with every token shaded by its norm: a page with all layers, a figure of one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Rectangle

from attnlag.adjustments import columns
from attnlag.adjustments.norms import log_norms
from attnlag.adjustments.sites import SITES
from attnlag.corpus.documents import group_by_document
from attnlag.errors import UserError, nearest
from attnlag.figures import sizes
from attnlag.figures.drawing import SHADES, TAIL, frame, quantiles_of, shortened
from attnlag.figures.files import style
from attnlag.figures.inputs import NormsInputs
from attnlag.figures.sizes import Size

DRAWN_BY = ("plot_norms",)

CATEGORY = "norms"

SUBCATEGORY = "the text itself"

PAGE = "text.html"

TEMPLATE = Path(__file__).with_suffix(".html")

# Where the reader chooses none: so many groups, the first document of each.
MOST_DOCUMENTS = 20

# A page of more tokens than these is slow to paint.
MOST_TOKENS = 2000

# Lines of a figure, shared by its documents, and the fewest that are worth showing of one.
MOST_LINES = {"page": 54, "column": 30, "slide": 15}
FEWEST_LINES = 3

# In inches. DejaVu Sans Mono is 0.602 of its size wide.
SIZE = 8.0
LINE = 0.185
CHARACTER = 0.602 * SIZE / 72
BESIDE = 1.25
LONGEST_NAME = 16

# What stands for characters that have no shape of their own.
VISIBLE = str.maketrans({"\n": "⏎", "\t": "→", "\r": "⏎"})

# For a token without characters, as at the start of a sequence, and one within a character.
EMPTY, WITHIN = "⊢", "·"
NO_GLYPH = "▯"

# The darkest tenth of the shades would be told apart by nobody.
COLOURS = [to_hex(SHADES(share)) for share in np.linspace(0.0, 0.9, 10)]


@dataclass
class ShadedDocument:
    """One document, or its beginning.

    Attributes
    ----------
    name, group : str
    tokens : list of str
        What each token stands for in the text.
    dropped : (tokens,) bool array
        True for the first tokens of sequences, which the regressions leave out.
    logs : (layers, tokens) float array
        Log norms; NaN where a norm has none.
    """

    name: str
    group: str
    tokens: list[str]
    dropped: np.ndarray
    logs: np.ndarray


def chosen_documents(
    wanted: Sequence[str] | None, group_of: Mapping[str, str], corpus: str
) -> list[str]:
    """Return the documents that are shown: those asked for, or the first one of each group.

    Parameters
    ----------
    wanted : sequence of str, optional
    group_of : mapping of document to group
        In the order of the corpus.
    corpus : str
        Its name, for messages.

    Raises
    ------
    UserError
        For each document that is not in the corpus.
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
    """Return the place of the layer that is shown first: the one asked for, or the middle one.

    Raises
    ------
    UserError
        For a layer that the model does not have.
    """
    if wanted is None:
        return len(layers) // 2
    if wanted not in layers:
        raise UserError(
            f"layer of the shaded text: found {wanted}, expected one of this model: {min(layers)} "
            f"to {max(layers)}"
        )
    return list(layers).index(wanted)


def token_texts(text: str, starts: Sequence[int], ends: Sequence[int]) -> list[str]:
    """Return what each token of a sequence stands for.

    Parameters
    ----------
    text : str
        The document's.
    starts, ends : sequences of int
        Places of characters. A character of several tokens is shown with the first of them;
        what no token stands for is shown with the one that follows.
    """
    found = []
    done = starts[0] if len(starts) else 0
    for start, end in zip(starts, ends, strict=True):
        if start == end:
            found.append(EMPTY)
        elif end <= done:
            found.append(WITHIN)
        else:
            found.append(text[min(done, start) if found else start : end])
        done = max(done, end)
    return found


def limits_of(log_norms: np.ndarray) -> tuple[float, float]:
    """Return the log norms at which a layer's shades end: those of its central 99% of tokens."""
    low, high = np.nan_to_num(quantiles_of(log_norms, (TAIL, 1 - TAIL))).tolist()
    return (low, high) if high > low else (low - 0.5, low + 0.5)


@dataclass
class Data:
    """What the figure and the page show.

    Attributes
    ----------
    documents : list of ShadedDocument
    limits : list of (low, high), a pair for each layer
        Log norms at which the shades end.
    layers : list of int
    first : int
        Place of the layer that the figure shows, and the page at first.
    site : str
    """

    documents: list[ShadedDocument]
    limits: list[tuple[float, float]]
    layers: list[int]
    first: int
    site: str


def reduce(inputs: NormsInputs) -> Data:
    """Read the tokens of the chosen documents, and the scale of each layer from all of them."""
    settings, sample = inputs.settings, inputs.sample
    group_of = group_by_document(inputs.corpus)
    chosen = chosen_documents(settings.documents, group_of, inputs.record["corpus"]["name"])
    first = chosen_layer(settings.text_layer, sample.layers)
    kept = sample.position >= settings.drop_first
    corpus, sequences, norms = (
        rows_of(paths, chosen).groupby("document")
        for paths in ([inputs.corpus], inputs.tokens, inputs.norms)
    )
    documents = []
    # A control of few documents has not measured all of them.
    for name in [name for name in chosen if name in norms.groups]:
        (text,) = corpus.get_group(name)["text"]
        tokens = [
            token
            for starts, ends in sequences.get_group(name)[["char_start", "char_end"]].to_numpy()
            for token in token_texts(text, starts, ends)
        ]
        own = norms.get_group(name).iloc[:MOST_TOKENS]
        names = map(columns.layer_name, sample.layers)
        documents.append(
            ShadedDocument(
                name=name,
                group=group_of[name],
                tokens=tokens[:MOST_TOKENS],
                dropped=own["position"].to_numpy() < settings.drop_first,
                logs=np.stack([log_norms(own[layer].to_numpy()) for layer in names]),
            )
        )
    if not documents:
        raise UserError(f"{inputs.norms[0]}: found no norms of {', '.join(chosen)}, expected some")
    limits = [limits_of(logs[kept]) for logs in sample.log_norms]
    return Data(documents, limits, sample.layers, first, inputs.site)


def rows_of(paths: Sequence[Path], documents: Sequence[str]) -> pd.DataFrame:
    """Return the rows of some documents, in order, without reading files whole."""
    chosen = [("document", "in", documents)]
    table = pq.read_table(paths, filters=chosen, partitioning=None, pre_buffer=False)
    return table.unify_dictionaries().to_pandas().astype({"document": str})


def title_of(data: Data) -> str:
    """Return a title that says what is shown: it has too many numbers for a finding."""
    return "The text itself"


def page(data: Data, *, title: str) -> str:
    """Return a page of HTML, complete in itself, with a slider through the layers."""

    content: dict[str, Any] = {
        "title": title,
        "about": (
            f"Each token is shaded by the norm of the {SITES[data.site].label} in the chosen "
            "layer. The scale is the layer's own, logarithmic, and holds the central 99% of the "
            "tokens of the corpus. Dashed: first tokens of a sequence, left out of regressions."
        ),
        "layers": data.layers,
        "limits": [[round(low, 3), round(high, 3)] for low, high in data.limits],
        "first": data.first,
        "colours": COLOURS,
        "documents": [
            {
                "name": one.name,
                "group": one.group,
                "tokens": one.tokens,
                "dropped": np.flatnonzero(one.dropped).tolist(),
                "logs": [
                    [round(log, 3) if np.isfinite(log) else None for log in logs]
                    for logs in one.logs.tolist()
                ],
            }
            for one in data.documents
        ],
    }
    # Inside a script element, "</script>" of a text would end it.
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace("@DATA@", text)


def wrapped(tokens: Sequence[str], width: int, lines: int) -> list[tuple[int, int, int, str]]:
    """Lay tokens out in lines of a fixed width, and return their parts.

    Parameters
    ----------
    tokens : sequence of str
    width : int
        Characters to a line.
    lines : int
        At most; what does not fit is left out.

    Returns
    -------
    parts : list of (token, line, column, text)
        A token has several parts where it does not fit into what is left of a line and is
        longer than a line, or has line ends in it.
    """
    parts: list[tuple[int, int, int, str]] = []
    line = column = 0
    for place, token in enumerate(tokens):
        for piece in token.splitlines(keepends=True) or [token]:
            shown = piece.translate(VISIBLE)
            if column + len(shown) > width and column:
                line, column = line + 1, 0
            for start in range(0, len(shown), width):
                if start:
                    line, column = line + 1, 0
                parts.append((place, line, column, shown[start : start + width]))
                column += len(parts[-1][3])
            if piece.endswith(("\n", "\r")):
                line, column = line + 1, 0
    return [part for part in parts if part[1] < lines]


@style()
def draw(data: Data, *, title: str, size: Size = sizes.PAGE) -> Figure:
    """Draw the beginnings of documents, each token shaded by its norm in one layer.

    Where there is no room for all documents, the first ones are shown, and in a narrow figure
    their groups stand above them instead of beside.
    """
    first, layer, room = data.first, data.layers[data.first], MOST_LINES[size.name]
    documents = data.documents[: None if size is sizes.PAGE else room // FEWEST_LINES]
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
    low, high = data.limits[first]
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
            value = one.logs[first][token]
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
            written = "".join(c if face.get_char_index(ord(c)) else NO_GLYPH for c in text)
            lacking |= written != text
            if written.strip():
                axes.text(
                    left + (len(written) - len(written.lstrip())) * CHARACTER,
                    above + 0.135,
                    # A dollar sign is no formula.
                    written.strip().replace("$", r"\$"),
                    family="DejaVu Sans Mono",
                    fontsize=SIZE,
                    color="w" if share > 0.45 else "k",
                )
        top += LINE * (height + 0.45) + over
    figure.colorbar(
        ScalarMappable(Normalize(low, low + (high - low) / 0.9), SHADES),
        ax=axes,
        location="bottom",
        label=f"log norm of {SITES[data.site].label} in layer {layer} (natural log)",
        boundaries=np.linspace(low, high, 91),
        ticks=np.linspace(low, high, 5),
        format="{x:.2f}",
        extend="neither",
        aspect=50,
        fraction=0.02,
        pad=0.005,
    )
    notes = [
        "Dashed: first tokens of a sequence, which the regressions leave out. The shades hold the "
        "central 99% of the tokens of the corpus in this layer; ⏎ is a line end."
    ]
    if beyond:
        notes.append("Beginnings of the documents only.")
    if len(documents) < len(data.documents):
        notes.append("The first documents only.")
    if lacking:
        notes.append(f"{NO_GLYPH}: a character that the font lacks.")
    frame(figure, f"{title}, layer {layer}", " ".join(notes))
    return figure
