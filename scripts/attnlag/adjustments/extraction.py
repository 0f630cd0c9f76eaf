"""Forward passes over batches of sequences, and the resulting adjustments."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch

from attnlag.adjustments import geometry, heads, proofs
from attnlag.adjustments.batches import PASSES, Rotary, batches, padded, runs
from attnlag.adjustments.norms import l2_norms
from attnlag.adjustments.outcomes import OF_A_PASS
from attnlag.adjustments.sites import SITES, SitesOfPass
from attnlag.adjustments.surprisal import PREDICTED, PREDICTIONS, Predictions
from attnlag.errors import UserError, counted
from attnlag.model import hooks, onednn, trying
from attnlag.model.hooks import STREAM, at_least_float32
from attnlag.storage.sequences import TokenSequence

# Bounds on the buffer, in bytes and in batches: half of it is written while the other half is
# computed. Sequences are sorted by length within a half; more of them would not reduce padding.
BUFFER_BYTES = 512 * 2**20
BUFFER_BATCHES = 32

# Bound on the bytes of vectors in transfer from a GPU.
LANDING_BYTES = 256 * 2**20


class AllSeen(BaseException):
    """Everything that is needed from a forward pass has been computed.

    On an Exception, torch looks through the hooks of a module, which other passes may be changing.
    """


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


@dataclass(eq=False, repr=False)
class Adjustments:
    """Runs a model over sequences and returns the vectors that its sublayers add to each token.

    One forward pass serves all sites. It also gives the L2 norm of the residual stream that each
    block receives, for relative norms.
    """

    model: torch.nn.Module
    _: KW_ONLY
    # Names of sites, from the catalogue.
    sites: Sequence[str] = ("attention",)
    # Declared module paths; see ``architectures.locate``.
    modules: Mapping[str, Any] | None = None
    # The model's name in the configuration, for the messages.
    name: str = "NAME"
    # Tokens in simultaneous forward passes, including padding.
    batch_tokens: int
    # Result per token, layer and site: the "vectors" (float32) or their L2 "norms".
    keep: str
    # Threads on CPU, for parallel passes.
    threads: int = 1
    # The fast path: "auto", "off", "fused" or "packed"; after the first pass the one that is used.
    # It changes the model itself, see ``onednn.accelerate``.
    fast: str = "off"
    # Called with the number of tokens done after each forward pass.
    progress: Callable[[int], object] = lambda tokens: None
    # The head of the model, if its predictions are requested; every pass then runs to its end.
    predictions: Predictions | None = None
    # Whether to measure the geometry of the adjustments, and the norms of attention heads.
    with_geometry: bool = False
    with_heads: bool = False
    # That of a model that differs in its weights alone, which has passed the proofs; there is then
    # neither a proof nor a fast path.
    proved: "Adjustments | None" = None
    # Keeps the vectors of some tokens for random pairs.
    sample: geometry.PairSample | None = None

    def __post_init__(self) -> None:
        model = self.model
        # Layout found for a model of an unknown type, and layers with another mixer than attention,
        # in words; empty if neither applies.
        self.blocks, self.remark = trying.blocks_of(model, self.modules, self.name)
        for site in self.sites:
            if any(part not in block.parts for block in self.blocks for part in SITES[site].parts):
                raise UserError(
                    f"model {self.name} has one mixer in a block, and nothing beside it: found the "
                    f"site '{site}', expected attention, which is all that a block adds"
                )
        config: Any = model.config
        config = config.get_text_config()
        self.width = int(config.hidden_size)
        # By layer, and why other layers have none.
        self.heads: dict[int, heads.LayerHeads] = {}
        self.without_heads: list[str] = []
        # Largest error of the sum of heads.
        self.heads_error = 0.0
        if self.with_heads:
            self.heads, self.without_heads = heads.located(self.blocks, config)
        self.rotary = Rotary(model)
        self.proofs = proofs.Proofs(model, self.blocks, self.name, self._run)
        self.passes, self.pass_tokens = 1, self.batch_tokens
        # Parallel passes would change these embeddings concurrently.
        if next(model.parameters()).device.type == "cpu" and not self.rotary.limits:
            self.pass_tokens = max(1, self.batch_tokens // PASSES)
            self.passes = min(self.threads, PASSES)
        # Error from the proof of the sites, after the first pass.
        self.identity_error: float | None = None
        if self.proved:
            self.identity_error = self.proved.identity_error
            self.passes, self.pass_tokens = self.proved.passes, self.proved.pass_tokens
        # The fast path in words.
        self.computed_by = "plain torch"
        # Number of tokens run through the model, without and with padding.
        self.tokens = self.cells = 0

    @property
    def heads_of_a_layer(self) -> int:
        """The number of heads of each layer that has any."""
        return next(iter(self.heads.values())).count

    @property
    def heads_remark(self) -> str:
        """The error of the sum of heads in words, and why layers have none."""
        if not self.heads:
            return f"no heads: {self.without_heads[0]}" if self.without_heads else ""
        words = f"heads + bias = adjustment within {self.heads_error:.1e}"
        if self.without_heads:
            missing = counted(len(self.without_heads), "layer")
            words += f"; {missing} without, as {self.without_heads[0]}"
        return words

    @property
    def run_tokens(self) -> int:
        """Number of tokens whose vectors fill half of the buffer.

        It is the same if only norms are kept, because equal batches give equal bits.
        """
        row_bytes = 4 * len(self.sites) * len(self.blocks) * self.width
        return max(1, min(BUFFER_BYTES // row_bytes, BUFFER_BATCHES * self.batch_tokens) // 2)

    def measure(self, sequences: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
        """Return the vectors or norms that the sublayers add to each token of some sequences.

        Returns
        -------
        layers : dict of str to list of float32 arrays
            One array per layer for each site, (tokens, width) or (tokens,), for ``STREAM`` (norms)
            and for ``geometry.name_of(site)`` (quantities), one per layer with heads for
            ``heads.NAME``, and one per column for ``PREDICTIONS``, if requested. Rows are in the
            order of the sequences and their tokens.
        """
        lengths = np.array([len(sequence) for sequence in sequences])
        starts = np.concatenate([[0], np.cumsum(lengths)])
        first = self.identity_error is None and bool(len(lengths))
        if first:
            longest = int(lengths.argmax())
            of_longest = self._begin(sequences[longest])
        layers = self._room(int(starts[-1]))
        groups = list(batches(lengths, self.pass_tokens, self.rotary.stretches(lengths)))
        # A sequence may exceed the share of a pass, but all passes together stay in the budget.
        widest = max((len(group) * int(lengths[group].max()) for group in groups), default=1)
        side_by_side = max(1, min(self.passes, len(groups), self.batch_tokens // widest))

        def forward(batch: np.ndarray) -> np.ndarray:
            torch.set_num_threads(max(1, self.threads // side_by_side))
            rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in batch])
            self._forward([sequences[i] for i in batch], rows, layers, self.sample)
            return batch

        with ThreadPoolExecutor(side_by_side) as pool:
            running = [pool.submit(forward, batch) for batch in groups]
            try:
                for finished in as_completed(running):
                    of_batch = lengths[finished.result()]
                    self.tokens += int(of_batch.sum())
                    self.cells += len(of_batch) * int(of_batch.max())
                    self.progress(int(of_batch.sum()))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        # A batch of one sequence is repeated only if earlier passes may affect it.
        limits = self.rotary.limits
        shared = [i for group in groups if len(group) > 1 or limits for i in group]
        # The groups are in the order of length.
        for index in dict.fromkeys([longest, *shared[:1], *shared[-1:]]) if first else ():
            rows = slice(starts[index], starts[index + 1])
            beside = {site: [values[rows] for values in arrays] for site, arrays in layers.items()}
            measured = index == longest and not limits
            alone = of_longest if measured else self._alone(sequences[index])
            if measured and self.proofs.may_depend_on_later_ones(beside, alone):
                self.proofs.no_token_sees_later_ones(self._first_tokens(sequences[index]))
            if index in shared:
                self.proofs.company_changes_nothing(beside, alone)
        return layers

    def _room(self, rows: int) -> dict[str, list[np.ndarray]]:
        """Return empty arrays with the given number of rows, as `measure` fills them."""
        layers = len(self.blocks)
        room: dict[str, list[np.ndarray]] = {}

        def add(name: str, arrays: int, *columns: int) -> None:
            room[name] = [np.empty((rows, *columns), np.float32) for _ in range(arrays)]

        for site in self.sites:
            add(site, layers, *[self.width] * (self.keep == "vectors"))
            if self.with_geometry:
                add(geometry.name_of(site), layers, len(OF_A_PASS))
        if self.heads:
            add(heads.NAME, len(self.heads), self.heads_of_a_layer)
        add(STREAM, layers)
        if self.predictions is not None:
            add(PREDICTIONS, len(PREDICTED))
        return room

    def _forward(
        self,
        sequences: list[np.ndarray],
        rows: np.ndarray,
        layers: dict[str, list[np.ndarray]],
        sample: geometry.PairSample | None = None,
        *,
        sites_only: bool = False,
    ) -> None:
        """Run one batch and store the adjustment of token ``i`` in ``layers[site][.][rows[i]]``.

        With ``sites_only``, only sites are stored. The pass stops when all sites have occurred.
        Padding is on the right, where no token can attend to it. The model gets no mask, which
        permits faster implementations of attention.
        """
        ids, real = padded(sequences)
        mask = torch.from_numpy(real)
        landing = Landing(rows)
        column_of_heads = {layer: column for column, layer in enumerate(self.heads)}
        sites = SitesOfPass(self.sites)
        needed = {part for name in self.sites for part in SITES[name].parts}
        if not sites_only:
            needed.add(STREAM)
        unseen = len(needed) * len(self.blocks)
        lengths = real.sum(axis=1)
        starts = torch.from_numpy(np.cumsum(lengths) - lengths)
        sampled = sample.among(rows) if sample else None
        received: torch.Tensor

        def keep(layer: int, part: str, added: torch.Tensor) -> None:
            nonlocal unseen, received
            added = at_least_float32(added)
            if part == STREAM:
                landing.add(layers[STREAM][layer], norms_of(added))
                received = added
                if sample and sampled:
                    sample.keep(STREAM, layer, sampled, added)
            for site, vectors in sites.completed(layer, part, added):
                landing.add(layers[site][layer], self._kept(vectors))
                if sites_only:
                    continue
                if site == "attention" and layer in column_of_heads:
                    norms = self.heads[layer].norms(at_heads.pop(layer), vectors)
                    landing.add(layers[heads.NAME][column_of_heads[layer]], norms)
                if self.with_geometry:
                    quantities = geometry.of_batch(vectors, received, starts)
                    landing.add(layers[geometry.name_of(site)][layer], quantities)
                if sample and sampled:
                    sample.keep(site, layer, sampled, vectors)
            unseen -= 1
            if not unseen and (sites_only or self.predictions is None):
                raise AllSeen

        with (
            suppress(AllSeen),
            heads.watched({} if sites_only else self.heads, mask) as at_heads,
            hooks.watched(self.blocks, mask, keep, needed),
            torch.inference_mode(),
        ):
            hidden = self._run(ids)
        if self.predictions is not None and not sites_only:
            predicted = self.predictions.predict(hidden[mask.to(hidden.device)], sequences)
            for column, values in zip(layers[PREDICTIONS], predicted, strict=True):
                landing.add(column, values)
        landing.settle()

    def _alone(self, sequence: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Return the kept values of each site for the first tokens of a sequence by itself.

        All tokens are run if the numbers of the first ones depend on the length of the sequence.
        """
        if self.rotary.limits:
            # transformers itself undoes a stretch in a short pass, even if `Rotary` fails to.
            with torch.inference_mode():
                self._run(padded([sequence[:1]])[0])
        else:
            sequence = sequence[: proofs.TOKENS]
        shape = (len(sequence), self.width) if self.keep == "vectors" else (len(sequence),)
        layers = {site: [np.empty(shape, np.float32) for _ in self.blocks] for site in self.sites}
        self._forward([sequence], np.arange(len(sequence)), layers, sites_only=True)
        return layers

    def _begin(self, sequence: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Run the proofs on the first tokens of a sequence, and choose the fast path."""
        ids = self._first_tokens(sequence)
        self.rotary.reset()
        with hooks.written(self.model) as names:
            short_pass = self.proofs.short_pass(ids, self.heads, self.predictions)
        if names:
            self.passes, self.pass_tokens = 1, self.batch_tokens
        if len(sequence) == len(ids) or self.rotary.limits:
            # There are no numbers of the first tokens beside later ones to compare with.
            self.proofs.no_token_sees_later_ones(ids, short_pass)
        self.identity_error = self.proofs.parts_add_up(short_pass)
        errors, without = self.proofs.heads_add_up(self.heads, short_pass)
        self.heads = {layer: self.heads[layer] for layer in errors}
        self.heads_error = max(errors.values(), default=0.0)
        self.without_heads += without
        self.fast, self.computed_by = onednn.accelerate(
            self.model, self.blocks, ids, short_pass.plain, self.fast
        )
        vectors = short_pass.vectors
        return {
            site.name: [
                self._kept(site.value(*(vectors[layer, part] for part in site.parts))).numpy()
                for layer in range(len(self.blocks))
            ]
            for site in map(SITES.__getitem__, self.sites)
        }

    def _first_tokens(self, sequence: np.ndarray) -> torch.Tensor:
        """Return the ids of the first tokens of a sequence, for a proof."""
        return padded([sequence[: proofs.TOKENS]])[0][0]

    def _run(self, ids: torch.Tensor) -> Any:
        """Run the model over a batch, treating padding as tokens; return the head's input."""
        self.rotary.reset()
        return self.predictions.hidden(ids) if self.predictions else hooks.forward(self.model, ids)

    def _kept(self, added: torch.Tensor) -> torch.Tensor:
        """Return the vectors that a sublayer adds, or their norms."""
        return added.float() if self.keep == "vectors" else norms_of(added)


def norms_of(vectors: torch.Tensor) -> torch.Tensor:
    """Return the L2 norm of each vector, accumulated in float64, as float32."""
    if vectors.device.type == "cpu":
        # Computed like the norms of stored vectors, with equal bits.
        return torch.from_numpy(l2_norms(vectors.float().numpy()))
    return torch.linalg.vector_norm(vectors, dim=-1, dtype=torch.float64).float()


def write_runs(
    sequences: Iterable[TokenSequence],
    adjustments: Adjustments,
    write: Callable[[list[TokenSequence], dict[str, list[np.ndarray]]], object],
) -> None:
    """Call ``write(run, layers)`` in a thread with the results of each run of sequences, in order.

    The last run is written while the next one is computed.
    """
    with ThreadPoolExecutor(1) as pool:
        writing = None
        for run in runs(sequences, adjustments.run_tokens):
            if adjustments.sample:
                adjustments.sample.begin(run)
            layers = adjustments.measure([sequence.ids for sequence in run])
            if writing:
                writing.result()
            writing = pool.submit(write, run, layers)
        if writing:
            writing.result()
