"""Finite interventions: effects on later tokens of replacing one adjustment.

The names are those of activation patching. *Scale* multiplies the adjustment by a factor, *zero*
and *mean* ablate it (to zero, or to the mean of the site and layer over the documents), and
*resample* replaces it by the adjustment of a token of another document. One token in one layer is
changed at a time; all its changes run in one batch with the unchanged sequence.
"""

import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from attnlag.interventions import edits, sampling
from attnlag.interventions.edits import Effect, SequenceKey
from attnlag.interventions.settings import EffectsSettings
from attnlag.model import hooks
from attnlag.model.decoder import Decoder
from attnlag.quantities.passes import Passes

Edit = Callable[[torch.Tensor], torch.Tensor]

# Names of the target site if the target is the prediction of the next token.
SURPRISAL, DIVERGENCE = "surprisal", "kl_divergence"


class Replacements:
    """Adjustments that replace others, collected while the documents are processed.

    ``places`` has the tokens that are intervened on, by document and window. The parts of speech of
    tokens, ``tags``, are strata.
    """

    def __init__(
        self,
        sequences: Mapping[SequenceKey, np.ndarray],
        settings: EffectsSettings,
        layers: Sequence[int],
        tags: Mapping[SequenceKey, Sequence[str]],
    ):
        self.settings, self.layers, self.tags = settings, set(layers), tags
        # Sums over the tokens of a sequence, and the adjustment of the first of its tokens that are
        # intervened on, by site and layer.
        self.sums: dict[tuple[str, int], dict[SequenceKey, torch.Tensor]] = defaultdict(dict)
        self.first: dict[tuple[str, int], dict[SequenceKey, torch.Tensor]] = defaultdict(dict)
        self.counts: dict[SequenceKey, int] = {}
        # Tokens are drawn from the first window, which every document has.
        self.places = {
            key: sampling.positions(
                settings.seed,
                *key,
                settings.drop_first,
                settings.lags,
                settings.positions,
                tags[key],
            )
            for key, ids in sequences.items()
            if key[1] == 0 and len(ids) > settings.drop_first
        }

    def receive(
        self, keys: Sequence[SequenceKey], real: np.ndarray, layer: int, site: str, added: Any
    ) -> None:
        """Add the contributions of a batch of documents, as `derivative.effects` gives them."""
        if layer not in self.layers or site not in self.settings.source_sites:
            return
        rows = added.detach().reshape(*real.shape, -1)
        for row, key in enumerate(keys):
            used = rows[row, self.settings.drop_first : int(real[row].sum())]
            self.counts[key] = len(used)
            self.sums[site, layer][key] = used.double().sum(0)
            if self.places.get(key):
                self.first[site, layer][key] = rows[row, self.places[key][0]].clone()

    def mean(self, site: str, layer: int) -> torch.Tensor:
        """Return the mean adjustment over all tokens of the documents."""
        # Summed in a fixed order, independent of the order of the batches.
        sums = dict(sorted(self.sums[site, layer].items()))
        return torch.stack(list(sums.values())).sum(0) / sum(self.counts[key] for key in sums)

    def next_document(self, site: str, layer: int, key: SequenceKey) -> torch.Tensor | None:
        """Return the adjustment of a token of the next document; None if there is no other."""
        first = self.first[site, layer]
        order = [document for document in self.places if document in first]
        if key not in order or len(order) < 2:
            return None
        return first[order[(order.index(key) + 1) % len(order)]]


def scaled(replacements: Replacements, *place: Any) -> list[tuple[float, Edit]]:
    """Return multiples of the adjustment."""
    return [(alpha, partial(torch.mul, alpha)) for alpha in replacements.settings.scales]


def put(vector: torch.Tensor | None) -> list[tuple[float, Edit]]:
    """Return the replacement of the adjustment by a vector, if there is one."""
    return [] if vector is None else [(np.nan, vector.to)]


# The finite interventions by name. Each gives factors (NaN if it has none) and what replaces an
# adjustment, a function of it, given its site, layer and sequence.
EDITS: dict[str, Callable[[Replacements, str, int, SequenceKey], Sequence[tuple[float, Edit]]]] = {
    "scale": scaled,
    "zero": lambda replacements, site, layer, key: [(np.nan, torch.zeros_like)],
    "mean": lambda replacements, site, layer, key: put(replacements.mean(site, layer)),
    "resample": lambda replacements, *place: put(replacements.next_document(*place)),
}


