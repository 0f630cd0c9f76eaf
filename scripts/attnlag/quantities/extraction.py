"""Forward passes over batches of sequences, and the quantities that are computed from them.

A program calls `measure_into_files`, which takes the sequences in runs, each as many as half of a
buffer holds. `Extractor.measure` takes a run in batches. For each, `Extractor.forward` lets
`layer_pass.run_pass` give what the model adds in a layer, and each quantity's `Computation.of` its
numbers.

The first run begins with the checks (`Extractor._check_first_tokens`), in one pass over the first
tokens of its longest sequence: `layer_pass.checked_pass` gives the error of block input +
adjustments = block output, for which `identity.check` refuses a model; `verification` has the other
checks.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from attnlag.errors import UserError, counted, listed
from attnlag.model import identity, onednn
from attnlag.model.decoder import Decoder
from attnlag.quantities import columns, formats, verification
from attnlag.quantities.batches import Batch, Passes, batch_of, runs
from attnlag.quantities.catalogue import QUANTITIES, SITES, Key, Values
from attnlag.quantities.computation import Computation, computation_of
from attnlag.quantities.layer_pass import CheckedPass, LayerPass, Needs, checked_pass, run_pass
from attnlag.quantities.settings import ExtractionSettings
from attnlag.storage import tables
from attnlag.storage.sequences import TokenSequence

# Bounds on the buffer, in bytes and in batches: half of it is written while the other half is
# computed. Sequences are sorted by length within a half; more of them would not reduce padding.
BUFFER_BYTES = 512 * 2**20
BUFFER_BATCHES = 32

# Rows per row group of vectors. Larger groups are not read faster; more groups take more memory.
ROWS_OF_VECTORS = 4096

# Bound on the bytes of vectors in transfer from a GPU.
TRANSFER_BYTES = 256 * 2**20


@dataclass(eq=False, repr=False)
class Extractor:
    """Runs a model over sequences and computes quantities of each token.

    One forward pass serves all quantities and sites. It always gives the L2 norm of the residual
    stream that each block receives, for relative norms.
    """

    decoder: Decoder
    _: KW_ONLY
    # Names of quantities of a forward pass and of sites, from their catalogues. "vectors" or
    # "norms" must be among them: a check compares those of a sequence alone and in a batch.
    quantities: Sequence[str] = ("norms",)
    sites: Sequence[str] = ("attention",)
    # Layers whose values are wanted; None: all.
    layers: Sequence[int] | None = None
    # Tokens in simultaneous forward passes, including padding.
    batch_tokens: int
    # Threads on CPU, for parallel passes.
    threads: int = 1
    # Whether products are packed, which changes the model itself, see ``onednn.pack_weights``.
    fast: bool = False
    # Called with the number of tokens done after each forward pass.
    progress: Callable[[int], object] = lambda tokens: None

    @classmethod
    def from_settings(
        cls,
        decoder: Decoder,
        settings: ExtractionSettings,
        quantities: Sequence[str],
        *,
        batch_tokens: int,
        threads: int,
        progress: Callable[[int], object],
    ) -> "Extractor":
        """Return the extractor of a stage: of the sites and layers that its settings state."""
        return cls(
            decoder,
            quantities=quantities,
            sites=settings.sites,
            layers=settings.layers,
            batch_tokens=batch_tokens,
            threads=threads,
            fast=settings.fast,
            progress=progress,
        )

    def __post_init__(self) -> None:
        for site in self.sites:
            needed = {*SITES[site].sublayers}
            if any(not block.sublayers.keys() >= needed for block in self.decoder.blocks):
                raise UserError(
                    f"model {self.decoder.name} has one mixer in a block, and nothing beside it: "
                    f"found the site '{site}', expected attention, which is all that a block adds"
                )
        count = len(self.decoder.blocks)
        for layer in self.layers or ():
            if layer >= count:
                raise UserError(
                    f"layers: found {layer}, but model {self.decoder.name} has layers 0 to "
                    f"{count - 1}"
                )
        self.computations: dict[Key, Computation] = {}
        for name in dict.fromkeys([*self.quantities, "stream"]):
            for site in QUANTITIES[name].sites(self.sites):
                self.computations[name, site] = computation_of(name, site, self.decoder)
        self._leave_out_layers()
        # Those whose values of a sequence alone are compared with those in a batch.
        self.compared = {
            key: each for key, each in self.computations.items() if key[0] in ("vectors", "norms")
        }
        # Whether passes run the head of the model, beyond its last block.
        self.with_head = any(
            len(self.decoder.blocks) in each.layers for each in self.computations.values()
        )
        self.passes = Passes(self.decoder.model, self.batch_tokens, self.threads)
        # Error from the check of the sites, after the first pass.
        self.identity_error: float | None = None
        # What computes the products, in words.
        self.computed_by = "plain torch"
        # Number of tokens run through the model, without and with padding.
        self.tokens = 0
        self.padded_tokens = 0

    def _leave_out_layers(self) -> None:
        """Take the layers that are not wanted from all quantities; the head of the model stays."""
        if self.layers is None:
            return
        kept = {*self.layers, len(self.decoder.blocks)}
        for computation in self.computations.values():
            computation.layers = [layer for layer in computation.layers if layer in kept]

    def expect_sequences(self, sequences: int) -> None:
        """State how many sequences a shard has, among which random pairs of tokens are drawn."""
        for computation in self.computations.values():
            computation.expect_sequences(sequences)

    def remarks(self) -> dict[str, str]:
        """Return the errors of checks in words by quantity, or why layers have none."""
        remarks: dict[str, str] = {}
        for (name, _), computation in self.computations.items():
            if computation.remark:
                remarks[name] = computation.remark
        return remarks

    def summary(self) -> str:
        """Return what was run and what the checks found, in words for the log."""
        number = len(self.decoder.blocks if self.layers is None else self.layers)
        layers = counted(number, "layer")
        padding = (self.padded_tokens - self.tokens) / max(self.padded_tokens, 1)
        findings = ["no tokens to check"]
        if self.identity_error is not None:
            findings = [
                f"block input + adjustments = block output within {self.identity_error:.1e}"
            ]
        findings += self.remarks().values()
        return (
            f"{counted(self.tokens, 'token')} x {layers} ({', '.join(self.sites)}) on "
            f"{self.decoder.model.device} ({self.computed_by}), {padding:.1%} padding; "
            f"{'; '.join(findings)}"
        )

    @property
    def run_tokens(self) -> int:
        """Number of tokens whose vectors fill half of the buffer.

        It is the same if only norms are kept, because equal batches give equal bits.
        """
        decoder = self.decoder
        row_bytes = 4 * len(self.sites) * len(decoder.blocks) * int(decoder.config.hidden_size)
        return max(1, min(BUFFER_BYTES // row_bytes, BUFFER_BATCHES * self.batch_tokens) // 2)

    def measure(self, sequences: Sequence[np.ndarray]) -> Values:
        """Return the quantities of each token of some sequences, in their order.

        The float32 arrays, of each layer that has values, are (tokens,) or have further dimensions.
        The first call checks the model and the quantities before it measures the sequences
        (`_check_first_tokens`), and then compares their values with those of the checked pass.

        Raise UserError if the model fails a check.
        """
        first_pass = None
        # Once for an extractor, with the sequences that come first.
        if self.identity_error is None and len(sequences):
            first_pass = self._check_first_tokens(max(sequences, key=len))
            if self.fast:
                # The checks saw plain weights; `pack_weights` compares norms of both.
                first_tokens = first_pass.passed.batch.ids[0]
                self.computed_by = onednn.pack_weights(self.decoder, first_tokens)
        batches = self.passes.batches(sequences)
        values = self._empty_values(sum(map(len, sequences)), self.computations)
        # A sequence may exceed the share of a pass, but all passes together stay in the budget.
        most = max(1, self.batch_tokens // max((batch.real.size for batch in batches), default=1))
        self.passes.run(batches, lambda batch: self.forward(batch, values), self._count, most)
        # Where the length of a sequence matters, its first tokens have other numbers alone, and no
        # sequence shares a batch.
        if first_pass and not self.passes.length_matters:
            compared = {key: values[key] for key in self.compared}
            run = verification.MeasuredRun(sequences, batches, compared)
            self._compare_with_short_passes(run, first_pass)
        return values

    def _check_first_tokens(self, sequence: np.ndarray) -> CheckedPass:
        """Check the model and the quantities in a pass over the first tokens of a sequence.

        They are `verification.TOKENS`, 64, or as many as the sequence has.
        """
        batch = batch_of(sequence[: verification.TOKENS])
        with self.passes.first():
            first_pass = self._checked_pass(batch)
        if len(sequence) == len(batch.rows) or self.passes.length_matters:
            # The sequence has no later tokens, or its numbers depend on how many: the values of the
            # run cannot show what later tokens change, so some are exchanged. This check precedes
            # that of sums, so that the message about an encoder says what it is.
            verification.no_token_sees_later_ones(self.decoder, first_pass, self._checked_pass)
        self.identity_error = identity.check(first_pass.evidence, self.decoder)
        # Vectors, norms and the stream have no check of their own.
        for each in self.computations.values():
            each.check(first_pass.passed)
        self._leave_out_layers()
        return first_pass

    def forward(self, batch: Batch, values: Values) -> None:
        """Run one batch and store the values of its tokens at their rows of ``values``.

        The quantities of a layer are computed once the pass has given what they need, and the pass
        stops when all are. A vector goes from the hook of its module (`PointHook.leaving`) to
        `receive_point` and `add_to_layer` of `run_pass`, and with its layer to ``store`` here.

        Raise UserError if the model gives something else than vectors, or does not run a block.
        """
        copies = AsyncCopies(batch.rows)
        targets_by_layer: dict[int, list[tuple[Computation, np.ndarray]]] = {}
        for key, targets in values.items():
            computation = self.computations[key]
            for layer, target in zip(computation.layers, targets, strict=True):
                targets_by_layer.setdefault(layer, []).append((computation, target))

        # A hook calls this once it knows all points of a layer.
        def store(layer: LayerPass) -> None:
            for computation, target in targets_by_layer[layer.layer]:
                copies.add(target, computation.of(layer))

        needs = needs_of([self.computations[key] for key in values])
        passed = run_pass(self.decoder, batch, needs, store, whole=self.with_head)
        if passed.problem:
            raise UserError(
                f"{self.decoder.called}: found {passed.problem}, expected one vector a token"
            )
        if passed.layers:
            lacking = listed([str(layer.layer) for layer in passed.layers])
            raise UserError(
                f"{self.decoder.called}: found no values of layer {lacking} in a pass over "
                f"{counted(len(batch.rows), 'token')}, expected each block to run in each pass; "
                "nothing was stored"
            )
        copies.flush()

    def _count(self, batch: Batch) -> None:
        """Count the tokens of a batch that is done, and tell the progress."""
        self.tokens += len(batch.rows)
        self.padded_tokens += batch.real.size
        self.progress(len(batch.rows))

    def _empty_values(self, rows: int, computations: Mapping[Key, Computation]) -> Values:
        """Return empty arrays with the given number of rows, as `measure` fills them."""
        values: dict[Key, list[np.ndarray]] = {}
        for key, each in computations.items():
            values[key] = [np.empty((rows, *each.shape), np.float32) for _ in each.layers]
        return values

    def _compare_with_short_passes(
        self, run: verification.MeasuredRun, first_pass: CheckedPass
    ) -> None:
        """Compare values of the first run with those of passes over the beginning of a sequence."""
        alone_of_longest = self._values_of(first_pass)
        verification.compare_with_checked_pass(
            self.decoder, run, alone_of_longest, first_pass.passed.batch, self._checked_pass
        )
        verification.compare_with_sequences_alone(self.decoder, run, alone_of_longest, self._alone)

    def _checked_pass(self, batch: Batch) -> CheckedPass:
        needs = needs_of(self.computations.values())
        return checked_pass(self.decoder, batch, needs, whole=self.with_head)

    def _alone(self, sequence: np.ndarray) -> Values:
        """Return the values to compare of a sequence by itself."""
        values = self._empty_values(len(sequence), self.compared)
        self.forward(batch_of(sequence), values)
        return values

    def _values_of(self, first_pass: CheckedPass) -> Values:
        """Return the values to compare of a short pass."""
        layers = {passed.layer: passed for passed in first_pass.passed.layers}
        values: dict[Key, list[np.ndarray]] = {}
        for key, each in self.compared.items():
            values[key] = [each.of(layers[number]).cpu().numpy() for number in each.layers]
        return values


def needs_of(computations: Iterable[Computation]) -> Needs:
    """Return what a pass is to give of each layer for some quantities."""
    points: dict[int, set[str]] = {}
    modules: dict[tuple[int, str], torch.nn.Module] = {}
    for computation in computations:
        modules |= computation.modules
        for layer in computation.layers:
            points.setdefault(layer, set()).update(computation.needs)
    return Needs(points, modules)


class AsyncCopies:
    """Values on their way to rows in main memory, so that a GPU need not wait for each of them."""

    def __init__(self, rows: np.ndarray):
        self.rows = torch.from_numpy(rows)
        self.coming: deque[tuple[np.ndarray, torch.Tensor, Any]] = deque()
        self.bytes = 0

    def add(self, target: np.ndarray, values: torch.Tensor) -> None:
        """Send float32 values, (tokens,) or (tokens, width), to rows of an array."""
        # From a GPU, torch takes pinned memory for this, so that the copy is asynchronous.
        landed = values.to("cpu", non_blocking=True)
        cuda = values.device.type == "cuda"
        sent = torch.cuda.current_stream(values.device).record_event() if cuda else None
        self.coming.append((target, landed, sent))
        self.bytes += landed.nbytes
        self.flush(TRANSFER_BYTES if cuda else 0)

    def flush(self, most: int = 0) -> None:
        """Store the values sent first until at most ``most`` bytes are in transfer."""
        while self.bytes > most:
            target, landed, sent = self.coming.popleft()
            if sent is not None:
                sent.synchronize()
            # NumPy would block the threads of other passes.
            torch.from_numpy(target).index_copy_(0, self.rows, landed)
            self.bytes -= landed.nbytes


def progress_bar(names: str, tokens: int) -> tqdm:
    """Return a progress bar over the tokens of a model and a corpus, as a context."""
    return tqdm(total=tokens, unit="token", unit_scale=True, desc=f"{names}: tokens")


@dataclass(frozen=True)
class QuantityFiles:
    """The files that a run over sequences writes."""

    paths: Mapping[Key, Path]  # by quantity and site
    # Returns the record of a file, given its quantity and site.
    record_of: Callable[[str, str], dict[str, Any]]
    vectors_as: str = "float32"  # precision of vectors: float32, bfloat16 or float16

    def precision(self, computation: Computation) -> str:
        """Return the precision of a quantity's numbers in its file."""
        return self.vectors_as if computation.holds_vectors else "float32"

    def writer(
        self, key: Key, computation: Computation
    ) -> AbstractContextManager[pq.ParquetWriter]:
        """Return the writer of the file of a quantity and site, as a context."""
        schema = formats.schema_of(computation, self.precision(computation))
        options = formats.encoding(schema, self.precision(computation))
        return tables.parquet_writer(self.paths[key], schema, self.record_of(*key), **options)

    def open_all(self, extractor: Extractor, opened: ExitStack) -> dict[Key, pq.ParquetWriter]:
        """Return the writers of all files, which the stack closes."""
        writers: dict[Key, pq.ParquetWriter] = {}
        for key in self.paths:
            writers[key] = opened.enter_context(self.writer(key, extractor.computations[key]))
        return writers

    def bytes_at_most(self, extractor: Extractor, tokens: int) -> dict[Path, int]:
        """Return the most bytes that each file takes on disk."""
        sizes: dict[Path, int] = {}
        for key, path in self.paths.items():
            each = extractor.computations[key]
            sizes[path] = tokens * formats.bytes_per_token(each, self.precision(each))
        return sizes


