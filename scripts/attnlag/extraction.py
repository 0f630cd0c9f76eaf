"""Forward passes over batches of sequences, and what the sublayers add in them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from attnlag import fast, sites

# Bound on the vectors held before they are written; sequences are sorted by length within it.
BUFFER_BYTES = 512 * 2**20

# A batch holds no sequence shorter than this part of its longest: padding costs as much time as
# tokens do, and a small batch is hardly slower per token than a large one.
LIKE_LENGTH = 0.9


def buffers(lengths: np.ndarray, tokens: int) -> Iterator[tuple[int, int]]:
    """Yield ``(first, last + 1)`` of runs of sequences that hold at most ``tokens`` tokens.

    A sequence longer than that is a run of its own.
    """
    first = held = 0
    for index, length in enumerate(lengths):
        if index > first and held + length > tokens:
            yield first, index
            first, held = index, 0
        held += int(length)
    if len(lengths):
        yield first, len(lengths)


def batches(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Yield indices of sequences of like length whose padded batch holds ``batch_tokens`` at most.

    Longest first, so that a batch too large for memory fails at once. A sequence longer than
    the budget is a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    descending = lengths[order]
    first = 0
    while first < len(order):
        longest = int(descending[first])
        most = first + max(1, batch_tokens // longest)
        alike = int(np.searchsorted(-descending, -LIKE_LENGTH * longest, side="right"))
        stop = min(most, alike)
        yield order[first:stop]
        first = stop


class AllSeen(Exception):
    """Nothing that is left of a forward pass is asked for."""


class Adjustments:
    """Runs a model over sequences and gives what its sublayers add to each token.

    One forward pass serves all sites.

    Parameters
    ----------
    model : torch.nn.Module
        A trunk from ``loading.load_model``.
    wanted : sequence of str
        The sites, of ``sites.SITES``.
    modules : mapping or None
        The module paths that the configuration declares; see ``sites.locate``.
    name : str
        The model's name in the configuration, for the messages.
    batch_tokens : int
        Tokens in one forward pass, padding included.
    keep : {"vectors", "norms"}
        What is given per token, layer and site: the vector, float32, or its L2 norm.
    fast_paths : bool
        Whether the model is put on its fast paths, see ``fast.accelerate``, before the first
        forward pass. The model itself is changed.
    progress : callable
        Called with the number of tokens done after each forward pass.

    Attributes
    ----------
    identity_error : float or None
        From the proof of the sites, once it has been given.
    computed_by : str
        What the fast paths came to, in words.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        wanted: Sequence[str] = ("attention",),
        modules: Mapping[str, Any] | None = None,
        name: str = "NAME",
        batch_tokens: int,
        keep: str,
        fast_paths: bool = False,
        progress: Callable[[int], object] = lambda tokens: None,
    ):
        self.model = model
        self.blocks = sites.locate(model, modules, name)
        self.wanted = list(wanted)
        self.name = name
        self.batch_tokens = batch_tokens
        self.keep = keep
        self.fast_paths = fast_paths
        self.computed_by = "plain torch"
        self.progress = progress
        self.width = int(model.config.get_text_config().hidden_size)  # type: ignore[union-attr,operator]
        self.identity_error: float | None = None

    def over(
        self, sequences: list[np.ndarray]
    ) -> Iterator[tuple[int, int, dict[str, list[np.ndarray]]]]:
        """Yield ``(first, last + 1, layers by site)`` for runs of sequences, in order.

        Parameters
        ----------
        sequences : list of (tokens,) int arrays
            Token ids.

        Yields
        ------
        first, stop : int
            The run's sequences.
        layers : dict of str to list of float32 arrays
            For each site an array per layer, (tokens of the run, width) or (tokens of the run,);
            rows in the order of the sequences and their tokens. The arrays are overwritten by the
            next run.
        """
        lengths = np.array([len(sequence) for sequence in sequences])
        shape = (self.width,) if self.keep == "vectors" else ()
        row_bytes = 4 * len(self.wanted) * len(self.blocks) * int(np.prod(shape, dtype=int))
        spans = list(buffers(lengths, BUFFER_BYTES // row_bytes))
        rows_held = max((int(lengths[a:b].sum()) for a, b in spans), default=0)
        held = {
            site: [np.empty((rows_held, *shape), np.float32) for _ in self.blocks]
            for site in self.wanted
        }
        for first, stop in spans:
            starts = np.concatenate([[0], np.cumsum(lengths[first:stop])])
            layers = {site: [x[: starts[-1]] for x in values] for site, values in held.items()}
            for batch in batches(lengths[first:stop], self.batch_tokens):
                rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in batch])
                self._forward([sequences[first + i] for i in batch], rows, layers)
                self.progress(len(rows))
            yield first, stop, layers

    def _forward(
        self,
        sequences: list[np.ndarray],
        rows: np.ndarray,
        layers: dict[str, list[np.ndarray]],
    ) -> None:
        """Run one batch; put what is added to token ``i`` into ``layers[site][.][rows[i]]``.

        The first batch runs to its end and proves the sites: each is seen once in a pass. Later
        ones stop when all of them have been seen.
        """
        lengths = np.array([len(sequence) for sequence in sequences])
        real = np.arange(lengths.max())[None, :] < lengths[:, None]
        padded = np.zeros(real.shape, np.int64)
        padded[real] = np.concatenate(sequences)
        # Of a model on several devices, where it begins.
        device = self.model.get_input_embeddings().weight.device  # type: ignore[operator]
        ids, mask = torch.from_numpy(padded).to(device), torch.from_numpy(real).to(device)
        parts: dict[str, torch.Tensor] = {}
        needed = {part for site in self.wanted for part in sites.SITES[site]}
        unseen = len(needed) * len(self.blocks)
        first = self.identity_error is None

        def keep(layer: int, part: str, added: torch.Tensor) -> None:
            if part in self.wanted:
                layers[part][layer][rows] = self._kept(added)
            if "block" in self.wanted:
                # Either may come first.
                parts[part] = added.float()
                if len(parts) == len(sites.PARTS):
                    update = parts["attention"] + parts["mlp"].to(parts["attention"].device)
                    layers["block"][layer][rows] = self._kept(update)
                    parts.clear()
            nonlocal unseen
            unseen -= 1
            if not unseen and not first:
                raise AllSeen

        if first and self.fast_paths:
            longest = ids[int(lengths.argmax()), : lengths.max()]
            self.computed_by = fast.accelerate(self.model, self.blocks, longest)
        with (
            suppress(AllSeen),
            sites.watched(self.blocks, mask, keep, needed),
            torch.inference_mode(),
        ):
            if first:
                self._prove(ids, mask)
            else:
                self.model(input_ids=ids, attention_mask=mask.long(), use_cache=False)

    def _kept(self, added: torch.Tensor) -> np.ndarray:
        """Return what is kept of the vectors that a sublayer adds."""
        if self.keep == "norms":
            added = torch.linalg.vector_norm(added, dim=-1, dtype=torch.float32)
        return added.float().cpu().numpy()

    def _prove(self, ids: torch.Tensor, mask: torch.Tensor) -> None:
        """Run the first batch with the residual identity measured; fail if it does not hold."""
        with sites.residual_identity(self.blocks, mask) as evidence:
            self.model(input_ids=ids, attention_mask=mask.long(), use_cache=False)
        self.identity_error = sites.check_identity(
            evidence,
            self.blocks,
            dtype=next(self.model.parameters()).dtype,
            model_type=str(self.model.config.model_type),  # type: ignore[union-attr]
            name=self.name,
        )


def table(
    documents: list[str],
    windows: list[int],
    sequences: list[np.ndarray],
    layers: list[np.ndarray],
    schema: pa.Schema,
) -> pa.Table:
    """Return the rows of a run of sequences: one per token, the keys first, then the layers.

    Parameters
    ----------
    documents, windows, sequences : lists
        The sequences' keys and token ids.
    layers : list of float32 arrays
        Those of one site, from ``Adjustments.over``.
    schema : pyarrow.Schema
        From ``layout.schema``.
    """
    lengths = [len(sequence) for sequence in sequences]
    columns: list[pa.Array] = [
        pa.array(np.repeat(np.array(documents, dtype=object), lengths)).dictionary_encode(),
        pa.array(np.repeat(np.array(windows, dtype=np.int32), lengths)),
        pa.array(np.concatenate([np.arange(n, dtype=np.int32) for n in lengths])),
        pa.array(np.concatenate(sequences).astype(np.int32)),
    ]
    for values in layers:
        flat = pa.array(values.reshape(-1))
        columns.append(
            flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        )
    return pa.Table.from_arrays(columns, schema=schema)
