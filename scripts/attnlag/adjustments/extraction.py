"""Forward passes over batches of sequences, and the adjustments that they give."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from attnlag.adjustments import geometry, heads
from attnlag.adjustments.norms import l2_norms
from attnlag.adjustments.outcomes import OF_A_PASS
from attnlag.adjustments.sites import SITES
from attnlag.adjustments.surprisal import COLUMNS, PREDICTIONS, Predictions
from attnlag.errors import UserError, counted
from attnlag.model import hooks, onednn, trying
from attnlag.model.hooks import STREAM
from attnlag.storage import tables

# Bounds on what is in memory, in bytes and in batches: half of it is written while the other half
# is computed. Sequences are sorted by length within a half: more of them would pad no less.
BUFFER_BYTES = 512 * 2**20
BUFFER_BATCHES = 32

# Passes that run side by side on CPU, at most, each on a share of the batch's tokens. Together they
# are faster than one on as many threads, whose parts wait for each other; and a pass on one thread
# gives the same bytes however many run beside it.
PASSES = 8

# Bound on the vectors that are on their way from a GPU.
LANDING_BYTES = 256 * 2**20

# A batch holds no sequence shorter than this part of its longest: padding costs as much time as
# tokens do, and a small batch is hardly slower per token than a large one.
LIKE_LENGTH = 0.9

# What a token's adjustment may change by, relative to its size, when the tokens after it are
# exchanged. A decoder whose products have the same shape in both passes changes by nothing; where
# experts get other numbers of tokens, by rounding.
LEAK = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}

# What 99 of 100 adjustments may differ by between a sequence alone and in its batch; half of them
# hold to the bound of the proof. Rounding differs with the shape of a batch, and may lead single
# tokens to other experts.
COMPANY = {torch.float32: 1e-3, torch.bfloat16: 0.5, torch.float16: 0.1}

# Bytes on disk of a number of a vector, at most: random digits do not compress.
STORED_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class Run(NamedTuple):
    """Sequences that are computed together, in corpus order: their keys and their token ids."""

    documents: list[str]
    windows: list[int]
    sequences: list[np.ndarray]


def stored_sequences(path: str | Path) -> Iterator[pa.RecordBatch]:
    """Yield the sequences of a tokens file, as ``runs`` takes them."""
    file = pq.ParquetFile(path, pre_buffer=False)
    columns = ["document", "window", "input_ids"]
    yield from file.iter_batches(1000, columns=columns, use_threads=False)


def runs(batches: Iterable[pa.RecordBatch], tokens: int) -> Iterator[Run]:
    """Yield sequences in runs of at most ``tokens`` tokens.

    A sequence longer than that is a run of its own.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        With the columns ``document``, ``window`` and ``input_ids`` of a tokens file.
    tokens : int
    """
    held: list[tuple[str, int, np.ndarray]] = []
    count = 0
    for batch in batches:
        ids = batch["input_ids"]
        starts = ids.offsets.to_numpy()[:-1] - ids.offsets[0].as_py()
        sequences = np.split(ids.flatten().to_numpy(), starts[1:])
        keys = batch["document"].to_pylist(), batch["window"].to_pylist()
        for row in zip(*keys, sequences, strict=True):
            if held and count + len(row[2]) > tokens:
                yield Run(*map(list, zip(*held, strict=True)))
                held, count = [], 0
            held.append(row)
            count += len(row[2])
    if held:
        yield Run(*map(list, zip(*held, strict=True)))


def batches(
    lengths: np.ndarray, batch_tokens: int, stretches: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield indices of sequences of like length whose padded batch holds ``batch_tokens`` at most.

    Longest first, so that a batch too large for memory fails at once. A sequence longer than
    the budget is a batch of its own. A batch holds sequences of one stretch only, if they are
    given; see `Rotary`.
    """
    order = np.argsort(-lengths, kind="stable")
    descending = lengths[order]
    stretched = np.zeros_like(lengths) if stretches is None else stretches[order]
    first = 0
    while first < len(order):
        longest = int(descending[first])
        most = first + max(1, batch_tokens // longest)
        alike = int(np.searchsorted(-descending, -LIKE_LENGTH * longest, side="right"))
        same = int(np.searchsorted(-stretched, -stretched[first], side="right"))
        stop = min(most, alike, same)
        yield order[first:stop]
        first = stop


class Rotary:
    """Rotary embeddings that depend on the longest sequence of a pass, or of those before it.

    LongRoPE has two embeddings: a pass takes the long one for all of its sequences as soon as one
    is longer than the model's original length. Dynamic embeddings are stretched to the longest
    sequence beyond that length, and stay so in the passes that follow.

    Parameters
    ----------
    model : torch.nn.Module
        A trunk.

    Attributes
    ----------
    stretched : list of torch.nn.Module
        Modules whose embeddings stay stretched.
    limits : set of (str, int)
        The kinds, "longrope" or "dynamic", and the length from which each changes.
    """

    def __init__(self, model: torch.nn.Module):
        self.stretched: list[torch.nn.Module] = []
        self.limits: set[tuple[str, int]] = set()
        for module in model.modules():
            # Where layers differ, by type of layer.
            found = getattr(module, "rope_type", None)
            for layer_type, kind in found.items() if isinstance(found, dict) else [("", found)]:
                if "dynamic" in str(kind):
                    self.stretched.append(module)
                    self.limits.add(("dynamic", int(module.original_max_seq_len)))  # type: ignore[arg-type]
                elif kind == "longrope":
                    stated: Any = module.config.rope_parameters  # type: ignore[union-attr]
                    stated = stated[layer_type] if layer_type else stated
                    self.limits.add(("longrope", int(stated["original_max_position_embeddings"])))

    def stretches(self, lengths: np.ndarray) -> np.ndarray:
        """Return a number for each length that grows with it: equal ones share an embedding."""
        kinds = np.zeros_like(lengths)
        for kind, limit in self.limits:
            kinds = kinds + np.where(lengths > limit, lengths if kind == "dynamic" else 1, 0)
        return kinds

    def reset(self) -> None:
        """Undo what earlier passes left: the next one finds the model as it was loaded."""
        for module in self.stretched:
            for name, value in list(module.named_buffers(recurse=False)):
                if name.endswith("original_inv_freq"):
                    setattr(module, name.replace("original_", ""), value.clone())
            for name in [name for name in vars(module) if name.endswith("max_seq_len_cached")]:
                setattr(module, name, module.original_max_seq_len)


def relative_differences(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return how far the vectors or norms of tokens are from others, relative to their size.

    What is not finite in both is no difference, and in one an infinite one.
    """
    width = 1 if found.ndim == 1 else found.shape[1]
    a, b = (values.reshape(-1, width).astype(np.float64) for values in (found, expected))
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.maximum(np.linalg.norm(b, axis=1), np.finfo(np.float32).tiny)
        gaps = np.linalg.norm(a - b, axis=1) / size
    both = ~np.isfinite(a).all(axis=1) & ~np.isfinite(b).all(axis=1)
    return np.where(both, 0.0, np.where(np.isfinite(gaps), gaps, np.inf))


class AllSeen(Exception):
    """Nothing that is left of a forward pass is asked for."""


class Landing:
    """Values on their way to main memory: a GPU need not wait for each to have arrived.

    Parameters
    ----------
    rows : (tokens,) int array
        Where the values of each token go.
    """

    def __init__(self, rows: np.ndarray):
        self.rows = torch.from_numpy(rows)
        self.coming: deque[tuple[np.ndarray, torch.Tensor, Any]] = deque()
        self.bytes = 0

    def add(self, target: np.ndarray, values: torch.Tensor) -> None:
        """Send float32 values, (tokens,) or (tokens, width), to rows of an array."""
        # From a GPU, this is memory that it writes to by itself.
        landed = values.to("cpu", non_blocking=True)
        cuda = values.device.type == "cuda"
        sent = torch.cuda.current_stream(values.device).record_event() if cuda else None
        self.coming.append((target, landed, sent))
        self.bytes += landed.nbytes
        self.settle(LANDING_BYTES if cuda else 0)

    def settle(self, most: int = 0) -> None:
        """Put in place what was sent first, until at most so many bytes are on their way."""
        while self.bytes > most:
            target, landed, sent = self.coming.popleft()
            if sent is not None:
                sent.synchronize()
            # NumPy would keep the threads of other passes waiting.
            torch.from_numpy(target).index_copy_(0, self.rows, landed)
            self.bytes -= landed.nbytes


class Adjustments:
    """Runs a model over sequences and gives what its sublayers add to each token.

    One forward pass serves all sites. It also gives the L2 norm of what each block receives, the
    residual stream, to measure the adjustments against.

    Parameters
    ----------
    model : torch.nn.Module
        A trunk from ``loading.load_model``.
    wanted : sequence of str
        Names of sites, from the catalogue.
    modules : mapping or None
        The module paths that are declared; see ``architectures.locate``.
    name : str
        The model's name in the configuration, for the messages.
    batch_tokens : int
        Tokens in forward passes at a time, padding included.
    threads : int
        Threads on CPU, for passes side by side.
    keep : {"vectors", "norms"}
        What is given per token, layer and site: the vector, float32, or its L2 norm.
    fast : {"auto", "off", "fused", "packed"}
        The fast path that the model is put on before the first forward pass, see
        ``onednn.accelerate``. The model itself is changed.
    progress : callable
        Called with the number of tokens done after each forward pass.
    predictions : Predictions or None
        The head of the model, where what it predicts is asked for too; every pass then runs to
        its end.
    turns : bool
        Whether the pass gives the geometry of the adjustments too; see ``geometry``.
    by_head : bool
        Whether it gives the norms of attention heads, where they are found; see ``heads``.

    Attributes
    ----------
    sample : geometry.PairSample or None
        Given by the caller: keeps the vectors of some tokens, for random pairs of them.
    heads : list of LayerHeads
        Those of each layer; empty if none are found, or not asked for.
    heads_found : str
        In words, how well they add up, or why there are none.
    identity_error : float or None
        From the proof of the sites, once it has been given.
    fast : {"off", "fused", "packed"}
        Once the first pass has run, the fast path that was taken.
    found : str
        In words, what was found by trying in a model of an unknown type, and which layers have
        another mixer than attention; empty if neither is so.
    computed_by : str
        The same in words.
    tokens, cells : int
        Tokens that were run through the model, and with the padding beside them.
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
        threads: int = 1,
        fast: str = "off",
        progress: Callable[[int], object] = lambda tokens: None,
        predictions: Predictions | None = None,
        turns: bool = False,
        by_head: bool = False,
    ):
        self.model = model
        self.predictions = predictions
        self.heads: list[heads.LayerHeads] = []
        self.heads_found = ""
        self.turns = turns
        self.sample: geometry.PairSample | None = None
        self.blocks, self.found = trying.blocks_of(model, modules, name)
        self.wanted = list(wanted)
        for site in self.wanted:
            if any(part not in block.parts for block in self.blocks for part in SITES[site].parts):
                raise UserError(
                    f"model {name} has one mixer in a block, and nothing beside it: found the site "
                    f"'{site}', expected attention, which is all that a block adds"
                )
        if by_head:
            try:
                config: Any = model.config
                self.heads = heads.located(self.blocks, config.get_text_config())
            except heads.NoHeads as reason:
                self.heads_found = f"no heads: {reason}"
        self.name = name
        self.batch_tokens = batch_tokens
        self.pass_tokens = batch_tokens
        self.passes = 1
        self.rotary = Rotary(model)
        # Passes side by side would change these embeddings under each other.
        if next(model.parameters()).device.type == "cpu" and not self.rotary.limits:
            self.pass_tokens = max(1, batch_tokens // PASSES)
            self.passes = min(threads, PASSES)
        self.threads = threads
        self.keep = keep
        self.fast = fast
        self.computed_by = "plain torch"
        self.tokens = self.cells = 0
        self.progress = progress
        self.width = int(model.config.get_text_config().hidden_size)  # type: ignore[union-attr,operator]
        self.identity_error: float | None = None
        # Two, that take turns.
        self._buffers: deque[dict[str, list[np.ndarray]]] = deque([{}, {}])

    @property
    def run_tokens(self) -> int:
        """Tokens whose vectors fill half of the buffer.

        Also where only norms are kept: in the same batches they are the same to the last bit.
        """
        row_bytes = 4 * len(self.wanted) * len(self.blocks) * self.width
        return max(1, min(BUFFER_BYTES // row_bytes, BUFFER_BATCHES * self.batch_tokens) // 2)

    def of(self, sequences: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
        """Return what the sublayers add to each token of some sequences.

        Parameters
        ----------
        sequences : sequence of (tokens,) int arrays
            Token ids.

        Returns
        -------
        layers : dict of str to list of float32 arrays
            For each site an array per layer, (tokens, width) or (tokens,), and for ``STREAM``
            one of norms, (tokens,), and for ``geometry.rows_of(site)`` one of its quantities; for
            ``PREDICTIONS``, where there are any, one of each of their columns; rows in the order
            of the sequences and their tokens. The next call but one overwrites them.
        """
        lengths = np.array([len(sequence) for sequence in sequences])
        starts = np.concatenate([[0], np.cumsum(lengths)])
        layers = self._room(int(starts[-1]))
        groups = list(batches(lengths, self.pass_tokens, self.rotary.stretches(lengths)))
        alone = {int(group[0]) for group in groups if len(group) == 1}
        # A sequence may be longer than the share of a pass; all together hold to the budget.
        widest = max((len(group) * int(lengths[group].max()) for group in groups), default=1)
        side_by_side = max(1, min(self.passes, len(groups), self.batch_tokens // widest))

        def forward(batch: np.ndarray) -> np.ndarray:
            torch.set_num_threads(max(1, self.threads // side_by_side))
            rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in batch])
            self._forward([sequences[i] for i in batch], rows, layers, self.sample)
            return batch

        def done(batch: np.ndarray) -> None:
            tokens = int(lengths[batch].sum())
            self.tokens += tokens
            self.cells += len(batch) * int(lengths[batch].max())
            self.progress(tokens)

        first = self.identity_error is None and bool(groups)
        if first:
            # The proof, alone.
            done(forward(groups.pop(0)))
        with ThreadPoolExecutor(side_by_side) as pool:
            running = [pool.submit(forward, batch) for batch in groups]
            try:
                for finished in as_completed(running):
                    done(finished.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if first:
            by_length = np.argsort(-lengths, kind="stable")
            picked = dict.fromkeys(int(by_length[i]) for i in (0, len(lengths) // 2, -1))
            for index in picked:
                # What had a pass to itself has it again only where passes may leave something.
                if index not in alone or self.rotary.limits:
                    rows = slice(int(starts[index]), int(starts[index + 1]))
                    beside = {
                        site: [values[rows] for values in arrays] for site, arrays in layers.items()
                    }
                    self._check_that_company_changes_nothing(sequences[index], beside)
        return layers

    def _room(self, rows: int) -> dict[str, list[np.ndarray]]:
        """Return arrays of so many rows, by site and layer, of the buffer whose turn it is."""
        self._buffers.rotate(1)
        held = self._buffers[0]
        if not held or len(held[self.wanted[0]][0]) < rows:
            held.clear()
            shape = (rows, self.width) if self.keep == "vectors" else (rows,)
            for site in self.wanted:
                held[site] = [np.empty(shape, np.float32) for _ in self.blocks]
                if self.turns:
                    room = (rows, len(OF_A_PASS))
                    held[geometry.rows_of(site)] = [np.empty(room, np.float32) for _ in self.blocks]
            for layer in self.heads:
                room = (rows, layer.count)
                held.setdefault(heads.ROWS, []).append(np.empty(room, np.float32))
            held[STREAM] = [np.empty(rows, np.float32) for _ in self.blocks]
            if self.predictions is not None:
                held[PREDICTIONS] = [np.empty(rows, np.float32) for _ in COLUMNS]
        return {site: [values[:rows] for values in arrays] for site, arrays in held.items()}

    def _forward(
        self,
        sequences: list[np.ndarray],
        rows: np.ndarray,
        layers: dict[str, list[np.ndarray]],
        sample: geometry.PairSample | None = None,
    ) -> None:
        """Run one batch; put what is added to token ``i`` into ``layers[site][.][rows[i]]``.

        The first batch runs to its end and proves the sites: each is seen once in a pass. Later
        ones stop when all of them have been seen.

        Padding is on the right, where no token sees it: the model is told of none, and may take
        the faster way of attention without a mask.
        """
        lengths = np.array([len(sequence) for sequence in sequences])
        real = np.arange(lengths.max())[None, :] < lengths[:, None]
        padded = np.zeros(real.shape, np.int64)
        padded[real] = np.concatenate(sequences)
        # Of a model on several devices, where it begins.
        device = self.model.get_input_embeddings().weight.device  # type: ignore[operator]
        ids, mask = torch.from_numpy(padded), torch.from_numpy(real)
        if device.type == "cuda":
            ids = ids.pin_memory().to(device, non_blocking=True)
        landing = Landing(rows)
        sites = [SITES[name] for name in self.wanted]
        seen: dict[str, dict[str, torch.Tensor]] = {site.name: {} for site in sites}
        needed = {STREAM, *(part for site in sites for part in site.parts)}
        unseen = len(needed) * len(self.blocks)
        first = self.identity_error is None
        starts = torch.from_numpy(np.cumsum(lengths) - lengths)
        chosen = sample.among(rows) if sample else None
        received: torch.Tensor

        def keep(layer: int, part: str, added: torch.Tensor) -> None:
            if first and added.shape[1] != self.width:
                raise hooks.NoVectors(
                    f"vectors of {added.shape[1]} from {part} in a stream of {self.width}"
                )
            nonlocal unseen, received
            if part == STREAM:
                landing.add(layers[STREAM][layer], norms_of(added))
                received = added
                if sample and chosen:
                    sample.keep(STREAM, layer, chosen, added)
            for site in sites:
                if part not in site.parts:
                    continue
                if len(site.parts) == 1:
                    value = site.value(added)
                else:
                    # Either part may come first.
                    parts = seen[site.name]
                    parts[part] = added.float()
                    if len(parts) < len(site.parts):
                        continue
                    device = parts[site.parts[0]].device
                    value = site.value(*(parts[name].to(device) for name in site.parts))
                    parts.clear()
                landing.add(layers[site.name][layer], self._kept(value))
                if self.heads and site.name == "attention":
                    norms = heads.norms_of(self.heads[layer], at_heads.pop(layer), value)
                    landing.add(layers[heads.ROWS][layer], norms)
                if self.turns:
                    turned = geometry.of_batch(value, received, starts)
                    landing.add(layers[geometry.rows_of(site.name)][layer], turned)
                if sample and chosen:
                    sample.keep(site.name, layer, chosen, value)
            unseen -= 1
            if not unseen and not first and self.predictions is None:
                raise AllSeen

        if first:
            longest = ids[int(lengths.argmax())]
            with self._no_vectors_told():
                self._check_that_no_token_sees_later_ones(longest)
            self._prove_heads(longest)
            self.fast, self.computed_by = onednn.accelerate(
                self.model, self.blocks, longest, self.fast
            )
            if self.predictions is not None:
                self.rotary.reset()
                self.predictions.prove(longest)
        with (
            suppress(AllSeen),
            heads.watched(self.heads, mask) as at_heads,
            hooks.watched(self.blocks, mask, keep, needed),
            torch.inference_mode(),
        ):
            output = self._prove(ids, mask) if first else self._run(ids)
        if self.predictions is not None:
            self._predict(output, sequences, mask, layers[PREDICTIONS], landing)
        landing.settle()

    def _predict(
        self,
        output: Any,
        sequences: list[np.ndarray],
        mask: torch.Tensor,
        columns: list[np.ndarray],
        landing: Landing,
    ) -> None:
        """Send what is predicted at the tokens of a batch to the rows of its columns."""
        assert self.predictions is not None
        hidden = self.predictions.hidden(output)
        found = self.predictions.of(hidden[mask.to(hidden.device)], sequences)
        for column, values in zip(columns, found, strict=True):
            landing.add(column, values)

    def _run(self, ids: torch.Tensor) -> Any:
        """Run the model over a batch, all of whose cells count as tokens."""
        self.rotary.reset()
        return self.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)

    def _kept(self, added: torch.Tensor) -> torch.Tensor:
        """Return what is kept of the vectors that a sublayer adds."""
        return added.float() if self.keep == "vectors" else norms_of(added)

    @contextmanager
    def _no_vectors_told(self) -> Iterator[None]:
        """Tell of modules that give no vectors of the stream as of other wrong ones."""
        try:
            yield
        except hooks.NoVectors as found:
            kind = self.model.config.model_type  # type: ignore[union-attr]
            raise UserError(
                f"model {self.name}, of type '{kind}', fails the proof of its sites: found "
                f"{found}; expected one vector a token, of the width of the stream, into each "
                f"block, out of it, and from its sublayers; tried {self.blocks[0].paths}; nothing "
                "was stored"
            ) from None

    def _check_that_no_token_sees_later_ones(self, ids: torch.Tensor) -> None:
        """Refuse a model that is no decoder: its tokens would see padding, and what they predict.

        The second half of a sequence is exchanged for other tokens, all of them: a decoder gives
        the first half the same vectors, in most cases to the last bit, since the two passes have
        the same shape.
        """
        ids = ids[: onednn.PROBE_TOKENS]
        half = len(ids) // 2
        if not half:
            return
        others = ids[ids != ids[0]]
        # A sequence that repeats one token has none; the first two are in every vocabulary.
        other = others[0] if len(others) else (ids[0] == 0).to(ids.dtype)
        exchanged = torch.where(ids == ids[0], other, ids[0])
        exchanged[:half] = ids[:half]
        worst = max(
            (
                relative_differences(found[:half].numpy(), expected[:half].numpy()).max()
                for found, expected in zip(
                    self._vectors(exchanged), self._vectors(ids), strict=True
                )
            ),
            default=0.0,
        )
        if worst > LEAK[next(self.model.parameters()).dtype]:
            kind = self.model.config.model_type  # type: ignore[union-attr]
            raise UserError(
                f"model {self.name}, of type '{kind}', lets a token see the tokens after it: other "
                f"ones there change its adjustments by up to {worst:.0%}; expected a decoder"
            )

    def _prove_heads(self, ids: torch.Tensor) -> None:
        """Show on one sequence that heads and bias are the adjustment; else there are no heads."""
        if not self.heads:
            return
        ids = ids[: onednn.PROBE_TOKENS]
        found: list[Any] = []

        def keep(layer: int, _: str, added: torch.Tensor) -> None:
            # A module that is declared as attention may be none.
            if layer not in seen:
                raise heads.NoHeads(f"layer {layer} adds what its output projection has not made")
            found.append((seen[layer], added))

        every = torch.ones(1, len(ids), dtype=torch.bool)
        try:
            with (
                heads.watched(self.heads, every) as seen,
                hooks.watched(self.blocks, every, keep, ["attention"]),
                torch.inference_mode(),
            ):
                self._run(ids[None])
                bound = hooks.TOLERANCE[next(self.model.parameters()).dtype]
                error = heads.prove(self.heads, found, bound)
                self.heads_found = f"heads + bias = adjustment within {error:.1e}"
        except heads.NoHeads as reason:
            self.heads_found = f"no heads: {reason}"
            self.heads = []

    def _vectors(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Return what both parts of every layer add to the tokens of one sequence."""
        found: list[torch.Tensor] = []

        def keep(_: int, __: str, added: torch.Tensor) -> None:
            found.append(added.float().cpu())

        every = torch.ones(1, len(ids), dtype=torch.bool)
        with hooks.watched(self.blocks, every, keep), torch.inference_mode():
            self._run(ids[None])
        return found

    def _check_that_company_changes_nothing(
        self, sequence: np.ndarray, beside: dict[str, list[np.ndarray]]
    ) -> None:
        """Refuse a model whose numbers depend on the sequences that are computed beside one.

        Parameters
        ----------
        sequence : (tokens,) int array
        beside : dict of str to list of arrays
            What was found for it in its batch, for each site an array per layer.
        """
        alone = {
            site: [np.empty_like(values) for values in arrays] for site, arrays in beside.items()
        }
        self._forward([sequence], np.arange(len(sequence)), alone)
        gaps = np.concatenate(
            [
                relative_differences(found, expected)
                for site in self.wanted
                for found, expected in zip(beside[site], alone[site], strict=True)
            ]
        )
        dtype = next(self.model.parameters()).dtype
        usual, high = np.quantile(gaps, [0.5, 0.99])
        if not (usual <= hooks.TOLERANCE[dtype] and high <= COMPANY[dtype]):
            kind = self.model.config.model_type  # type: ignore[union-attr]
            raise UserError(
                f"model {self.name}, of type '{kind}', gives a sequence other adjustments beside "
                f"others than alone (a document of {counted(len(sequence), 'token')}: they differ "
                f"by {gaps.max():.0%} at most, {usual:.1e} at half of its tokens and layers); "
                "expected numbers that do not depend on what else is in a batch; nothing was stored"
            )

    def _prove(self, ids: torch.Tensor, mask: torch.Tensor) -> Any:
        """Run the first batch with the residual identity measured; fail if it does not hold."""
        with self._no_vectors_told(), hooks.residual_identity(self.blocks, mask) as evidence:
            output = self._run(ids)
        self.identity_error = hooks.check_identity(
            evidence,
            self.blocks,
            dtype=next(self.model.parameters()).dtype,
            model_type=str(self.model.config.model_type),  # type: ignore[union-attr]
            name=self.name,
        )
        return output


def norms_of(vectors: torch.Tensor) -> torch.Tensor:
    """Return the L2 norm of each vector, accumulated in float64, as float32."""
    if vectors.device.type == "cpu":
        # As the norms of stored vectors are taken: equal to the last bit.
        return torch.from_numpy(l2_norms(vectors.float().numpy()))
    return torch.linalg.vector_norm(vectors, dim=-1, dtype=torch.float64).float()


def write_runs(
    path: str | Path,
    adjustments: Adjustments,
    write: Callable[[Run, dict[str, list[np.ndarray]]], object],
) -> None:
    """Call ``write(run, layers)`` for the runs of a tokens file, in order, from a thread.

    The last run is written while the next one is computed.
    """
    with ThreadPoolExecutor(1) as pool:
        writing = None
        for run in runs(stored_sequences(path), adjustments.run_tokens):
            if adjustments.sample:
                adjustments.sample.begin(*run[:2], [len(sequence) for sequence in run.sequences])
            layers = adjustments.of(run.sequences)
            if writing:
                writing.result()
            writing = pool.submit(write, run, layers)
        if writing:
            writing.result()


def table(run: Run, layers: list[np.ndarray], schema: pa.Schema, stored: str) -> pa.Table:
    """Return the rows of a run: one per token, the keys first, then the layers.

    Parameters
    ----------
    run : Run
        The sequences and their keys.
    layers : list of float32 arrays
        Those of one site, from ``Adjustments.of``.
    schema : pyarrow.Schema
        From ``layout.schema``.
    stored : str
        The precision that vectors are rounded to, see ``rounded``.

    Raises
    ------
    UserError
        If a vector is too large for float16.
    """
    lengths = [len(sequence) for sequence in run.sequences]
    columns: list[pa.Array] = [
        pa.array(np.repeat(np.array(run.documents, dtype=object), lengths)).dictionary_encode(),
        pa.array(np.repeat(np.array(run.windows, dtype=np.int32), lengths)),
        pa.array(np.concatenate([np.arange(n, dtype=np.int32) for n in lengths])),
        pa.array(np.concatenate(run.sequences).astype(np.int32)),
    ]
    for layer, values in enumerate(layers):
        if values.ndim == 1:
            columns.append(pa.array(values))
            continue
        flat = rounded(values, stored)
        if stored == "float16" and np.isinf(flat).sum() > np.isinf(values).sum():
            raise UserError(
                f"float16 holds numbers up to 65504, but what layer {layer} adds is as large as "
                f"{np.abs(values[np.isfinite(values)]).max():.3g}; expected storage in bfloat16 or "
                "float32"
            )
        kind = schema.field(len(columns)).type
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), type=kind))
    return pa.Table.from_arrays(columns, schema=schema)


def encoding(schema: pa.Schema, stored: str) -> dict[str, Any]:
    """Return how Parquet is to store the rows of ``table``; see benchmarks/storage.py.

    Vectors of float32 are hardly smaller when compressed, and slower to read.
    """
    options: dict[str, Any] = {"use_dictionary": ["document"], "write_statistics": False}
    if not any(pa.types.is_fixed_size_list(field.type) for field in schema):
        return {**options, "compression": "zstd"}
    if stored == "float32":
        return {**options, "compression": "none"}
    return {**tables.encoding(schema), **options, "compression": "zstd", "compression_level": 1}


def rounded(values: np.ndarray, stored: str) -> np.ndarray:
    """Return float32 values as they are stored.

    That is as they are, as float16, or, there being no such type in Parquet, as float32 with
    the digits of bfloat16: the rest are zeros, which compress to nothing.
    """
    if stored == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16)
    if stored == "bfloat16":
        return torch.from_numpy(values).bfloat16().float().numpy()
    return values