def divergence(logits: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    """Return the divergence of each changed prediction of the next token from the unchanged one.

    ``logits`` are log probabilities, (1 + changes, distances, vocabulary), the unchanged ones
    first.
    """
    base = logits[:1]
    return (base.exp() * (base - logits[1:])).sum(-1)


def surprisal(logits: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    """Return the change of the surprisal of each ``following`` token; NaN where there is none."""
    next_tokens = following.expand(len(logits), -1)[..., None]
    of_next = -logits[:, : next_tokens.shape[1]].gather(-1, next_tokens)[..., 0]
    moved = logits.new_full((len(logits) - 1, logits.shape[1]), torch.nan)
    moved[:, : of_next.shape[1]] = of_next[1:] - of_next[:1]
    return moved


# Targets besides the sizes of adjustments: functions of the log probabilities of next tokens.
PREDICTIONS = {DIVERGENCE: divergence, SURPRISAL: surprisal}


def variants(
    replacements: Replacements, site: str, layer: int, key: SequenceKey
) -> list[tuple[str, float, Edit]]:
    """Return the interventions on an adjustment: kind, factor and changed vector."""
    return [
        (kind, alpha, make)
        for kind in replacements.settings.interventions
        for alpha, make in EDITS[kind](replacements, site, layer, key)
    ]


def effects_at(
    decoder: Decoder,
    sequence: np.ndarray,
    settings: EffectsSettings,
    site: str,
    layer: int,
    token: int,
    changes: Sequence[tuple[str, float, Edit]],
) -> list[Effect]:
    """Return the effects of changes of one adjustment."""
    ids = torch.from_numpy(sequence[: token + settings.lags + 1]).expand(1 + len(changes), -1)
    distances = ids.shape[1] - token
    sites = list(dict.fromkeys([site, *settings.target_sites]))
    # Changes by target, (changes, distances). The norm of an adjustment set to zero has no log.
    moved: dict[tuple[str, int | None], torch.Tensor] = {}

    def change(at: int, where: str, added: torch.Tensor) -> torch.Tensor:
        if (at, where) == (layer, site):
            rows = added.clone().reshape(*ids.shape, -1)
            for row, (_, _, make) in enumerate(changes, start=1):
                rows[row, token] = make(rows[row, token])
            added = rows.reshape(added.shape)
        if at >= layer and where in settings.target_sites:
            logs = edits.log_norm(added).reshape(ids.shape)[:, token:].cpu()
            moved[where, at] = logs[1:] - logs[:1]
        return added

    options: dict[str, Any] = {}
    if "logits_to_keep" in inspect.signature(decoder.whole.forward).parameters:
        options["logits_to_keep"] = distances
    with torch.inference_mode(), edits.edited(decoder.blocks, sites, change):
        output = hooks.forward(decoder.whole, ids, **options)
        if getattr(output, "logits", None) is not None:
            logits = output.logits[:, -distances:].double().log_softmax(-1)
            following = torch.from_numpy(sequence[token + 1 : token + 1 + distances])
            for name, change_of in PREDICTIONS.items():
                moved[name, None] = change_of(logits, following.to(logits.device)).cpu()
    return [
        Effect(site, layer, *target, kind, alpha, values.numpy())
        for target, of_changes in moved.items()
        for (kind, alpha, _), values in zip(changes, of_changes, strict=True)
    ]


def effects(
    decoder: Decoder,
    sequences: Mapping[SequenceKey, np.ndarray],
    settings: EffectsSettings,
    replacements: Replacements,
    *,
    threads: int = 1,
    progress: Callable[[int], object] = lambda tokens: None,
) -> dict[SequenceKey, list[Effect]]:
    """Return the effects of all interventions in each sequence that has a sampled token.

    On CPU, ``threads`` sequences run in parallel. ``progress`` is called with the number of tokens
    done after each sequence.
    """
    passes = Passes(decoder.whole, 1, threads)
    with passes.first(), torch.inference_mode():
        hooks.forward(decoder.whole, torch.zeros(1, 2, dtype=torch.int64))

    def effects_in(key: SequenceKey) -> list[Effect]:
        in_sequence: list[Effect] = []
        for site, layer in product(settings.source_sites, sorted(replacements.layers)):
            changes = variants(replacements, site, layer, key)
            for token in replacements.places[key] if changes else []:
                place = site, layer, token
                of_token = effects_at(decoder, sequences[key], settings, *place, changes)
                tag = replacements.tags[key][token]
                in_sequence += [effect._replace(upos=tag) for effect in of_token]
        return in_sequence

    keys = list(replacements.places)
    found = passes.run(keys, effects_in, lambda key: progress(len(sequences[key])))
    return dict(zip(keys, found, strict=True))
