"""Every quantity in a notebook, of models that exist in memory alone, against a run's programs."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from designs import tokens_table
from models import adjustments, extractor
from transformers import GPT2Config, GPT2LMHeadModel

import attnlag
from attnlag.corpus.tokens import load_tokenizer
from attnlag.errors import UserError
from attnlag.interventions import sampling
from attnlag.model.detect_modules import decoder_of
from attnlag.quantities import catalogue, extraction, traced_tables, tracing

FORWARD = ["vectors", "norms", *catalogue.OPTIONAL]
EVERY = [*FORWARD, "sources", "readout"]
SITES = ["attention", "mlp"]


class LowRank(torch.nn.Module):
    """A projection with a product of low rank added, as adapters have it."""

    def __init__(self, projection, rank=2):
        super().__init__()
        inputs, width = projection.weight.shape
        self.projection = projection
        self.down = torch.nn.Parameter(torch.randn(inputs, rank))
        self.up = torch.nn.Parameter(torch.randn(rank, width))

    def forward(self, x):
        return self.projection(x) + x @ self.down @ self.up


def edited(kind):
    """Return a small model, with adapters or with one layer that adds three times as much."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=2, n_positions=64)).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(0.3 * torch.randn(weights.shape) + (weights.ndim == 1))
        if kind == "edited":
            model.transformer.h[1].attn.c_proj.weight *= 3
    if kind == "adapted":
        for block in model.transformer.h:
            block.mlp.c_fc = LowRank(block.mlp.c_fc)
    return model


@pytest.fixture(scope="module")
def tokenizer(gpt2_tokenizer):
    return load_tokenizer(gpt2_tokenizer)


TEXTS = {
    f"text {i}": " ".join(f"word {j} of {i * j} rivers" for j in range(4 + i)) for i in range(8)
}


@pytest.mark.parametrize("kind", ["adapted", "edited"])
def test_every_quantity_of_a_model_in_memory_equals_that_of_the_programs(kind, tokenizer, tmp_path):
    model = edited(kind)
    measured = attnlag.measure(
        model, tokenizer, TEXTS, sites=SITES, quantities=EVERY, progress=False
    )
    rows = measured.tokens.groupby(["document", "window"], sort=False)["token_id"].agg(list)
    pq.write_table(tokens_table(rows.to_dict()), tmp_path / "tokens.parquet")
    programs = extractor(model, *FORWARD, sites=SITES)
    files = {key: tmp_path / f"{'_'.join(key)}.parquet" for key in programs.computations}
    directions = [programs.computations["geometry", site] for site in SITES]
    for of_site in directions:
        of_site.expect(len(TEXTS))
    extraction.record(tmp_path / "tokens.parquet", programs, files, lambda *key: {}, "float16")
    assert {name for name, _ in files} == {*FORWARD, "stream"}
    for (name, site), path in files.items():
        stored = pq.read_table(path)
        found, expected = (
            np.column_stack([np.stack(column.to_list()) for _, column in rows.items()])
            for table in (measured.tables[name, site], stored)
            for rows in [table.to_pandas().iloc[:, 4:]]
        )
        # Vectors alone are stored in half precision.
        assert ("halffloat" in str(stored.schema[4].type)) == (name == "vectors")
        bound = 1e-3 if name == "vectors" else 1e-5
        np.testing.assert_allclose(found, expected, rtol=max(bound, 1e-4), atol=bound)
    pairs = [of_site.metadata() for of_site in directions]
    assert pairs[0] != pairs[1]
    for site, of_site in zip(SITES, pairs, strict=True):
        assert of_site.items() <= pq.read_metadata(files["geometry", site]).metadata.items()
    norms = measured.table("norms").query("site == 'mlp' and layer == 1")
    np.testing.assert_allclose(norms["relative"], norms["norm"] / measured.stream[1])
    # The head norms of the edited layer are those of the model in memory.
    first = measured.table("heads").query("layer == 1 and document == 'text 0'")
    ids = torch.tensor([rows["text 0", 0]])
    seen = []
    projection = model.transformer.h[1].attn.c_proj
    with projection.register_forward_pre_hook(lambda _, args: seen.append(args[0][0])):
        model(input_ids=ids)
    by_head = seen[0].view(len(first), 2, 16).transpose(0, 1) @ projection.weight.view(2, 16, 32)
    np.testing.assert_allclose(
        first[["head_0", "head_1"]], by_head.norm(dim=-1).T.detach(), rtol=1e-4
    )
    tracer = tracing.Tracer(decoder_of(model), SITES)
    tracer.trace({key: np.array(ids) for key, ids in rows.items()})
    for name, site in (("sources", "attention"), ("readout", "attention"), ("readout", "mlp")):
        pd.testing.assert_frame_equal(
            measured.tables[name, site].to_pandas(), tracer.tables()[name, site].to_pandas()
        )
    table = measured.table("sources")
    assert table["token"].notna().all()
    assert len(table) == 2 * len(measured.tokens)
    assert set(measured.remarks) == {"heads", "sources", "readout"}


