"""Finite interventions: effects on later tokens of replacing one adjustment.

*Halve* and *double* multiply the adjustment, as does *small*, by 2%, which they are compared with;
*zero* and *mean* ablate it (to zero, or to the mean of the site and layer over the documents). One
token in one layer is changed at a time; all its changes run in one batch with the unchanged
sequence.
"""

import inspect
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from attnlag.errors import UserError
from attnlag.interventions import edits, sampling
from attnlag.interventions.edits import Effect, SequenceKey
from attnlag.interventions.factors import FACTORS, SMALL
from attnlag.interventions.settings import EffectsSettings
from attnlag.model import hooks
from attnlag.model.decoder import Decoder
from attnlag.quantities.batches import Passes

# Returns what replaces an adjustment, (width,), given it.
Edit = Callable[[torch.Tensor], torch.Tensor]


class MeanAdjustments:
    """Means of adjustments, collected while the documents are processed."""

    def __init__(self, sites: Collection[str], layers: Collection[int], drop_first: int) -> None:
        self.sites = sites
        self.layers = layers
        self.drop_first = drop_first
        # Sums over the tokens of a sequence by site and layer, and numbers of these tokens.
        self.sums: dict[tuple[str, int], dict[SequenceKey, torch.Tensor]] = defaultdict(dict)
        self.counts: dict[SequenceKey, int] = {}

    def receive(
        self,
        keys: Sequence[SequenceKey],
        real: np.ndarray,
        layer: int,
        site: str,
        added: torch.Tensor,
    ) -> None:
        """Add the contributions of a batch of documents, as `derivative.effects` gives them.

        ``added`` is (sequences, tokens, width), or has both in one dimension; ``real``, of
        (sequences, tokens), is False for padding.
        """
        if layer not in self.layers or site not in self.sites:
            return
        vectors = added.detach().reshape(*real.shape, -1)
        for row, key in enumerate(keys):
            used = vectors[row, self.drop_first : int(real[row].sum())]
            self.counts[key] = len(used)
            self.sums[site, layer][key] = used.double().sum(0)

    def mean(self, site: str, layer: int) -> torch.Tensor:
        """Return the mean adjustment over all tokens of the documents, (width,)."""
        # Summed in a fixed order, independent of the order of the batches.
        sums = dict(sorted(self.sums[site, layer].items()))
        return torch.stack(list(sums.values())).sum(0) / sum(self.counts[key] for key in sums)


def edits_at(
    names: Sequence[str], means: MeanAdjustments, site: str, layer: int
) -> dict[str, Edit]:
    """Return the edits of an adjustment that interventions of some names make.

    `SMALL` is added to those that multiply the adjustment.
    """
    found: dict[str, Edit] = {}
    for name in names:
        if name == "zero":
            found[name] = torch.zeros_like
        elif name == "mean":
            found[name] = means.mean(site, layer).to
        else:
            found[name] = partial(torch.mul, FACTORS[name])
            found[SMALL] = partial(torch.mul, FACTORS[SMALL])
    return found