def measure_into_files(
    sequences: Iterable[TokenSequence], extractor: Extractor, files: QuantityFiles
) -> None:
    """Run a model over sequences and write each quantity to its file.

    Rows are in the order of the sequences and their tokens. Memory does not grow with their number.
    No file is opened before `Extractor.measure` has checked the first run; each is there once it is
    whole (`tables.parquet_writer`). Raise UserError if the model fails a check, or a vector is too
    large for float16.
    """
    writers: dict[Key, pq.ParquetWriter] = {}
    with ExitStack() as opened:

        def write(run: list[TokenSequence], values: Values) -> None:
            # Which layers there are is known once they have been checked.
            if not writers:
                writers.update(files.open_all(extractor, opened))
            for key, writer in writers.items():
                each = extractor.computations[key]
                if len(each.layers):
                    rows = ROWS_OF_VECTORS if each.holds_vectors else tables.ROWS_AT_ONCE
                    table = formats.rows_of(each, run, values[key], files.precision(each))
                    writer.write_table(table, row_group_size=rows)

        measure_runs(sequences, extractor, write)
        # A shard may have no tokens.
        if not writers:
            writers.update(files.open_all(extractor, opened))
        for key, writer in writers.items():
            writer.add_key_value_metadata(extractor.computations[key].metadata())


def measure_runs(
    sequences: Iterable[TokenSequence],
    extractor: Extractor,
    write: Callable[[list[TokenSequence], Values], object],
) -> None:
    """Call ``write(run, values)`` in a thread with the results of each run of sequences, in order.

    The last run is written while the next one is computed.
    """
    with ThreadPoolExecutor(1) as pool:
        writing = None
        for run in runs(sequences, extractor.run_tokens):
            for each in extractor.computations.values():
                each.begin(run)
            values = extractor.measure([sequence.ids for sequence in run])
            if writing:
                writing.result()
            writing = pool.submit(write, run, values)
        if writing:
            writing.result()


def write_empty(layers: Iterable[int], files: QuantityFiles) -> None:
    """Write files of some layers without rows, in place of what a model would give."""
    empty = columns.schema(layers).empty_table()
    for key, path in files.paths.items():
        tables.write_table(empty, path, files.record_of(*key))
