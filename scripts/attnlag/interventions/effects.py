"""The table of effects by document, source, part of speech, target, lag and intervention."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from attnlag.interventions import derivative, finite, sampling
from attnlag.interventions.derivative import Key, TargetEffects
from attnlag.interventions.finite import Effect
from attnlag.interventions.settings import EffectsSettings
from attnlag.model.architectures import BlockModules

DERIVATIVE = "derivative"

EFFECT_SUMS = ["positions", "effect_sum"]

EFFECTS_SCHEMA = pa.schema(
    [
        ("document", pa.dictionary(pa.int32(), pa.string())),
        ("source_site", pa.dictionary(pa.int32(), pa.string())),
        ("source_layer", pa.int32()),
        ("target_site", pa.dictionary(pa.int32(), pa.string())),
        ("target_layer", pa.int32()),
        ("lag", pa.int32()),
        ("intervention", pa.dictionary(pa.int32(), pa.string())),
        ("alpha", pa.float64()),
        # Part of speech of the changed token; null for the derivative.
        ("upos", pa.dictionary(pa.int32(), pa.string())),
        ("positions", pa.int64()),
        ("effect_sum", pa.float64()),
        ("probes", pa.int32()),
    ]
)


def measured(
    model: Any,
    blocks: list[BlockModules],
    sequences: Mapping[Key, np.ndarray],
    settings: EffectsSettings,
    tags: Mapping[Key, Sequence[str]] | None,
    *,
    progress: Callable[[int], object] = lambda tokens: None,
    **options: Any,
) -> pa.Table:
    """Return the table of effects in some sequences.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        With a head if effects on predictions are wanted. Its parameters lose their gradients.
    tags : mapping, optional
        Parts of speech of the tokens of each sequence.
    progress : callable
        Called with the numbers of tokens that are done, twice for each sequence if there are finite
        interventions.
    **options
        Those of `derivative.effects`: ``name``, ``batch_tokens``, ``threads``, ``free``.
    """
    finitely = bool(settings.interventions)
    layers = sampling.selected_sources(settings.sources, len(blocks)) if finitely else []
    replacements = finite.Replacements(sequences, settings, layers, tags)
    derivatives = derivative.effects(
        model.base_model,
        blocks,
        sequences,
        settings,
        receive=replacements.receive,
        progress=progress,
        **options,
    )
    changed: dict[Key, list[Effect]] = {}
    if finitely:
        threads = options["threads"]
        changed = finite.effects(
            model, blocks, sequences, settings, replacements, threads=threads, progress=progress
        )
    return table(derivatives, changed, settings.probes)


def table(
    derivatives: Mapping[Key, Sequence[TargetEffects]],
    finite: Mapping[Key, Sequence[Effect]],
    probes: int,
) -> pa.Table:
    """Return the effects of a shard, summed over the windows and tokens of each document.

    The effects of finite interventions are summed separately for each part of speech. ``probes`` is
    the number of sign vectors in each sum of derivatives.
    """
    rows: list[tuple[Any, ...]] = []
    for (document, _), targets in derivatives.items():
        for target in targets:
            for (layer, lag), effect in np.ndenumerate(target.effects):
                keys = document, target.source_site, layer, *target[1:3], lag, DERIVATIVE
                rows.append((*keys, None, None, target.positions[lag], effect, probes))
    for (document, _), changes in finite.items():
        for change in changes:
            for lag, effect in enumerate(change.effects):
                of_change = document, *change[:4], lag, *change[4:6], change.upos
                usable = int(np.isfinite(effect))
                rows.append((*of_change, usable, effect if usable else 0.0, None))
    frame = pd.DataFrame(rows, columns=EFFECTS_SCHEMA.names)
    cell = [name for name in EFFECTS_SCHEMA.names if name not in EFFECT_SUMS]
    sums = frame.groupby(cell, sort=False, dropna=False, as_index=False)[EFFECT_SUMS].sum()
    sums = sums.loc[sums["positions"] > 0, EFFECTS_SCHEMA.names].astype({"upos": object})
    return pa.Table.from_pandas(
        sums, EFFECTS_SCHEMA, preserve_index=False
    ).replace_schema_metadata()
