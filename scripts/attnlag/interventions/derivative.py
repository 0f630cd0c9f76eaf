"""Elasticities by reverse mode: effects of a small change of one adjustment on the size of others.

A gate g = 1 multiplies the adjustment to token s at layer l. Its effect on token t at layer m is
∂ log‖a[m,t]‖ / ∂ log g[l,s], along all paths. One backward pass of Σ_t r_t log‖a[m,t]‖, where the
r_t are random signs, gives the sums of these effects over t for all l and s; times r_{s+k}, the
effect at distance k remains in expectation, because E[r_t r_u] = 0 for t ≠ u.

Contributions of other tokens are noise. With d > 1 draws of signs, each pass covers every d-th
token, so that other targets are at least that far away. With more draws than ``lags``, noise comes
only from distances beyond the requested ones.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import chain, product
from typing import Any

import numpy as np
import torch

from attnlag.errors import amount, counted
from attnlag.interventions import edits, sampling
from attnlag.interventions.edits import Effect, SequenceKey
from attnlag.interventions.settings import EffectsSettings
from attnlag.model import identity
from attnlag.model.decoder import Decoder
from attnlag.quantities.batches import Batch, Passes, batch_of
from attnlag.quantities.layer_pass import checked_pass

DERIVATIVE = "derivative"

Receive = Callable[[int, str, torch.Tensor], object]

# Number of tokens of the shortest pass that measures the memory of the graph.
PROBE_TOKENS = 16


def log_norms(
    decoder: Decoder,
    ids: torch.Tensor,
    sites: Sequence[str],
    opened: Mapping[str, Sequence[torch.Tensor]],
    receive: Receive = lambda layer, site, added: None,
) -> dict[tuple[str, int], torch.Tensor]:
    """Return the log norms of all adjustments, (sequences, tokens), by site and layer.

    Each is multiplied by its gate first. ``sites`` have gates, or norms that are needed. Raise
    UserError if the model gives no such adjustments.
    """
    logs: dict[tuple[str, int], torch.Tensor] = {}

    def gated(layer: int, site: str, added: torch.Tensor) -> torch.Tensor:
        if site in opened:
            gate = opened[site][layer].to(device=added.device, dtype=added.dtype)
            added = added * gate.reshape(*added.shape[:-1], 1)
        receive(layer, site, added)
        logs[site, layer] = edits.log_norm(added).reshape(ids.shape)
        return added

    edits.edited_pass(decoder, ids, sites, gated)
    return logs


def opened_gates(
    decoder: Decoder, sites: Collection[str], shape: tuple[int, ...]
) -> dict[str, list[torch.Tensor]]:
    """Return gates of 1 by site and layer, (sequences, tokens), which are leaves of the graph."""
    dtype = torch.promote_types(decoder.dtype, torch.float32)
    gates: dict[str, list[torch.Tensor]] = {}
    for site in sites:
        gates[site] = [torch.ones(shape, dtype=dtype, requires_grad=True) for _ in decoder.blocks]
    return gates


def effects_in_batch(
    decoder: Decoder,
    batch: Batch,
    keys: Sequence[SequenceKey],
    settings: EffectsSettings,
    targets: Sequence[int],
    receive: Receive = lambda layer, site, added: None,
) -> list[tuple[SequenceKey, Effect]]:
    """Return the effects in each sequence of a batch, given the keys of its sequences.

    Raise UserError as `log_norms`.
    """
    sources = settings.source_sites
    tokens = np.arange(batch.real.shape[1])
    opened = opened_gates(decoder, sources, batch.real.shape)
    with torch.enable_grad():
        logs = log_norms(decoder, batch.ids, _sites(settings), opened, receive)
    # Positions count from the start of the sequence; padding is at its end.
    usable = batch.real & (tokens >= settings.drop_first)
    signs = np.stack([sampling.signs(settings.seed, *key, len(tokens)) for key in keys])
    results: list[tuple[SequenceKey, Effect]] = []
    for layer, site in product(targets, settings.target_sites):
        values = logs[site, layer]
        observed = usable & torch.isfinite(values).numpy(force=True)
        gates = [gate for source in sources for gate in opened[source][: layer + 1]]
        total: Any = 0.0
        for probe in range(settings.sign_draws):
            drawn = signs * (observed & (tokens % settings.sign_draws == probe))
            weights = torch.from_numpy(drawn).to(values)
            signed = (weights * values.nan_to_num(0.0)).sum()
            slopes = torch.autograd.grad(signed, gates, retain_graph=True, materialize_grads=True)
            sums, positions = by_distance(slopes, drawn, usable, observed, settings.lags)
            total = total + sums
        total = total.reshape(len(keys), len(sources), layer + 1, -1)
        for number, source in enumerate(sources):
            if not mixes_tokens(values, opened[source][layer], batch.real):
                # Within the layer no token affects another: these are noise of the signs.
                total[:, number, layer, 1:] = 0.0
        for sequence, key in enumerate(keys):
            for (number, source), source_layer in product(enumerate(sources), range(layer + 1)):
                effect = Effect(
                    source,
                    source_layer,
                    site,
                    layer,
                    DERIVATIVE,
                    total[sequence, number, source_layer],
                    positions=positions[sequence],
                )
                results.append((key, effect))
    return results


def mixes_tokens(log_norms: torch.Tensor, gates: torch.Tensor, real: np.ndarray) -> bool:
    """Return whether gates of a layer affect its log norms at other tokens than their own.

    They do where what a later sublayer adds goes through a convolution over tokens. All are
    (sequences, tokens), ``real`` False for padding; the last token of the first sequence decides.
    """
    last = int(real[0].sum()) - 1
    (slopes,) = torch.autograd.grad(
        log_norms[0, last], gates, retain_graph=True, materialize_grads=True
    )
    return bool(slopes[0, :last].any())


def by_distance(
    slopes: Sequence[torch.Tensor],
    drawn: np.ndarray,
    usable: np.ndarray,
    observed: np.ndarray,
    lags: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of effects by distance in tokens, and the numbers of tokens in the sums.

    ``slopes`` are the derivatives of the signed sum with respect to gates, (sequences, tokens);
    ``drawn`` are the signs, 0 for tokens that are not targets. ``usable`` tokens may be a source,
    and ``observed`` ones a target. The results are (sequences, gates, lags + 1) and (sequences,
    lags + 1).
    """
    derivatives = torch.stack(list(slopes), dim=1).double().numpy(force=True)
    sums = np.zeros((*derivatives.shape[:2], lags + 1))
    positions = np.zeros((len(drawn), lags + 1), int)
    tokens = drawn.shape[1]
    for lag in range(min(lags + 1, tokens)):
        source = usable[:, : tokens - lag]
        weights = drawn[:, lag:] * source
        sums[..., lag] = np.einsum("slt,st->sl", derivatives[..., : tokens - lag], weights)
        positions[:, lag] = (observed[:, lag:] & source).sum(axis=1)
    return sums, positions


