"""The table of effects by document, source, part of speech, target, lag and intervention."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from attnlag.interventions.derivative import Key, TargetEffects
from attnlag.interventions.finite import Effect

DERIVATIVE = "derivative"

SCHEMA = pa.schema(
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


def table(
    derivatives: Mapping[Key, Sequence[TargetEffects]],
    finite: Mapping[Key, Sequence[Effect]],
    probes: int,
) -> pa.Table:
    """Return the effects of a shard, summed over the windows and tokens of each document.

    The effects of finite interventions are summed separately for each part of speech. ``probes`` is
    the number of sign vectors in each sum of derivatives.
    """
    sums: dict[tuple[Any, ...], list[float]] = {}

    def add(key: tuple[Any, ...], positions: int, effect: float) -> None:
        held = sums.setdefault(key, [0, 0.0])
        held[0] += positions
        held[1] += effect

    for (document, _), slopes in derivatives.items():
        for slope in slopes:
            for layer, effects in enumerate(slope.effects):
                source = document, slope.source_site, layer, slope.target_site, slope.target_layer
                for lag, effect in enumerate(effects):
                    key = *source, lag, DERIVATIVE, None, None, probes
                    add(key, int(slope.positions[lag]), float(effect))
    for (document, _), changed in finite.items():
        for change in changed:
            alpha = None if np.isnan(change.alpha) else change.alpha
            for lag, effect in enumerate(change.effects):
                usable = bool(np.isfinite(effect))
                cell = document, *change[:4], lag, change.intervention, alpha, change.upos, None
                add(cell, int(usable), float(effect) if usable else 0.0)
    rows = [
        (*key[:9], positions, effect, key[9])
        for key, (positions, effect) in sums.items()
        if positions
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    arrays = [
        pa.array(column, field.type.value_type).dictionary_encode()
        if pa.types.is_dictionary(field.type)
        else pa.array(column, field.type)
        for column, field in zip(columns, SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
