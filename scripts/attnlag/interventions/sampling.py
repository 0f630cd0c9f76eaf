"""Choice of layers, documents and tokens for interventions, and random signs of the derivative.

All draws are seeded by the document's id, so that they do not depend on shards and batches.
"""

import hashlib
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from attnlag.corpus.documents import first_of_groups
from attnlag.errors import UserError
from attnlag.storage.sequences import TokenSequence, stored_sequences


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
    absent = [layer for layer in selection if layer >= layers]
    if absent:
        raise UserError(
            f"layers to intervene on or to observe: found {layer}, expected layers of this model: "
            f"0 to {layers - 1}"
            for layer in absent
        )
    return sorted(selection)


def first_tokens(
    tokens: Path, corpus: Path, documents: int | Literal["all"], most: int
) -> dict[tuple[str, int], np.ndarray]:
    """Return the first tokens of documents of a corpus, taken from its groups in turn.

    They are ids, (tokens,) int64 by document and window, in the order of the corpus.
    """
    return first_tokens_of(stored_sequences(tokens), most, set(first_of_groups(corpus, documents)))


def first_tokens_of(
    sequences: Iterable[TokenSequence], most: int, documents: Container[str] | None = None
) -> dict[tuple[str, int], np.ndarray]:
    """Return the token ids of documents, by default of all, by document and window.

    At most the given number of tokens of each document is returned, from its beginning, as
    (tokens,) int64 for each window.
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
    """Return a random sign, -1 or 1, for each token of a sequence, (tokens,)."""
    return 2.0 * generator(seed, document, window, 0).integers(0, 2, tokens) - 1.0


def positions(
    seed: int, document: str, window: int, first: int, lags: int, count: int, tokens: int
) -> list[int]:
    """Return tokens of a sequence to intervene on, drawn from those followed by ``lags`` tokens.

    The sequence has ``tokens`` tokens, of which those before ``first`` are not drawn. If it is too
    short, tokens are drawn from all others.
    """
    allowed = np.arange(first, tokens - lags)
    if not len(allowed):
        allowed = np.arange(first, tokens)
    if count >= len(allowed):
        return allowed.tolist()
    # This stream differs from that of the signs.
    drawn = generator(seed, document, window, 1).choice(allowed, count, replace=False)
    return sorted(drawn.tolist())
