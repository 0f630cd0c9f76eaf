"""Forward passes over batches of sequences, and what the attention sublayers add in them."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import torch

from attnlag import sites

# Bound on the vectors held before they are written; sequences are sorted by length within it.
BUFFER_BYTES = 512 * 2**20


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
    first = 0
    while first < len(order):
        count = max(1, batch_tokens // int(lengths[order[first]]))
        yield order[first : first + count]
        first += count


class Adjustments:
    """Runs a model over sequences and gives what its attention sublayers add to each token.

    Parameters
    ----------
    model : torch.nn.Module
        A trunk from ``loading.load_model``.
    batch_tokens : int
        Tokens in one forward pass, padding included.
    keep : {"vectors", "norms"}
        What is given per token and layer: the vector, float32, or its L2 norm.
    progress : callable
        Called with the number of tokens done after each forward pass.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        batch_tokens: int,
        keep: str,
        progress: Callable[[int], object] = lambda tokens: None,
    ):
        self.model = model
        self.blocks = sites.locate(model)
        self.batch_tokens = batch_tokens
        self.keep = keep
        self.progress = progress
        self.width = int(model.config.hidden_size)  # type: ignore[union-attr,arg-type]
        self.identity_error: float | None = None

    def over(self, sequences: list[np.ndarray]) -> Iterator[tuple[int, int, list[np.ndarray]]]:
        """Yield ``(first, last + 1, layers)`` for runs of sequences, in order.

        Parameters
        ----------
        sequences : list of (tokens,) int arrays
            Token ids.

        Yields
        ------
        first, stop : int
            The run's sequences.
        layers : list of (tokens of the run, width) or (tokens of the run,) float32 arrays
            One per layer, rows in the order of the sequences and their tokens. The arrays are
            overwritten by the next run.
        """
        lengths = np.array([len(sequence) for sequence in sequences])
        shape = (self.width,) if self.keep == "vectors" else ()
        row_bytes = 4 * len(self.blocks) * int(np.prod(shape, dtype=int))
        for first, stop in buffers(lengths, BUFFER_BYTES // row_bytes):
            starts = np.concatenate([[0], np.cumsum(lengths[first:stop])])
            layers = [np.empty((starts[-1], *shape), np.float32) for _ in self.blocks]
            for batch in batches(lengths[first:stop], self.batch_tokens):
                rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in batch])
                self._forward([sequences[first + i] for i in batch], rows, layers)
                self.progress(len(rows))
            yield first, stop, layers

    def _forward(
        self, sequences: list[np.ndarray], rows: np.ndarray, layers: list[np.ndarray]
    ) -> None:
        """Run one batch and put what each layer adds to token ``i`` into ``layers[.][rows[i]]``."""
        lengths = np.array([len(sequence) for sequence in sequences])
        real = np.arange(lengths.max())[None, :] < lengths[:, None]
        padded = np.zeros(real.shape, np.int64)
        padded[real] = np.concatenate(sequences)
        # Of a model on several devices, where it begins.
        device = self.model.get_input_embeddings().weight.device  # type: ignore[operator]
        ids, mask = torch.from_numpy(padded).to(device), torch.from_numpy(real).to(device)

        def take(layer: int) -> Callable[..., None]:
            def hook(_: torch.nn.Module, __: object, output: object) -> None:
                added = sites.first_tensor(output)[mask]
                if self.keep == "norms":
                    added = torch.linalg.vector_norm(added, dim=-1, dtype=torch.float32)
                layers[layer][rows] = added.float().cpu().numpy()

            return hook

        hooks = [
            block.attention.register_forward_hook(take(layer))
            for layer, block in enumerate(self.blocks)
        ]
        try:
            with torch.inference_mode():
                if self.identity_error is None:
                    self._prove(ids, mask)
                else:
                    self.model(input_ids=ids, attention_mask=mask.long(), use_cache=False)
        finally:
            for handle in hooks:
                handle.remove()

    def _prove(self, ids: torch.Tensor, mask: torch.Tensor) -> None:
        """Run the first batch with the residual identity measured; fail if it does not hold."""
        with sites.residual_identity(self.blocks, mask) as errors:
            self.model(input_ids=ids, attention_mask=mask.long(), use_cache=False)
        config = self.model.config
        dtype = next(self.model.parameters()).dtype
        self.identity_error = sites.check_identity(
            errors,
            dtype,
            config.model_type,  # type: ignore[union-attr,arg-type]
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
        From ``Adjustments.over``.
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
