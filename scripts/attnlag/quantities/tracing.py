"""Passes over the beginnings of some documents: what wrote adjustments, and what they say.

The values and weights of attention come from the implementation ``eager``, for one layer of one
sequence at a time.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from attnlag.errors import counted
from attnlag.model import hooks, identity
from attnlag.model.decoder import Decoder
from attnlag.model.hooks import HEAD, SUBLAYERS, NotGiven, Seen
from attnlag.quantities import columns, formats, heads, sources, traced_tables
from attnlag.quantities.catalogue import SITES, Key
from attnlag.quantities.heads import LayerHeads
from attnlag.quantities.passes import Batch, Passes, batch_of
from attnlag.quantities.readout import Readout
from attnlag.quantities.traced_tables import READOUT_EFFECTS, SOURCE_CLASSES
from attnlag.storage.sequences import TokenSequence, keys_of

# Bound on the errors of shares.
SHARES_BOUND = 1e-5

# Number of tokens of the first sequence for which the vectors are built, as a check.
PROVED = 48


class Tracer:
    """Runs a model, with its head if it has one, over single sequences.

    ``sites`` are those whose readout is wanted; sources are those of attention.
    """

    def __init__(self, decoder: Decoder, sites: Sequence[str]):
        self.decoder, self.blocks, self.sites = decoder, decoder.blocks, sites
        self.passes = Passes(decoder.model, 1, torch.get_num_threads())
        self.layers: dict[int, LayerHeads] = {}
        self.without = ["attention is not among the sites"]
        if "attention" in sites:
            self.layers, self.without = heads.located(self.blocks, decoder.config)
        self.head: Readout | None = None
        # The error of the check in words, or why there is no readout.
        self.readout_remark = ""
        self.error = 0.0
        # A table for each sequence, as in ``traced_tables``, by quantity and site; sinks are the
        # attention of heads to the first token, in layers that have heads.
        self.rows: defaultdict[Key, list[pa.Table]] = defaultdict(list)
        # Why sequences are left out, after others were traced.
        self.failures: list[str] = []

    def remarks(self) -> dict[str, str]:
        """Return the errors of the checks by quantity, or why there are none."""
        words = f"shares add up to 1 within {self.error:.1e}"
        if self.without:
            words += f"; {counted(len(self.without), 'layer')} without, as {self.without[0]}"
        if self.failures:
            words += f"; {counted(len(self.failures), 'sequence')} without, as {self.failures[0]}"
        words = words if self.layers else f"no sources: {self.without[0]}"
        return {"sources": words, "sinks": words, "readout": self.readout_remark}

    def tables(self) -> dict[Key, pa.Table]:
        """Return what was traced by quantity and site, without rows if nothing is known."""
        return traced_tables.tables(self.sites, self.rows)

    def trace(self, sequences: Mapping[tuple[str, int], np.ndarray]) -> None:
        """Run sequences, given by document and window, one at a time, and add their tables."""
        # What gives weights of attention is set for all passes of the model.
        self.passes.run(list(sequences.items()), self._trace, most=1)

    def _trace(self, item: tuple[tuple[str, int], np.ndarray]) -> None:
        (document, window), sequence = item
        batch = batch_of(sequence)
        if not self.readout_remark:
            try:
                self.head = Readout(self.decoder, batch.ids[0, :64])
                error = f"{self.head.error:.1e}"
                self.readout_remark = f"effects add up to the logits within {error}"
            except NotGiven as reason:
                self.readout_remark = f"no readout: {reason}"
        numbers, seen = self._numbers(batch)
        read = TokenSequence(document, window, sequence)
        keys = keys_of([read])
        if numbers:
            to_first = [numbers[n].pop("to_first").float().cpu().numpy() for n in sorted(numbers)]
            schema = columns.schema(sorted(numbers), to_first[0].shape[1])
            sinks = formats.table([read], to_first, schema, "float32")
            self.rows["sinks", "attention"].append(sinks)
            rows = traced_tables.table(
                keys, sorted(numbers), _columns(numbers), traced_tables.SOURCES
            )
            self.rows["sources", "attention"].append(rows)
        if self.head:
            hidden = seen.pop(len(self.blocks))[HEAD]
            for site in self.sites:
                layers = [n for n in sorted(seen) if seen[n].keys() >= {*SITES[site].sublayers}]
                vectors = [SITES[site].vectors(seen[n]) for n in layers]
                effects = self.head.effects(vectors, batch.ids[0], hidden)
                by_token = effects.double().cpu().transpose(0, 1).flatten(0, 1).numpy()
                on_words = dict(zip(READOUT_EFFECTS, by_token.T, strict=True))
                rows = traced_tables.table(keys, layers, on_words, traced_tables.READOUT)
                self.rows["readout", site].append(rows)

    def _numbers(self, batch: Batch) -> tuple[dict[int, sources.Numbers], dict[int, Seen]]:
        """Return sources by layer, and what the pass has given of each layer and of the head.

        The first sequence decides which layers have sources; one that lacks some later has none.
        """
        first = not self.rows["sources", "attention"]
        numbers: dict[int, sources.Numbers] = {}
        reasons: dict[int, str] = {}
        failed: list[str] = []
        if self.layers:
            try:
                traced = sources.traced(self.decoder, self.layers, PROVED if first else 0)
                with traced as (numbers, reasons):
                    seen = self._run(batch, numbers, reasons)
            except NotGiven as reason:
                failed = [str(reason)]
            except hooks.FAILURES as error:
                # If the model itself fails, so does the pass without weights, which says why.
                why = (str(error).splitlines() or [type(error).__name__])[0]
                failed = [f"a pass that is to give weights of attention fails: {why}"]
        if failed or not self.layers:
            numbers, seen = {}, self._run(batch, {}, {})
        if first and self.layers:
            self.layers = {n: self.layers[n] for n in sorted(numbers)}
            self.without = [*failed, *self.without, *reasons.values()]
        elif lacking := [*failed, *reasons.values()]:
            self.failures.append(lacking[0])
            numbers = {}
        return numbers, seen

    def _run(
        self, batch: Batch, numbers: dict[int, sources.Numbers], reasons: dict[int, str]
    ) -> dict[int, Seen]:
        def then(seen: Seen, point: str) -> None:
            if point == "attention" and seen.layer in numbers:
                try:
                    self._compare(seen.layer, seen[point], numbers[seen.layer])
                except NotGiven as reason:
                    del numbers[seen.layer]
                    reasons[seen.layer] = str(reason)
            if point == HEAD:
                raise hooks.AllSeen

        head = {(len(self.blocks), HEAD): self.head.head} if self.head else {}
        with hooks.observed(self.blocks, batch.mask, SUBLAYERS, head, then) as layers:
            hooks.forward(self.decoder.whole if head else self.decoder.model, batch.ids)
        return layers

    def _compare(self, layer: int, added: torch.Tensor, numbers: sources.Numbers) -> None:
        """Prove that what tokens write and the bias are the adjustment, and keep its norm."""
        added, sums = added.double(), numbers.pop("added").to(added.device)
        scale: Any = self.layers[layer].scale
        if self.layers[layer].gain is not None:
            scale = (added * sums).sum(-1, keepdim=True) / sums.square().sum(-1, keepdim=True)
        size = added.norm(dim=-1)
        gap = float(((scale * sums - added).norm(dim=-1) / size.clamp_min(size.median())).max())
        bound = identity.TOLERANCE[self.decoder.dtype]
        error = float(numbers.pop("error"))
        if not (gap <= bound and error <= SHARES_BOUND):
            raise NotGiven(
                f"in layer {layer}, what tokens write adds up to the adjustment only within "
                f"{gap:.1e}, and shares to 1 within {error:.1e}"
            )
        self.error = max(self.error, error)
        numbers["norm"] = size
        for name, part in (("self_norm", "to_self"), ("shared_norm", "from_before")):
            numbers[name] = size * numbers.pop(part).to(size.device)


def _columns(numbers: Mapping[int, sources.Numbers]) -> dict[str, np.ndarray]:
    """Return the columns of a sequence's sources, (tokens × layers, ...), tokens first."""

    def stacked(name: str) -> np.ndarray:
        values = torch.stack([numbers[layer][name].cpu() for layer in sorted(numbers)], dim=1)
        return values.flatten(0, 1).numpy()

    attended = [f"attention_{name}" for name in SOURCE_CLASSES]
    others = ("bias", "effective", "norm", "self_norm", "shared_norm", *traced_tables.LISTS)
    return {
        **dict(zip(SOURCE_CLASSES, stacked("shares").T, strict=True)),
        **dict(zip(attended, stacked("attention").T, strict=True)),
        **{name: stacked(name) for name in others},
    }
