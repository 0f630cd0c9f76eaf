"""Forward passes over batches of sequences, and the quantities that are computed from them."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from attnlag.errors import UserError
from attnlag.model import hooks, onednn, trying
from attnlag.quantities import proofs, registry
from attnlag.quantities.catalogue import QUANTITIES
from attnlag.quantities.computation import Batch, Computation, Seen
from attnlag.quantities.passes import Passes, padded, runs
from attnlag.quantities.sites import SITES
from attnlag.storage.sequences import TokenSequence

if TYPE_CHECKING:
    from attnlag.quantities.surprisal import Predictions

# Bounds on the buffer, in bytes and in batches: half of it is written while the other half is
# computed. Sequences are sorted by length within a half; more of them would not reduce padding.
BUFFER_BYTES = 512 * 2**20
BUFFER_BATCHES = 32

# Bound on the bytes of vectors in transfer from a GPU.
LANDING_BYTES = 256 * 2**20


class Landing:
    """Values on their way to rows in main memory, so that a GPU need not wait for each of them."""

    def __init__(self, rows: np.ndarray):
        self.rows = torch.from_numpy(rows)
        self.coming: deque[tuple[np.ndarray, torch.Tensor, Any]] = deque()
        self.bytes = 0

    def add(self, target: np.ndarray, values: torch.Tensor) -> None:
        """Send float32 values, (tokens,) or (tokens, width), to rows of an array."""
        # Pinned memory, which a GPU can write to asynchronously.
        landed = values.to("cpu", non_blocking=True)
        cuda = values.device.type == "cuda"
        sent = torch.cuda.current_stream(values.device).record_event() if cuda else None
        self.coming.append((target, landed, sent))
        self.bytes += landed.nbytes
        self.settle(LANDING_BYTES if cuda else 0)

    def settle(self, most: int = 0) -> None:
        """Store the values sent first until at most ``most`` bytes are in transfer."""
        while self.bytes > most:
            target, landed, sent = self.coming.popleft()
            if sent is not None:
                sent.synchronize()
            # NumPy would block the threads of other passes.
            torch.from_numpy(target).index_copy_(0, self.rows, landed)
            self.bytes -= landed.nbytes


# A quantity of a site, by their names; "" is the site of what is measured of the model.
Key = tuple[str, str]

# An array for each layer that has values.
Values = dict[Key, list[np.ndarray]]


@dataclass(eq=False, repr=False)
class Extractor:
    """Runs a model over sequences and computes quantities of each token.

    One forward pass serves all quantities and sites. It always gives the L2 norm of the residual
    stream that each block receives, for relative norms.
    """

    whole: Any  # the model, with a head or without
    _: KW_ONLY
    # Names of quantities of a forward pass and of sites, from their catalogues. With "vectors" or
    # "norms" of each site among them, a proof compares what a sequence has alone and in a batch.
    quantities: Sequence[str] = ("norms",)
    sites: Sequence[str] = ("attention",)
    # Declared module paths; see ``architectures.locate``.
    modules: Mapping[str, Any] | None = None
    # The model's name in the configuration, for the messages.
    name: str = "NAME"
    # Tokens in simultaneous forward passes, including padding.
    batch_tokens: int
    # Threads on CPU, for parallel passes.
    threads: int = 1
    # The fast path: "auto", "off", "fused" or "packed"; after the first pass the one that is used.
    # It changes the model itself, see ``onednn.accelerate``.
    fast: str = "off"
    # Called with the number of tokens done after each forward pass.
    progress: Callable[[int], object] = lambda tokens: None

    def __post_init__(self) -> None:
        self.model: Any = getattr(self.whole, "base_model", self.whole)
        # Layout found for a model of an unknown type, and layers with another mixer than attention,
        # in words; empty if neither applies.
        self.blocks, self.remark = trying.blocks_of(self.model, self.modules, self.name)
        for site in self.sites:
            if any(part not in block.parts for block in self.blocks for part in SITES[site].parts):
                raise UserError(
                    f"model {self.name} has one mixer in a block, and nothing beside it: found the "
                    f"site '{site}', expected attention, which is all that a block adds"
                )
        self.width = int(self.model.config.get_text_config().hidden_size)
        self.computations: dict[Key, Computation] = {
            (name, site): registry.computation(name, site, self)
            for name in dict.fromkeys([*self.quantities, "stream"])
            for site in QUANTITIES[name].sites(self.sites)
        }
        # The head of the model, if it is needed; every pass then runs to its end.
        self.predictions: Predictions | None = next(
            (each.predictions for each in self.computations.values() if each.needs_head), None
        )
        self.passes = Passes(self.model, self.batch_tokens, self.threads)
        self.proofs = proofs.Proofs(self.model, self.blocks, self.name, self._run)
        # Error from the proof of the sites, after the first pass.
        self.identity_error: float | None = None
        # The fast path in words.
        self.computed_by = "plain torch"
        # Number of tokens run through the model, without and with padding.
        self.tokens = self.cells = 0

    @property
    def run_tokens(self) -> int:
        """Number of tokens whose vectors fill half of the buffer.

        It is the same if only norms are kept, because equal batches give equal bits.
        """
        row_bytes = 4 * len(self.sites) * len(self.blocks) * self.width
        return max(1, min(BUFFER_BYTES // row_bytes, BUFFER_BATCHES * self.batch_tokens) // 2)

    @property
    def compared(self) -> dict[Key, Computation]:
        """The computations whose values of a sequence alone are compared with those in a batch."""
        return {
            key: computation
            for key, computation in self.computations.items()
            if key[0] in ("vectors", "norms")
        }

    def measure(self, sequences: Sequence[np.ndarray]) -> Values:
        """Return the quantities of each token of some sequences.

        Returns
        -------
        values : dict of (quantity, site) to list of float32 arrays
            An array for each layer that has values, (tokens,) or with further dimensions; for
            ("surprisal", "") one for each column. Rows are in the order of the sequences and their
            tokens.
        """
        lengths = np.array([len(sequence) for sequence in sequences])
        starts = np.concatenate([[0], np.cumsum(lengths)])
        first = self.identity_error is None and bool(len(lengths))
        if first:
            longest = int(lengths.argmax())
            of_longest = self._begin(sequences[longest])
        values = self._room(int(starts[-1]), self.computations)
        groups = self.passes.batches(lengths)
        # A sequence may exceed the share of a pass, but all passes together stay in the budget.
        widest = max((len(group) * int(lengths[group].max()) for group in groups), default=1)

        def forward(group: np.ndarray) -> None:
            rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in group])
            self._forward([sequences[i] for i in group], rows, values, self.computations)

        def done(group: np.ndarray) -> None:
            self.tokens += int(lengths[group].sum())
            self.cells += len(group) * int(lengths[group].max())
            self.progress(int(lengths[group].sum()))

        self.passes.run(groups, forward, done, max(1, self.batch_tokens // widest))
        # A batch of one sequence is repeated only if earlier passes may affect it.
        limits = self.passes.rotary.limits
        shared = [i for group in groups if len(group) > 1 or limits for i in group]
        # The groups are in the order of length.
        for index in dict.fromkeys([longest, *shared[:1], *shared[-1:]]) if first else ():
            rows = slice(starts[index], starts[index + 1])
            beside = {key: [array[rows] for array in values[key]] for key in self.compared}
            measured = index == longest and not limits
            alone = of_longest if measured else self._alone(sequences[index])
            if measured and self.proofs.may_depend_on_later_ones(beside, alone):
                self.proofs.no_token_sees_later_ones(self._first_tokens(sequences[index]))
            if index in shared:
                self.proofs.company_changes_nothing(beside, alone)
        return values

    def _room(self, rows: int, computations: Mapping[Key, Computation]) -> Values:
        """Return empty arrays with the given number of rows, as `measure` fills them."""
        return {
            key: [np.empty((rows, *each.shape), np.float32) for _ in each.layers]
            for key, each in computations.items()
        }

    def _forward(
        self,
        sequences: list[np.ndarray],
        rows: np.ndarray,
        values: Values,
        computations: Mapping[Key, Computation],
    ) -> None:
        """Run one batch and store the values of token ``i`` in ``values[key][.][rows[i]]``.

        A quantity of a layer is computed as soon as the pass has given what it needs, and the pass
        stops when all are. Padding is on the right, where no token can attend to it. The model gets
        no mask, which permits faster implementations of attention.
        """
        ids, real = padded(sequences)
        mask = torch.from_numpy(real)
        landing = Landing(rows)
        lengths = real.sum(axis=1)
        batch = Batch(sequences, rows, torch.from_numpy(np.cumsum(lengths) - lengths))
        points = {point for each in computations.values() for point in each.points}
        projections = {n: m for each in computations.values() for n, m in each.projections.items()}
        waiting: dict[int, list[tuple[np.ndarray, Computation]]] = {
            layer: [] for layer in range(len(self.blocks))
        }
        for key, each in computations.items():
            for target, layer in zip(values[key], each.layers, strict=True):
                if layer in waiting:
                    waiting[layer].append((target, each))
        layers: dict[int, Seen] = {}
        to_the_end = any(each.needs_head for each in computations.values())

        def keep(layer: int, point: str, vectors: torch.Tensor) -> None:
            if layer not in waiting:
                return
            seen = layers.setdefault(layer, Seen(layer, batch))
            seen.give(point, vectors)
            rest = []
            for target, computation in waiting[layer]:
                if computation.points <= seen.keys():
                    landing.add(target, computation.layer(seen))
                else:
                    rest.append((target, computation))
            waiting[layer] = rest
            if not rest:
                del waiting[layer], layers[layer]
                if not waiting and not to_the_end:
                    raise hooks.AllSeen

        with (
            suppress(hooks.AllSeen),
            hooks.watched(self.blocks, mask, keep, points, projections),
            torch.inference_mode(),
        ):
            hidden = self._run(ids, to_the_end)
        for key, each in computations.items():
            if each.needs_head:
                of_tokens = each.end(hidden[mask.to(hidden.device)], batch)
                for column, numbers in zip(values[key], of_tokens, strict=True):
                    landing.add(column, numbers)
        landing.settle()

    def _alone(self, sequence: np.ndarray) -> Values:
        """Return the values to compare for the first tokens of a sequence by itself.

        All tokens are run if the numbers of the first ones depend on the length of the sequence.
        """
        if self.passes.rotary.limits:
            # transformers itself undoes a stretch in a short pass, even if `Rotary` fails to.
            with torch.inference_mode():
                self._run(padded([sequence[:1]])[0])
        else:
            sequence = sequence[: proofs.TOKENS]
        values = self._room(len(sequence), self.compared)
        self._forward([sequence], np.arange(len(sequence)), values, self.compared)
        return values

    def _begin(self, sequence: np.ndarray) -> Values:
        """Run the proofs on the first tokens of a sequence, and choose the fast path."""
        ids = self._first_tokens(sequence)
        points = {point for each in self.computations.values() for point in each.points}
        projections = {
            n: m for each in self.computations.values() for n, m in each.projections.items()
        }
        with self.passes.first():
            short_pass = self.proofs.short_pass(
                ids, points, projections, self.predictions.prove if self.predictions else None
            )
        if len(sequence) == len(ids) or self.passes.rotary.limits:
            # There are no numbers of the first tokens beside later ones to compare with.
            self.proofs.no_token_sees_later_ones(ids, short_pass)
        self.identity_error = self.proofs.parts_add_up(short_pass)
        for each in self.computations.values():
            each.prove(short_pass.seen)
        self.fast, self.computed_by = onednn.accelerate(
            self.model, self.blocks, ids, short_pass.plain, self.fast
        )
        return {
            key: [each.layer(short_pass.seen[layer]).float().cpu().numpy() for layer in each.layers]
            for key, each in self.compared.items()
        }

    def _first_tokens(self, sequence: np.ndarray) -> torch.Tensor:
        """Return the ids of the first tokens of a sequence, for a proof."""
        return padded([sequence[: proofs.TOKENS]])[0][0]

    def _run(self, ids: torch.Tensor, to_the_end: bool = False) -> Any:
        """Run the model over a batch, treating padding as tokens; return the head's input."""
        self.passes.rotary.reset()
        if to_the_end and self.predictions:
            return self.predictions.hidden(ids)
        return hooks.forward(self.model, ids)


def write_runs(
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
