"""Finite interventions against the model run with replaced vectors."""

from collections import Counter

import numpy as np
import pytest
import torch
from models import adjustments, gpt2_of_large_weights
from stage_settings import effects_settings as settings

from attnlag.interventions import derivative, finite, sampling
from attnlag.model.detect_modules import decoder_of

LAYER, TOKEN = 1, 4
CHOSEN = settings(interventions=("scale", "zero", "mean", "resample"), scales=(0.9, 2.0), lags=2)
SEQUENCES = {
    (f"d{i}", 0): np.random.default_rng(i).integers(0, 100, n) for i, n in enumerate((9, 12, 7))
}


def collecting(sequences):
    """Return what is to collect the adjustments of a layer, of tokens of one part of speech."""
    tags = {key: ["none"] * len(ids) for key, ids in sequences.items()}
    return finite.Replacements(sequences, CHOSEN, [LAYER], tags)


def replacements(model, sequences):
    """Return what replaces adjustments of a layer, collected in the pass of the derivative."""
    decoder, vectors = decoder_of(model), collecting(sequences)
    options = {"batch_tokens": 192, "threads": 1, "free": 10**10}
    options["receive"] = vectors.receive
    derivative.effects(decoder, sequences, CHOSEN, **options)
    return decoder, vectors


def test_each_intervention_equals_the_model_run_with_the_replaced_vector(monkeypatch):
    monkeypatch.setattr(sampling, "positions", lambda *_: [TOKEN])
    model = gpt2_of_large_weights()
    decoder, vectors = replacements(model, SEQUENCES)
    found = finite.effects(decoder, SEQUENCES, CHOSEN, vectors)

    plain = {key: adjustments(model, ids) for key, ids in SEQUENCES.items()}
    tokens = torch.cat([added[LAYER, 1:] for added, _ in plain.values()])
    key, after = ("d0", 0), ("d1", 0)
    base, logs = plain[key]
    own = base[LAYER, TOKEN]
    put = {
        ("scale", 0.9): 0.9 * own,
        ("scale", 2.0): 2 * own,
        ("zero", None): 0 * own,
        ("mean", None): tokens.mean(0),
        ("resample", None): plain[after][0][LAYER, TOKEN],
    }
    names = [(e.intervention, None if np.isnan(e.alpha) else e.alpha) for e in found[key]]
    assert set(names) == set(put)
    for effect, name in zip(found[key], names, strict=True):
        assert (effect.source_site, effect.source_layer) == ("attention", LAYER)
        changed, moved = adjustments(model, SEQUENCES[key], {(LAYER, TOKEN): put[name]})
        near = slice(TOKEN, TOKEN + 3)
        if effect.target_site == "attention":
            norms = [a[effect.target_layer, near].norm(dim=-1) for a in (base, changed)]
            expected = (norms[1] / norms[0]).log()
            expected[~expected.isfinite()] = torch.nan
        else:
            away = logs[near] - moved[near]
            expected = (logs[near].exp() * away).sum(-1)
            if effect.target_site == "surprisal":
                following = torch.from_numpy(SEQUENCES[key][TOKEN + 1 : TOKEN + 4])[:, None]
                expected = away.gather(1, following)[:, 0]
        np.testing.assert_allclose(effect.effects, expected, atol=1e-12)


def test_positions_leave_room_for_lags_and_depend_only_on_the_document():
    places = collecting(SEQUENCES).places
    for key, (place,) in places.items():
        assert 1 <= place < len(SEQUENCES[key]) - 2
    alone = collecting({("d2", 0): SEQUENCES["d2", 0]}).places
    assert alone["d2", 0] == places["d2", 0]


def test_parts_of_speech_are_drawn_in_proportion():
    tags = ["NOUN"] * 12 + ["VERB"] * 6 + ["DET", "NOUN"] * 3
    drawn = np.zeros(len(tags))
    for seed in range(3000):
        places = sampling.positions(seed, "d0", 0, 1, 0, 6, tags)
        assert len(set(places)) == 6
        drawn[places] += 1
        # 6 of 23 tokens are drawn, which have 14, 6 and 3 of each tag.
        counts = Counter(tags[place] for place in places)
        for tag, expected in (("NOUN", 84 / 23), ("VERB", 36 / 23), ("DET", 18 / 23)):
            assert abs(counts[tag] - expected) < 1
    assert drawn[0] == 0
    # Five standard errors of a share of 3,000 draws.
    assert drawn[1:] / 3000 == pytest.approx(6 / 23, abs=0.04)
    assert sampling.positions(0, "d0", 0, 1, 0, 99, tags) == list(range(1, len(tags)))


def test_a_single_document_has_no_resampling():
    _, vectors = replacements(gpt2_of_large_weights(), {("d0", 0): SEQUENCES["d0", 0]})
    kinds = [kind for kind, *_ in finite.variants(vectors, "attention", LAYER, ("d0", 0))]
    assert kinds == ["scale", "scale", "zero", "mean"]
