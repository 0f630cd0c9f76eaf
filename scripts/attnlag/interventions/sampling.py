"""Choice of layers, documents and tokens for interventions, and random signs of the derivative.

All draws are seeded by the document's id, so that they do not depend on shards and batches.
"""

import hashlib
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from attnlag.corpus.documents import first_of_groups
from attnlag.errors import UserError
from attnlag.regression.design.properties import CLASSES, read_property
from attnlag.storage.sequences import KEYS, TokenSequence, keys_of, stored_sequences


def selected_layers(
    selection: int | Sequence[int] | Literal["all"], layers: int, *, change: bool = False
) -> list[int]:
    """Return layers of a model to observe or to ``change``: a list, all, or a number of them.

    A number divides the depth evenly. Layers to observe then include the last layer but not the
    first, which no layer precedes; layers to change exclude the last, which no layer follows. A
    model of one layer has only that. Raise UserError if the model lacks a listed layer.
    """
    if selection == "all":
        return list(range(layers))
    if isinstance(selection, int):
        parts = max(1, min(selection, layers - 1))
        return [(layers - 1) * part // (parts + change) for part in range(1, parts + 1)]
    if absent := [layer for layer in selection if layer >= layers]:
        raise UserError(
            f"layers to intervene on or to observe: found {layer}, expected layers of this model: "
            f"0 to {layers - 1}"
            for layer in absent
        )
    return sorted(selection)


def beginnings(
    tokens: Path, corpus: Path, documents: int | Literal["all"], most: int
) -> dict[tuple[str, int], np.ndarray]:
    """Return the first tokens of documents of a corpus, taken from its groups in turn.

    They are in the order of the corpus, see `beginnings_of`.
    """
    chosen = None if documents == "all" else set(first_of_groups(corpus, documents))
    return beginnings_of(stored_sequences(tokens), most, chosen)


def beginnings_of(
    sequences: Iterable[TokenSequence], most: int, documents: Container[str] | None = None
) -> dict[tuple[str, int], np.ndarray]:
    """Return the token ids of documents, by default of all, by document and window.

    At most the given number of tokens of each document is returned, from its beginning.
    """
    found: dict[tuple[str, int], np.ndarray] = {}
    taken: Counter[str] = Counter()
    for document, window, ids in sequences:
        if taken[document] < most and (documents is None or document in documents):
            found[document, window] = ids[: most - taken[document]].astype(np.int64)
            taken[document] += len(ids)
    return found


def generator(seed: int, document: str, *numbers: int) -> np.random.Generator:
    """Return the random number generator of a document."""
    digest = hashlib.sha256(document.encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng([seed, *numbers, *digest])


def signs(seed: int, document: str, window: int, tokens: int) -> np.ndarray:
    """Return a random sign, -1 or 1, for each token of a sequence."""
    return 2.0 * generator(seed, document, window, 0).integers(0, 2, tokens) - 1.0


def tags_of(
    token_properties: Path, sequences: Mapping[tuple[str, int], np.ndarray]
) -> dict[tuple[str, int], list[str]]:
    """Return the part of speech of each token of some sequences, from the table of a shard."""
    facts = read_property("upos", [token_properties], {document for document, _ in sequences})
    rows = keys_of([TokenSequence(*key, ids) for key, ids in sequences.items()])
    codes = facts.of(pa.table(rows, KEYS)).astype(int)
    ends = np.cumsum([len(ids) for ids in sequences.values()])
    tags = np.split(np.array(CLASSES["upos"])[codes], ends[:-1])
    return {key: of_key.tolist() for key, of_key in zip(sequences, tags, strict=True)}


def positions(
    seed: int, document: str, window: int, first: int, lags: int, count: int, tags: Sequence[str]
) -> list[int]:
    """Return tokens of a sequence to intervene on, drawn from those followed by ``lags`` tokens.

    If the sequence is too short, they are drawn from all tokens. Parts of speech, ``tags``, are
    strata of a systematic sample: tokens are sorted by tag, randomly within each, and taken at
    equal steps from a random start. Tags are sampled in proportion to their tokens and all tokens
    are equally likely, so means over the sample need no weights (Cochran 1977, section 8).
    """
    last = len(tags) - lags
    allowed = np.arange(first, last if last > first else len(tags))
    if count >= len(allowed):
        return allowed.tolist()
    # This stream differs from that of the signs.
    rng = generator(seed, document, window, 1)
    order = rng.permutation(allowed)
    order = order[np.argsort(np.array(tags)[order], kind="stable")]
    places = ((rng.random() + np.arange(count)) * len(order) / count).astype(int)
    return sorted(order[np.minimum(places, len(order) - 1)].tolist())
