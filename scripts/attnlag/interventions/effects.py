"""The table of effects by document, source, target, lag and intervention."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from attnlag.interventions import derivative, finite, sampling
from attnlag.interventions.derivative import DERIVATIVE
from attnlag.interventions.edits import Effect, SequenceKey
from attnlag.interventions.settings import EffectsSettings
from attnlag.model import loading
from attnlag.model.decoder import Decoder

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
        ("positions", pa.int64()),
        ("effect_sum", pa.float64()),
        ("sign_draws", pa.int32()),
    ]
)


def estimate(
    decoder: Decoder | None,
    sequences: Mapping[SequenceKey, np.ndarray],
    settings: EffectsSettings,
    *,
    batch_tokens: int,
    threads: int,
    changes: Mapping[str, finite.Edit] | None = None,
    documents_to_change: Container[str] | None = None,
    progress: bool = True,
) -> pa.Table:
    """Estimate the effects in some sequences: token ids, (tokens,), by document and window.

    The model has a head if effects on predictions are wanted; its parameters lose their gradients.
    It is None if there are no sequences, and then the table has no rows.
    ``changes`` are edits of an adjustment by name, besides the interventions of the settings, and
    ``documents_to_change`` those in which finite changes are made, None for all. The other
    arguments are those of `derivative.effects`; ``progress`` is whether a bar is shown, on which
    tokens of a sequence with finite changes count twice.

    Raise UserError if a layer of the settings is none of the model, if the model gives no such
    adjustments, or if a change returns none.
    """
    if decoder is None:
        return effects_by_document([], settings.sign_draws)
    finitely = bool(settings.interventions or changes)
    layers: list[int] = []
    to_change: dict[SequenceKey, np.ndarray] = {}
    if finitely:
        depth = len(decoder.blocks)
        layers = sampling.selected_layers(settings.sources, depth, change=True)
        to_change = finite.with_changes(sequences, settings.drop_first, documents_to_change)
    means = finite.MeanAdjustments(settings.source_sites, layers, settings.drop_first)
    with tqdm(
        total=sum(map(len, [*sequences.values(), *to_change.values()])),
        unit="token",
        unit_scale=True,
        desc=f"{decoder.name}: effects",
        disable=not progress,
        delay=2,
    ) as bar:
        derivatives = derivative.effects(
            decoder,
            sequences,
            settings,
            batch_tokens=batch_tokens,
            free=sum(loading.free_bytes(decoder.model.device).values()),
            receive=means.receive,
            threads=threads,
            progress=bar.update,
        )
        found = list(derivatives.items())
        if finitely:
            changed = finite.effects(
                decoder,
                to_change,
                settings,
                means,
                changes=changes,
                threads=threads,
                progress=bar.update,
            )
            found += changed.items()
    return effects_by_document(found, settings.sign_draws)


def effects_by_document(
    effects: Iterable[tuple[SequenceKey, Sequence[Effect]]], sign_draws: int
) -> pa.Table:
    """Return the effects of a shard, summed over the windows and tokens of each document.

    ``sign_draws`` is the number of sign vectors in each sum of derivatives.
    """
    rows: list[tuple[Any, ...]] = []
    for (document, _), in_sequence in effects:
        for effect in in_sequence:
            counts = effect.positions
            if counts is None:
                counts = np.isfinite(effect.effects)
            draws = sign_draws if effect.intervention == DERIVATIVE else None
            for lag, (count, value) in enumerate(zip(counts, effect.effects, strict=True)):
                keys = (document, *effect[:4], lag, effect.intervention)
                rows.append((*keys, int(count), value if count else 0.0, draws))
    frame = pd.DataFrame(rows, columns=EFFECTS_SCHEMA.names)
    cell = [name for name in EFFECTS_SCHEMA.names if name not in EFFECT_SUMS]
    sums = frame.groupby(cell, sort=False, dropna=False, as_index=False)[EFFECT_SUMS].sum()
    sums = sums.loc[sums["positions"] > 0, EFFECTS_SCHEMA.names]
    return pa.Table.from_pandas(
        sums, EFFECTS_SCHEMA, preserve_index=False
    ).replace_schema_metadata()