@pytest.mark.parametrize("kind", ["adapted", "edited"])
def test_interventions_equal_the_model_run_with_other_vectors(kind, tokenizer):
    """One token of one layer is set to zero, as a hook of our own does it."""
    model = edited(kind).train()
    options = {"lags": 1, "sign_draws": 2, "targets": 2, "interventions": ["zero"]}
    options |= {"document_tokens": 20, "progress": False}
    found = attnlag.intervene(model, tokenizer, TEXTS, **options)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.training
    table = found.elasticities
    own = table.query("intervention == 'derivative' and source_layer == target_layer and lag == 0")
    np.testing.assert_allclose(own["estimate"], 1, rtol=1e-5)
    model.eval()
    rows = found.effects.query("intervention == 'zero' and document == 'text 3' and lag == 1")
    ids = torch.tensor(tokenizer(TEXTS["text 3"])["input_ids"][:20])
    place = sampling.positions(0, "text 3", 0, 1, 1, 1, ["none"] * len(ids))[0]
    before, logs = adjustments(model, ids)
    after, moved = adjustments(model, ids, {(0, place): 0})
    growth = (after[1, place + 1].norm() / before[1, place + 1].norm()).log()
    later = place + 1, ids[place + 2]
    for target, expected in (
        ("target_site == 'attention' and target_layer == 1", growth),
        ("target_site == 'surprisal'", logs[later] - moved[later]),
    ):
        found = rows.query(target)["effect_sum"].item()
        assert found == pytest.approx(float(expected), rel=1e-4, abs=1e-6)


NOT_HEADS = [name for name in catalogue.OPTIONAL if name != "heads"]


@pytest.fixture(scope="module")
def measured(tokenizer):
    quantities = ["vectors", "sources", *NOT_HEADS]
    model = edited("edited")
    return attnlag.measure(model, tokenizer, TEXTS, quantities=quantities, progress=False)


@pytest.mark.parametrize("outcome", catalogue.OUTCOMES)
def test_whatever_is_an_outcome_is_regressed(measured, outcome):
    controls = {"random_weights": {"documents": 7, "scales": ["own"]}}
    fit = attnlag.fit(measured, lags=[1], outcome=outcome, controls=controls, inference=PLAIN)
    frame = values_of(measured, outcome)
    for layer, rows in frame.groupby("layer"):
        rows = rows.assign(lag=rows.groupby("document")["value"].shift())
        # No lag is the first token's or, as that of a cosine, one with the first token.
        rows = rows[rows["position"] > 1 + catalogue.OUTCOMES[outcome].first_position]
        rows = rows[np.isfinite(rows["value"]) & np.isfinite(rows["lag"])]
        slope = np.polyfit(rows["lag"], rows["value"], 1)[0]
        found = fit.coefficients.query("term == 'lag_1'").set_index("layer")["estimate"]
        assert found[layer] == pytest.approx(slope, rel=1e-4, abs=1e-6)
    assert fit.controls["random_weights"].notna().any()


PLAIN = {"covariance": "nonrobust"}


def values_of(measured, outcome):
    """Return the regressed values of an outcome, by layer."""
    known = catalogue.OUTCOMES[outcome]
    if known.quantity == "centred_cosines":
        cosines, used = [], measured.tokens["position"] > 0
        for vectors in measured.vectors["attention"]:
            centred = vectors - vectors[used].astype(float).mean(axis=0)
            centred /= np.linalg.norm(centred, axis=1, keepdims=True)
            of_layer = pd.Series((centred[1:] * centred[:-1]).sum(axis=1), used.index[1:])
            cosines.append(of_layer.reindex(used.index).where(used))
        return measured.table("norms").assign(value=np.concatenate(cosines))
    if known.quantity == "source_parts":
        frame = measured.table("sources").sort_values(["layer"], kind="stable")
        frame = frame.assign(value=frame[traced_tables.WRITTEN[outcome]])
    else:
        frame = measured.table(known.quantity)
        frame = frame.assign(value=frame[outcome])
    with np.errstate(divide="ignore"):
        return frame.assign(value=np.log(frame["value"])) if known.logarithm else frame


def test_what_was_not_measured_is_named(measured, tokenizer):
    with pytest.raises(UserError, match="found 'heads', expected norms or "):
        measured.table("heads")
    few = attnlag.measure(edited("edited"), tokenizer, {"a": "one two"}, progress=False)
    with pytest.raises(UserError, match=r"expected measure\(…, quantities=\['geometry'\]\)"):
        attnlag.fit(few, lags=[1], outcome="angle")