def divergence(logits: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    """Return the divergence of each changed prediction of the next token from the unchanged one.

    ``logits`` are log probabilities, (1 + changes, distances, vocabulary), the unchanged ones
    first.
    """
    base = logits[:1]
    return (base.exp() * (base - logits[1:])).sum(-1)


def changes_of_surprisal(logits: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    """Return changes of surprisal of ``following`` tokens, (changes, distances); NaN if none."""
    next_tokens = following.expand(len(logits), -1)[..., None]
    values = -logits[:, : next_tokens.shape[1]].gather(-1, next_tokens)[..., 0]
    moved = logits.new_full((len(logits) - 1, logits.shape[1]), torch.nan)
    moved[:, : values.shape[1]] = values[1:] - values[:1]
    return moved


# Targets besides the sizes of adjustments, by the names that stand in place of a target site:
# functions of the log probabilities of next tokens.
PREDICTIONS = {"kl_divergence": divergence, "surprisal": changes_of_surprisal}


def edited_vector(name: str, edit: Edit, vector: torch.Tensor) -> torch.Tensor:
    """Return what an edit makes of an adjustment, (width,); UserError if it is no such vector."""
    edited = edit(vector)
    if not isinstance(edited, torch.Tensor) or edited.shape != vector.shape:
        found = type(edited).__name__
        if isinstance(edited, torch.Tensor):
            found = f"a tensor of shape {tuple(edited.shape)}"
        raise UserError(
            f"changes, '{name}': found {found} in place of an adjustment, expected a tensor of "
            f"shape {tuple(vector.shape)}"
        )
    return edited


def effects_at(
    decoder: Decoder,
    sequence: np.ndarray,
    settings: EffectsSettings,
    site: str,
    layer: int,
    token: int,
    changes: Mapping[str, Edit],
) -> list[Effect]:
    """Return the effects of changes of one adjustment, on its token and up to ``lags`` later ones.

    ``sequence`` are token ids, (tokens,), and ``token`` is the place of the changed one. A change
    of a log norm is NaN where a norm is zero or not finite, and that of a prediction where the next
    token is unknown. Raise UserError if a user's change returns no adjustment.
    """
    ids = torch.from_numpy(sequence[: token + settings.lags + 1]).expand(1 + len(changes), -1)
    distances = ids.shape[1] - token
    sites = list(dict.fromkeys([site, *settings.target_sites]))
    # Changes by target, (changes, distances). The norm of an adjustment set to zero has no log.
    moved: dict[tuple[str, int | None], torch.Tensor] = {}

    def change(at: int, where: str, added: torch.Tensor) -> torch.Tensor:
        if (at, where) == (layer, site):
            rows = added.clone().reshape(*ids.shape, -1)
            for row, (name, edit) in enumerate(changes.items(), start=1):
                rows[row, token] = edited_vector(name, edit, rows[row, token])
            added = rows.reshape(added.shape)
        if at >= layer and where in settings.target_sites:
            logs = edits.log_norm(added).reshape(ids.shape)[:, token:].cpu()
            moved[where, at] = logs[1:] - logs[:1]
        return added

    options: dict[str, Any] = {}
    if "logits_to_keep" in inspect.signature(decoder.whole.forward).parameters:
        options["logits_to_keep"] = distances
    with torch.inference_mode():
        output = edits.edited_pass(decoder, ids, sites, change, whole=True, **options)
        if getattr(output, "logits", None) is not None:
            logits = output.logits[:, -distances:].double().log_softmax(-1)
            following = torch.from_numpy(sequence[token + 1 : token + 1 + distances])
            for name, change_of in PREDICTIONS.items():
                moved[name, None] = change_of(logits, following.to(logits.device)).cpu()
    found = []
    for (target_site, target_layer), by_change in moved.items():
        for name, values in zip(changes, by_change, strict=True):
            found.append(Effect(site, layer, target_site, target_layer, name, values.numpy()))
    return found


def with_changes(
    sequences: Mapping[SequenceKey, np.ndarray],
    drop_first: int,
    documents: Container[str] | None = None,
) -> dict[SequenceKey, np.ndarray]:
    """Return the sequences in which tokens are changed, by document and window.

    Tokens are drawn from the first window, which every document has; ``documents`` are those in
    which finite changes are made, None for all.
    """
    found = {}
    for (document, window), ids in sequences.items():
        asked = documents is None or document in documents
        if asked and window == 0 and len(ids) > drop_first:
            found[document, window] = ids
    return found


def effects(
    decoder: Decoder,
    sequences: Mapping[SequenceKey, np.ndarray],
    settings: EffectsSettings,
    means: MeanAdjustments,
    *,
    changes: Mapping[str, Edit] | None = None,
    threads: int = 1,
    progress: Callable[[int], object] = lambda tokens: None,
) -> dict[SequenceKey, list[Effect]]:
    """Return the effects of all interventions in each sequence.

    Sequences are token ids, (tokens,), by document and window: those of `with_changes`.
    ``means`` has the layers that are changed, and ``changes`` are further edits by name. On CPU,
    ``threads`` sequences run in parallel. ``progress`` is called with the number of tokens done
    after each sequence.

    Raises
    ------
    UserError
        If an edit does not return a vector like the adjustment that it replaces.
    """
    passes = Passes(decoder.whole, 1, threads)
    with passes.first(), torch.inference_mode():
        hooks.forward(decoder.whole, torch.zeros(1, 2, dtype=torch.int64))

    def effects_in(key: SequenceKey) -> list[Effect]:
        tokens = sampling.positions(
            settings.seed,
            *key,
            settings.drop_first,
            settings.lags,
            settings.positions,
            len(sequences[key]),
        )
        in_sequence: list[Effect] = []
        for site, layer in product(settings.source_sites, sorted(means.layers)):
            made = edits_at(settings.interventions, means, site, layer) | dict(changes or {})
            for token in tokens:
                in_sequence += effects_at(
                    decoder, sequences[key], settings, site, layer, token, made
                )
        return in_sequence

    keys = list(sequences)
    found = passes.run(keys, effects_in, lambda key: progress(len(sequences[key])))
    return dict(zip(keys, found, strict=True))