def graph_bytes(model: torch.nn.Module, run_once: Callable[[], object]) -> int:
    """Return the bytes that a forward pass keeps for its backward pass, without weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes: dict[int, int] = {}
    held: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
            # A reference keeps the address from being reused by another tensor.
            held.append(tensor)
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        run_once()
    return sum(sizes.values())


def _sites(settings: EffectsSettings) -> list[str]:
    """Return the sites that are changed or observed."""
    return list(dict.fromkeys([*settings.source_sites, *settings.target_sites]))


def per_token(decoder: Decoder, batch: Batch, settings: EffectsSettings) -> int:
    """Return the bytes of the graph for each token of a batch, from two short passes.

    Plain attention keeps a weight for every pair of tokens, so the bytes per token grow linearly
    with the length of the sequence.
    """

    def bytes_with(tokens: int) -> float:
        ids = batch.ids[:1, :tokens]
        opened = opened_gates(decoder, settings.source_sites, ids.shape)
        forward = partial(log_norms, decoder, ids, _sites(settings), opened)
        return graph_bytes(decoder.model, forward) / tokens

    length = batch.ids.shape[1]
    short = min(PROBE_TOKENS, length)
    size = bytes_with(short)
    if length > short:
        longer = min(2 * PROBE_TOKENS, length)
        size += (bytes_with(longer) - size) / (longer - short) * (length - short)
    # An eighth is added for the backward pass.
    return round(size * 9 / 8)


def effects(
    decoder: Decoder,
    sequences: Mapping[SequenceKey, np.ndarray],
    settings: EffectsSettings,
    *,
    batch_tokens: int,
    threads: int,
    free: int,
    receive: Callable[..., object] = lambda *_: None,
    progress: Callable[[int], object] = lambda tokens: None,
) -> dict[SequenceKey, list[Effect]]:
    """Return the effects in each sequence, summed over its tokens by distance.

    Sequences are token ids, (tokens,), by document and window. The parameters of the base model
    lose their gradients. ``batch_tokens`` are those of simultaneous passes, including padding, and
    ``free`` the bytes of memory for the graph. ``receive`` is called in each pass with the keys of
    its sequences, whether each of its places has a token, and as in `edits.Edit`. Raise MemoryError
    if the graph of a single pass does not fit, and UserError if the model fails the check of its
    sites.
    """
    model = decoder.model
    targets = sampling.selected_layers(settings.targets, len(decoder.blocks))
    model.requires_grad_(False)
    keys = list(sequences)
    passes = Passes(model, batch_tokens, threads)
    first = batch_of(max(sequences.values(), key=len)[:PROBE_TOKENS])
    with passes.first():
        first_pass = checked_pass(decoder, first)
    identity.check(first_pass.evidence, decoder)
    # The longest sequences come first.
    groups = passes.batches(list(sequences.values()))
    size = per_token(decoder, groups[0], settings)
    widest = max(batch.real.size for batch in groups)
    if size * widest > free:
        raise MemoryError(
            f"model {decoder.name}: the graph for a backward pass over {counted(widest, 'token')} "
            f"needs about {amount(size * widest)}, but {amount(free)} of memory are free"
        )

    def effects_of(batch: Batch) -> list[tuple[SequenceKey, Effect]]:
        batch_keys = [keys[index] for index in batch.indices]
        kept = partial(receive, batch_keys, batch.real)
        return effects_in_batch(decoder, batch, batch_keys, settings, targets, kept)

    found = passes.run(
        groups,
        effects_of,
        lambda batch: progress(int(batch.real.sum())),
        max(1, free // (size * widest)),
    )
    by_sequence: dict[SequenceKey, list[Effect]] = {key: [] for key in keys}
    for key, effect in chain.from_iterable(found):
        by_sequence[key].append(effect)
    return by_sequence
