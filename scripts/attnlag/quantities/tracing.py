"""Passes over the beginnings of some documents: what wrote adjustments, and what they say.

The values and weights of attention come from the implementation ``eager``, for one layer of one
sequence at a time.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from attnlag.errors import counted
from attnlag.model import hooks
from attnlag.model.decoder import Decoder
from attnlag.model.hooks import HEADS, PROJECTED, STREAM
from attnlag.model.settings import Running
from attnlag.quantities import columns, formats, traced_tables, verification
from attnlag.quantities.batches import Batch, Passes, batch_of
from attnlag.quantities.catalogue import Key
from attnlag.quantities.computation import Check, computation_of
from attnlag.quantities.layer_pass import BatchPass, LayerPass, Needs, run_pass
from attnlag.quantities.readout import Readout, ReadoutEffects
from attnlag.quantities.settings import TracingSettings
from attnlag.quantities.sources import LayerSources, Sources
from attnlag.quantities.traced_tables import READOUT_EFFECTS
from attnlag.storage import tables
from attnlag.storage.sequences import TokenSequence, keys_of
from attnlag.storage.tables import Record

# What passes over single sequences give.
TRACED = ("sources", "sinks", "readout")


def in_plain_torch(settings: TracingSettings) -> Running:
    """Return how the model runs: in plain torch, whose passes give the weights of attention."""
    return Running(dtype=settings.dtype, fast=False)


def trace_into_files(
    decoder: Decoder | None,
    sites: Sequence[str],
    sequences: Mapping[tuple[str, int], np.ndarray],
    files: Mapping[Key, Path],
    record: Record,
) -> dict[str, str]:
    """Write what a model gives in passes over single sequences, and return remarks on it.

    Parameters
    ----------
    decoder : Decoder or None
        The model; None if there are no sequences, and then the tables have no rows.
    sites : sequence of str
        Sites whose readout is wanted.
    sequences : mapping
        Token ids, (tokens,), by document and window.
    files : mapping
        The files to write, by quantity and site.
    record : Record
        Of all files; that of a quantity with a remark has it as ``check``.

    Returns
    -------
    dict of str to str
        The error of the check of a quantity, or why there are no rows; empty if nothing was run.
    """
    traced = traced_tables.tables(sites)
    remarks: dict[str, str] = {}
    if decoder:
        tracer = Tracer(decoder, sites)
        tracer.trace(sequences)
        traced = tracer.tables()
        remarks = tracer.remarks()
    traced["source_parts", "attention"] = traced_tables.source_parts(traced["sources", "attention"])
    for (quantity, site), path in files.items():
        own_record = record
        if quantity in remarks:
            own_record = Record(record, check=remarks[quantity])
        tables.write_table(traced[quantity, site], path, own_record)
    return remarks


class Tracer:
    """Runs a model, with its head if it has one, over single sequences.

    ``sites`` are those whose readout is wanted; sources are those of attention.
    """

    def __init__(self, decoder: Decoder, sites: Sequence[str]):
        self.decoder = decoder
        self.sites = sites
        self.passes = Passes(decoder.model, 1, torch.get_num_threads())
        # What computes sources, if any layer can have them.
        self.sources: Sources | None = None
        # Why layers have no sources.
        self.without = ["attention is not among the sites"]
        if "attention" in sites:
            self.sources = computation_of("sources", "attention", decoder)
            self.without = self.sources.without
        # What computes direct logit attribution, by site.
        self.effects: dict[str, ReadoutEffects] = {}
        for site in sites:
            self.effects[site] = computation_of("readout", site, decoder)
        # The check of the readout, once the first sequence has begun.
        self.readout_check: Check | None = None
        # The largest error of shares.
        self.error = 0.0
        # A table for each sequence, as in ``traced_tables``, by quantity and site; sinks are the
        # attention of heads to the first token, in layers that have heads.
        self.rows: defaultdict[Key, list[pa.Table]] = defaultdict(list)
        # Why sequences are left out, after others were traced.
        self.failures: list[str] = []

    @property
    def layers(self) -> Sequence[int]:
        """The layers that have sources."""
        return self.sources.layers if self.sources else ()

    @property
    def readout(self) -> Readout | None:
        """The last norm and the head, which serve all sites; None if the check found none."""
        return self._readout_effects.readout

    @property
    def _readout_effects(self) -> ReadoutEffects:
        return next(iter(self.effects.values()))

    def remarks(self, quantities: Sequence[str] = TRACED) -> dict[str, str]:
        """Return the errors of the checks of some quantities, or why there are none."""
        words = f"shares add up to 1 within {self.error:.1e}"
        if self.without:
            words += f"; {counted(len(self.without), 'layer')} without, as {self.without[0]}"
        if self.failures:
            words += f"; {counted(len(self.failures), 'sequence')} without, as {self.failures[0]}"
        if not self.layers:
            words = f"no sources: {self.without[0]}"
        readout = ""
        if self.readout_check:
            readout = f"no readout: {self.readout_check.reason}"
            if self.readout_check.ok:
                readout = f"effects add up to the logits within {self.readout_check.error:.1e}"
        remarks = {"sources": words, "sinks": words, "readout": readout}
        return {name: remarks[name] for name in quantities}

    def tables(self) -> dict[Key, pa.Table]:
        """Return what was traced by quantity and site, without rows if nothing is known."""
        return traced_tables.tables(self.sites, self.rows)

    def trace(self, sequences: Mapping[tuple[str, int], np.ndarray]) -> None:
        """Run sequences one at a time, and add their tables.

        They are token ids, (tokens,), by document and window.
        """
        # What gives weights of attention is set for all passes of the model.
        self.passes.run(list(sequences.items()), self._trace, most=1)

    def _trace(self, item: tuple[tuple[str, int], np.ndarray]) -> None:
        (document, window), ids = item
        if self.readout_check is None:
            self._check(batch_of(ids[: verification.TOKENS]))
        batch = batch_of(ids)
        traced = self._traced(batch)
        sequence = TokenSequence(document, window, ids)
        if traced.sources:
            self._add_sources(sequence, traced.sources)
        if self.readout:
            self._add_readout(self.readout, sequence, batch, traced.layers)

    def _check(self, batch: Batch) -> None:
        """Check sources and the readout by one pass over the beginning of the first sequence."""
        passed = self._check_sources(batch) if self.sources and self.layers else None
        if passed is None:
            passed = self._short_pass(batch, [])
        self.readout_check = self._readout_effects.check(passed)

    def _check_sources(self, batch: Batch) -> BatchPass | None:
        """Check sources, and return the pass; None if no pass gives weights of attention."""
        assert self.sources is not None  # it has layers
        try:
            passed = self._short_pass(batch, self.layers)
            problem = passed.problem
        except hooks.FAILURES as error:
            problem = _failure(error)
        if problem:
            self.sources.layers = []
            self.without = [problem, *self.without]
            return None
        check = self.sources.check(passed)
        self.without = self.sources.without
        if check.ok:
            self.error = check.error
        return passed

    def _short_pass(self, batch: Batch, with_sources: Sequence[int]) -> BatchPass:
        """Return what a pass gives of all layers, for the checks."""
        needs = self._needs(with_sources, check=True)
        head = len(self.decoder.blocks)
        return run_pass(self.decoder, batch, needs, whole=head in needs.points)

    def _add_sources(self, sequence: TokenSequence, sources: Mapping[int, LayerSources]) -> None:
        """Add the tables of sources and sinks of one sequence."""
        numbers = sorted(sources)
        to_first = []
        for number in numbers:
            weights = sources[number].to_first
            assert weights is not None  # the layer has passed its check
            to_first.append(weights.float().cpu().numpy())
        schema = columns.schema(numbers, to_first[0].shape[1])
        sinks = formats.table([sequence], to_first, schema, "float32")
        self.rows["sinks", "attention"].append(sinks)
        by_column: dict[str, np.ndarray] = {}
        for name in sources[numbers[0]].columns:
            by_layer = [sources[number].columns[name].cpu() for number in numbers]
            by_column[name] = torch.stack(by_layer, dim=1).flatten(0, 1).numpy()
        keys = keys_of([sequence])
        rows = traced_tables.table(keys, numbers, by_column, traced_tables.SOURCES)
        self.rows["sources", "attention"].append(rows)

    def _add_readout(
        self,
        readout: Readout,
        sequence: TokenSequence,
        batch: Batch,
        layers: Mapping[int, LayerPass],
    ) -> None:
        """Add the tables of direct logit attribution of one sequence, by site."""
        hidden = layers[len(self.decoder.blocks)].stream
        assert hidden is not None  # the model has run its head
        with torch.inference_mode():
            target_rows = readout.target_rows(batch.ids[0], hidden)
        for site, effects in self.effects.items():
            effects.begin_sequence(readout, target_rows)
            by_layer = [effects.of(layers[number]) for number in effects.layers]
            by_token = torch.stack(by_layer, dim=1).flatten(0, 1).double().cpu().numpy()
            by_word = dict(zip(READOUT_EFFECTS, by_token.T, strict=True))
            keys = keys_of([sequence])
            rows = traced_tables.table(keys, effects.layers, by_word, traced_tables.READOUT)
            self.rows["readout", site].append(rows)

    def _traced(self, batch: Batch) -> "TracedPass":
        """Return what a pass over one sequence gave, with the sources of layers that have any.

        A sequence that lacks those of a layer has none.
        """
        if not self.layers:
            return self._run(batch, [])
        reasons: list[str] = []
        try:
            traced = self._run(batch, self.layers)
            reasons += filter(None, [traced.problem])
        except hooks.FAILURES as error:
            # If the model itself fails, so does the pass without weights, which says why.
            reasons.append(_failure(error))
        if reasons:
            traced = self._run(batch, [])
        for _, layer_sources in sorted(traced.sources.items()):
            if not layer_sources.check.ok:
                reasons.append(layer_sources.check.reason)
        if reasons:
            self.failures.append(reasons[0])
            return replace(traced, sources={})
        for layer_sources in traced.sources.values():
            self.error = max(self.error, layer_sources.check.error)
        return traced

    def _run(self, batch: Batch, with_sources: Sequence[int]) -> "TracedPass":
        """Run one sequence, and compute the sources of some layers during the pass."""
        needs = self._needs(with_sources, check=False)
        sources: dict[int, LayerSources] = {}
        layers: dict[int, LayerPass] = {}

        def receive(layer: LayerPass) -> None:
            if self.sources and layer.layer in with_sources:
                sources[layer.layer] = self.sources.of(layer)
            # The weights of one layer are in memory at a time.
            layers[layer.layer] = replace(layer, heads=None, attention=None)

        passed = run_pass(self.decoder, batch, needs, receive, whole=bool(self.readout))
        for layer in passed.layers:
            # What lacks a point is known once the pass has ended.
            receive(layer)
        return TracedPass(sources, layers, passed.problem)

    def _needs(self, with_sources: Sequence[int], *, check: bool) -> Needs:
        """Return what a pass is to give: for the readout of all layers, and for sources of some.

        The check of the readout needs what enters the first block and what leaves the head too.
        """
        points: dict[int, set[str]] = {}
        modules: dict[tuple[int, str], torch.nn.Module] = {}
        effects = self._readout_effects
        if self.readout or (check and effects.modules):
            for number, block in enumerate(self.decoder.blocks):
                points[number] = {*block.sublayers}
            head = len(self.decoder.blocks)
            points[head] = {STREAM}
            modules |= effects.modules
            if check:
                points[0].add(STREAM)
                points[head].add(PROJECTED)
        if self.sources:
            for number in with_sources:
                points.setdefault(number, set()).update(self.sources.needs)
                modules[number, HEADS] = self.sources.modules[number, HEADS]
        return Needs(points, modules)


@dataclass(frozen=True)
class TracedPass:
    """What a pass over one sequence gave."""

    sources: Mapping[int, LayerSources]  # by layer
    layers: Mapping[int, LayerPass]  # by layer; the number of blocks stands for the head
    problem: str  # why the pass ended early


def _failure(error: BaseException) -> str:
    """Return why there are no weights of attention, given what a pass has raised."""
    why = (str(error).splitlines() or [type(error).__name__])[0]
    return f"a pass that is to give weights of attention fails: {why}"
