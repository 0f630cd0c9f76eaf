"""Sources and readout, against vectors that a model writes if one token alone has values."""

import copy

import models
import numpy as np
import pandas as pd
import pytest
import torch
from models import BLOOM, GPT, LLAMA
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from attnlag.model.decoder import decoder_of
from attnlag.quantities import readout, tracing
from attnlag.quantities.sources import GATED_TYPES
from attnlag.quantities.traced_tables import LISTS, READOUT_EFFECTS, SOURCE_CLASSES, source_parts

# Biases and a LayerNorm; groups of queries that share keys; a norm after attention, soft caps and a
# window of four tokens; a factor of what is added, and of logits; biases of values; attention in
# half of the layers; gates of channels; a factor of each head's sum; a sink that is no token.
MODELS = {
    "gpt2": GPT,
    "llama": LLAMA,
    "gemma2": LLAMA | {"head_dim": 12, "sliding_window": 4, "final_logit_softcapping": 3.0},
    "granite": LLAMA | {"residual_multiplier": 0.22, "logits_scaling": 8.0},
    "qwen2": LLAMA,
    "jamba": {
        **LLAMA,
        **{"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1},
        **{"mamba_d_state": 8, "mamba_dt_rank": 4, "use_mamba_kernels": False, "num_experts": 1},
    },
    "qwen3_5_text": LLAMA | {"head_dim": 12, "layer_types": ["full_attention"] * 3},
    "granite_swa": LLAMA | {"residual_multiplier": 0.22, "sliding_window": 4},
    "gpt_oss": LLAMA | {"head_dim": 12, "num_local_experts": 2, "num_experts_per_tok": 1},
}
TOKENS = 13


def small_model(name):
    """Return a model in float64; the implementation that gives weights rounds them to float32."""
    options = {"kind": AutoModelForCausalLM, "attn_implementation": "eager"}
    return models.small_model(name, MODELS[name], **options).double()


class Run:
    """Everything that one pass in float64 shows, and the passes with values at one token."""

    def __init__(self, name, ids):
        self.model, self.ids, self.name = small_model(name), ids, name
        base_model = self.model.base_model
        self.blocks = base_model.h if name == "gpt2" else base_model.layers
        self.layers = [1, 3] if name == "jamba" else range(len(self.blocks))
        norm = {"gpt2": "ln_f", "jamba": "final_layernorm"}.get(name, "norm")
        self.final = base_model.get_submodule(norm)
        streams = []
        with self.final.register_forward_pre_hook(lambda _, args: streams.append(args[0][0])):
            self.logits = self._pass()
        (self.stream,) = streams

    def _pass(self):
        with torch.no_grad():
            ids = torch.from_numpy(self.ids)[None]
            return self.model(input_ids=ids, use_cache=False).logits[0]

    def written(self, layer):
        """Return what each token writes to each, (tokens, sources, width), and the bias."""
        block, gpt2 = self.blocks[layer], self.name == "gpt2"
        attention = block.attn if gpt2 else block.self_attn
        projection, values = (
            (attention.c_proj, attention.c_attn) if gpt2 else (attention.o_proj, attention.v_proj)
        )
        kept, outputs = [None], []

        def only(_, __, output):
            output = output.clone()
            place = slice(-output.shape[-1] // 3 if gpt2 else 0, None)
            others = [t for t in range(len(self.ids)) if t not in kept]
            if kept[0] is not None:
                output[:, others, place] = 0
            return output

        seen = projection.register_forward_hook(lambda _, __, out: outputs.append(out[0]))
        with values.register_forward_hook(only), seen:
            for token in (None, *range(len(self.ids))):
                kept[0] = token
                self._pass()
        whole, *single = outputs
        bias = projection.bias if getattr(projection, "bias", None) is not None else 0 * whole[0]
        parts = torch.stack(single, dim=1) - bias
        factor = torch.ones(len(whole), 1, dtype=torch.float64)
        if self.name == "gemma2":
            gain = 1 + block.post_attention_layernorm.weight
            factor = gain / (whole.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        if self.name.startswith("granite"):
            factor = 0.22 * factor
        return (parts * factor[:, None]).detach(), (bias * factor).detach()


@pytest.fixture(scope="module")
def ids():
    return np.random.default_rng(0).integers(1, 200, TOKENS)


# Products of experts are not made in float64.
@pytest.fixture(scope="module", params=[name for name in MODELS if name != "gpt_oss"])
def run(request, ids):
    return Run(request.param, ids)


@pytest.fixture(scope="module")
def tracer(run, ids):
    tracer = tracing.Tracer(decoder_of(run.model), ["attention", "mlp"])
    with pytest.MonkeyPatch.context() as patch:
        # The vocabulary is computed in several parts.
        patch.setattr(readout, "WORDS_AT_ONCE", 70)
        tracer.trace({("a", 0): ids, ("a", 1): ids[::-1][:5].copy()})
    return tracer


def rows(tracer, layer, quantity="sources", place=0):
    frame = tracer.rows[quantity, "attention"][place].to_pandas()
    return frame[frame["layer"] == layer]


def test_shares_are_those_of_the_vectors(run, tracer):
    for layer in run.layers[:2]:
        parts, bias = run.written(layer)
        added = parts.sum(1) + bias
        size = added.square().sum(-1)
        shares = (torch.einsum("tjw,tw->tj", parts, added) / size[:, None]).numpy()
        found = rows(tracer, layer)
        for t in range(TOKENS):
            row, left = found.iloc[t], set(range(t + 1))
            chosen = {"first": 0, "self": t, **{f"previous_{k}": t - k for k in range(1, 5)}}
            for name, j in chosen.items():
                expected = shares[t, j] if j in left else 0
                left -= {j}
                assert row[name] == pytest.approx(expected, abs=1e-6), (t, name)
            assert row["rest"] == pytest.approx(shares[t, sorted(left)].sum(), abs=1e-6)
            most = np.argsort(-abs(shares[t]))[: min(10, t + 1)]
            # Shares may be equal, and heads may cancel.
            if np.diff(np.sort(abs(shares[t, : t + 1]))).min(initial=1) > 1e-6:
                np.testing.assert_array_equal(row["strongest"], most)
            np.testing.assert_allclose(row["strongest_shares"], shares[t, most], atol=1e-6)
        sums = found[[*SOURCE_CLASSES, "bias"]].sum(axis=1)
        np.testing.assert_allclose(sums, 1, atol=1e-6)
        effective = abs(shares).sum(1) ** 2 / (shares**2).sum(1)
        np.testing.assert_allclose(found["effective"], effective, rtol=1e-6)
        own = parts[range(TOKENS), range(TOKENS)]
        np.testing.assert_allclose(found["norm"], size.sqrt(), rtol=1e-6)
        np.testing.assert_allclose(found["self_norm"], own.norm(dim=-1), rtol=1e-5)
        shared = (parts.sum(1) - own).norm(dim=-1)
        np.testing.assert_allclose(found["shared_norm"], shared, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_oss"])
def test_attention_to_the_first_token_is_what_its_value_alone_gives(name, ids):
    """Queries that share keys; a window of four tokens; a sink that is no token."""
    model = small_model(name).float()
    tracer = tracing.Tracer(decoder_of(model), ["attention"])
    tracer.trace({("a", 0): ids, ("b", 0): ids})
    for layer, block in enumerate(model.base_model.layers):
        attention, seen = block.self_attn, []

        def only_first(_, __, values):
            values = torch.zeros_like(values)
            values[:, 0] = 1
            return values

        see = attention.o_proj.register_forward_pre_hook(lambda _, args, s=seen: s.append(args[0]))
        with torch.no_grad(), attention.v_proj.register_forward_hook(only_first), see:
            model(input_ids=torch.from_numpy(ids)[None], use_cache=False)
        expected = seen[0][0].view(TOKENS, 4, -1)[..., 0].numpy()
        for table in tracer.rows["sinks", "attention"]:
            found = np.stack(table.to_pandas()[f"layer_{layer:02d}"])
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
            assert (found[0] == 1).all() == (name != "gpt_oss")
            assert (found[4:] == 0).all() == (name == "gemma2" and layer % 2 == 0)


def test_effects_are_those_on_the_logits(run, tracer, ids, subtests):
    model, weight = run.model, run.model.get_output_embeddings().weight.detach()
    centred = run.name == "gpt2"
    gain = run.final.weight.detach() + (run.name in ("gemma2", "qwen3_5_text"))
    x = run.stream - (run.stream.mean(-1, keepdim=True) if centred else 0)
    rms = x.square().mean(-1, keepdim=True).sqrt()
    places = np.arange(TOKENS)
    words = {"own": ids, "next": np.roll(ids, -1), "top1": run.logits.argmax(-1).numpy()}
    for layer in run.layers[:2]:
        parts, bias = run.written(layer)
        a = parts.sum(1) + bias
        a = a - a.mean(-1, keepdim=True) if centred else a
        effects = (a * gain / rms) @ weight.T
        spread = effects.std(-1, correction=0, keepdim=True)
        effects = ((effects - effects.mean(-1, keepdim=True)) / spread).numpy()
        found = rows(tracer, layer, "readout")
        for name, of_words in words.items():
            with subtests.test(name=name):
                kept = places < TOKENS - 1 if name == "next" else places >= 0
                expected = effects[places, of_words]
                np.testing.assert_allclose(found[name][kept], expected[kept], atol=1e-6)
                there = (places - TOKENS // 2) % TOKENS
                kept = there < TOKENS - 1 if name == "next" else kept
                expected = effects[places, of_words[there]]
                np.testing.assert_allclose(
                    found[f"{name}_control"][kept], expected[kept], atol=1e-6
                )
                assert found[f"{name}_control"][~kept].isna().all()
    assert "within" in tracer.remarks()["readout"]
    assert len(tracer.rows["readout", "mlp"]) == 2
    assert model.config._attn_implementation != "attnlag_sources"


def test_other_sequences_change_nothing_and_proofs_are_told(run, tracer, ids):
    """Other windows of a document change nothing either: each has a first token of its own."""
    alone = tracing.Tracer(decoder_of(run.model), ["attention"])
    alone.trace({("a", 1): ids[::-1][:5].copy()})
    for layer in run.layers:
        found = rows(tracer, layer, place=1)
        pd.testing.assert_frame_equal(rows(alone, layer), found)
        assert found.iloc[-1][["document", "window"]].tolist() == ["a", 1]
        assert found["position"].tolist() == list(range(5))
    remark = tracer.remarks()["sources"]
    assert "add up to 1 within" in remark
    hybrid = "2 layers without, as layer 0 has JambaMambaMixer" in remark
    assert hybrid == (run.name == "jamba")
    tables = tracer.tables()
    wide = source_parts(tables["sources", "attention"])
    assert wide.num_rows == TOKENS + 5
    np.testing.assert_array_equal(
        wide["layer_01.from_earlier"][:TOKENS], rows(tracer, 1)["shared_norm"]
    )
    assert set(LISTS) <= set(tables["sources", "attention"].column_names)
    assert set(READOUT_EFFECTS) <= set(tables["readout", "mlp"].column_names)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("bloom", BLOOM, "by itself"),
        ("diffllama", LLAMA | {"head_dim": 12}, "and 2 heads"),
        ("bitnet", LLAMA, "what tokens write adds up to the adjustment only within"),
    ],
)
def test_a_model_that_gives_no_weights_says_so(name, options, reason, ids):
    model = models.small_model(name, options, AutoModelForCausalLM)
    found = tracing.Tracer(decoder_of(model), ["attention"])
    found.trace({("a", 0): ids})
    tables = found.tables()
    assert tables["sources", "attention"].num_rows == 0
    assert reason in found.remarks()["sources"]
    assert "within" in found.remarks()["readout"]
    assert tables["readout", "attention"].num_rows == model.config.num_hidden_layers * TOKENS


def add_a_norm(model):
    model.model.unused = copy.deepcopy(model.model.norm)
    model.model.unused.weight.data *= torch.linspace(1, 3, len(model.model.norm.weight))


def take_the_norm(model):
    model.model.norm = torch.nn.Identity()


def take_the_head(model):
    model.get_output_embeddings = lambda: None


def bend_the_stream(model):
    model.model.norm.register_forward_pre_hook(lambda _, args: (args[0].clamp(-0.5, 0.5),))


def run_the_head_twice(model):
    def run_it(_module, _inputs, output):
        model.lm_head(output[0])

    model.model.register_forward_hook(run_it)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (add_a_norm, ""),
        (take_the_norm, "no norm outside the blocks is found"),
        (take_the_head, "no head that predicts tokens"),
        (bend_the_stream, "the effects of all sublayers add up to the logits only within "),
        (run_the_head_twice, "the model runs its head 2 times, expected once"),
    ],
)
def test_the_check_of_the_readout_finds_the_last_norm_or_says_why_not(change, reason, ids):
    """The norm that was added is the last module, but its output enters no head."""
    model = small_model("llama")
    change(model)
    tracer = tracing.Tracer(decoder_of(model), ["attention", "mlp"])
    tracer.trace({("a", 0): ids})
    check = tracer.readout_check
    assert check.ok == (not reason)
    assert check.reason.startswith(reason)
    assert len(tracer.rows["readout", "mlp"]) == check.ok
    assert tracer.remarks()["readout"].startswith("effects" if check.ok else "no readout: ")
    if check.ok:
        plain = tracing.Tracer(decoder_of(small_model("llama")), ["attention"])
        plain.trace({("a", 0): ids})
        for layer in range(3):
            pd.testing.assert_frame_equal(
                rows(tracer, layer, "readout"), rows(plain, layer, "readout")
            )


@pytest.mark.parametrize("fails", [False, True])
def test_a_late_failure_leaves_out_its_sequence_alone(fails, ids):
    """Attention fails, or adds what its weights do not make, in sequences that are long."""
    model = small_model("llama")
    tracer = tracing.Tracer(decoder_of(model), ["attention"])
    attend = model.model.layers[1].self_attn.forward

    def other_on_long_ones(hidden_states, *args, **options):
        out, weights = attend(hidden_states, *args, **options)
        long = hidden_states.shape[1] > len(ids)
        if fails and long and weights is not None:
            raise torch.OutOfMemoryError("no room for weights")
        return out + long, weights

    model.set_attn_implementation("sdpa")
    model.model.layers[1].self_attn.forward = other_on_long_ones
    tracer.trace({("a", 0): ids, ("b", 0): np.tile(ids, 2), ("c", 0): ids[:7]})
    found = tracer.tables()["sources", "attention"]
    assert found["document"].unique().to_pylist() == ["a", "c"]
    assert source_parts(found).num_rows == TOKENS + 7
    reason = "a pass that is to give weights" if fails else "in layer 1, what tokens write"
    assert f"; 1 sequence without, as {reason}" in tracer.remarks()["sources"]
    assert len(tracer.rows["readout", "attention"]) == 3


def test_the_types_whose_attention_has_gates_are_those_of_transformers():
    assert set(GATED_TYPES) - set(CONFIG_MAPPING) == set()
