"""Passes: what they give, and that neither other sequences nor later tokens change it."""

import copy
import threading
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from designs import tokens_table
from hypothesis import given, settings
from hypothesis import strategies as st
from models import EXPERTS, LLAMA, extractor, measured, outputs_of, ragged, small_model
from projects import refused

from attnlag.errors import UserError
from attnlag.model import loading
from attnlag.quantities import batches, columns, extraction, formats, verification
from attnlag.quantities.norms import norms_in
from attnlag.storage.sequences import TokenSequence, stored_sequences


@pytest.fixture(scope="module")
def models(fetched):
    cpu = torch.device("cpu")
    return {name: loading.load_model(path, cpu, "auto") for name, path in fetched.items()}


def run(model, sequences, quantity="vectors", **options):
    """Return (layers, tokens[, width]) of attention over all sequences."""
    return measured(model, quantity, ["attention"], sequences, **options)[1]["attention"]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_norms_of_stored_vectors_are_those_of_the_pass(
    models, name, tmp_path, monkeypatch, subtests
):
    """To the last bit, or in half precision within its rounding.

    The bounds hold for a width of 32. In wider vectors the errors of more numbers cancel. The
    metadata of a file are those of its quantity, such as the means over random pairs.
    """
    monkeypatch.setattr(extraction, "ROWS_OF_VECTORS", 20)
    kinds = "vectors", "norms", "geometry", "heads"
    tokens, *files = (tmp_path / kind for kind in ("tokens", *kinds))
    sequences = {(f"d{i}", 0): ids for i, ids in enumerate(ragged([5, 30, 17]))}
    pq.write_table(tokens_table(sequences), tokens)
    adjustments = extractor(models[name], *kinds)
    directions = adjustments.computations["geometry", "attention"]
    paths = {(path.name, "attention"): path for path in files}
    for stored, bound in (("float32", 1e-6), ("bfloat16", 2e-3), ("float16", 3e-4)):
        with subtests.test(stored=stored):
            directions.expect_sequences(len(sequences))
            written = extraction.QuantityFiles(paths, lambda *key: {}, stored)
            extraction.measure_into_files(stored_sequences(tokens), adjustments, written)
            (pairs,) = directions.metadata().items()
            assert pairs in pq.read_metadata(files[2]).metadata.items()
            # Only vectors are rounded.
            assert pq.read_schema(files[3]).field("layer_00").type.value_type == pa.float32()
            file, norms = pq.ParquetFile(files[0]), pq.read_table(files[1])
            assert file.num_row_groups == 3
            layers = columns.layers_in(norms.schema)
            # Numbers that may be null would take Parquet one more level each.
            assert not any(file.schema_arrow.field(layer).nullable for layer in layers)
            seen = [[] for _ in layers]

            def add(layer, rows, position, seen=seen):
                seen[layer] += np.linalg.norm(rows.astype(float), axis=-1).tolist()

            found = pa.concat_tables(norms_in(file, add))
            assert found.schema == columns.schema(len(layers))
            assert found.select(columns.KEYS).equals(norms.select(columns.KEYS))
            assert found.equals(norms) == (stored == "float32")
            for layer, exact in zip(layers, seen, strict=True):
                np.testing.assert_allclose(found[layer], exact, rtol=1e-6)
                apart = np.abs(exact / norms[layer].to_numpy() - 1).max()
                assert apart < bound
                assert stored == "float32" or apart > bound / 100


@pytest.mark.parametrize("second_token", [7e4, np.inf])
def test_vectors_beyond_the_range_of_float16_are_refused(second_token):
    keys = [TokenSequence("d", 0, np.array([1, 2], np.int32))]
    vectors = np.full((2, 8), 7e4, np.float32)
    vectors[1] = second_token
    schema = columns.schema([15], 8, "float16")
    (line,) = refused(formats.table, keys, [vectors], schema, "float16")
    assert "what layer 15 adds is as large as 7e+04; expected" in line


ALL = ["attention", "mlp", "block"]


@pytest.mark.parametrize("keep", ["vectors", "norms"])
@pytest.mark.parametrize(("wanted", "tokens_held"), [(["attention"], 150), (ALL, 50)])
def test_the_vectors_of_one_run_fill_half_of_the_buffer(
    models, monkeypatch, keep, wanted, tokens_held
):
    row = 4 * 2 * 32
    monkeypatch.setattr(extraction, "BUFFER_BYTES", 2 * row * 3 * 50)
    adjustments = extractor(models["gpt2"], keep, sites=wanted)
    assert adjustments.run_tokens == tokens_held
    adjustments.batch_tokens = 2
    assert adjustments.run_tokens == 32


def test_vectors_of_a_run_are_kept_while_the_next_one_is_computed(models):
    counted = []
    adjustments = extractor(models["gpt2"], "vectors", batch_tokens=400, progress=counted.append)
    first = adjustments.measure(ragged([30, 5]))["vectors", "attention"]
    before = np.stack(first)
    adjustments.measure(ragged([20, 19]))
    np.testing.assert_array_equal(np.stack(first), before)
    # Progress is in tokens, without the padding of the last two, which share a pass.
    assert counted == [30, 5, 39]


@pytest.mark.parametrize("failing", [0, 1])
def test_a_run_that_cannot_be_written_ends_the_extraction(models, failing):
    """Also the last one, which is written when no other is computed any more."""
    sequences = [TokenSequence(f"d{i}", 0, ids) for i, ids in enumerate(ragged([9, 9]))]
    written = []

    def write(run, values):
        if len(written) == failing:
            raise OSError(28, "no space left")
        written.append(run)

    with pytest.raises(OSError, match="no space left"):
        extraction.measure_runs(sequences, extractor(models["gpt2"], batch_tokens=1), write)
    assert len(written) == failing


def test_a_shard_without_tokens_has_files_without_rows(models, tmp_path):
    paths = {("norms", "attention"): tmp_path / "norms", ("stream", ""): tmp_path / "stream"}
    files = extraction.QuantityFiles(paths, lambda quantity, site: {})
    found = extractor(models["gpt2"], batch_tokens=100)
    extraction.measure_into_files([], found, files)
    for path in paths.values():
        assert pq.read_table(path).num_rows == 0
    assert found.summary().startswith("0 tokens x 2 layers")
    assert found.summary().endswith("0.0% padding; no tokens to check")


def test_values_from_a_gpu_are_in_their_rows_by_the_end_of_a_pass(models, monkeypatch):
    """They may all be in transit when the last layer is done. From main memory nothing has to."""
    sequences = ragged([5, 30, 17])
    expected = run(models["llama"], sequences)
    copies = extraction.AsyncCopies(np.arange(2))
    copies.add(at_once := np.zeros(2, np.float32), torch.ones(2))
    assert (copies.bytes, at_once.tolist()) == (0, [1, 1])

    def add(self, target, values):
        self.coming.append((target, values.clone(), None))
        self.bytes += values.nbytes

    monkeypatch.setattr(extraction.AsyncCopies, "add", add)
    np.testing.assert_array_equal(run(models["llama"], sequences), expected)


@pytest.mark.parametrize(
    ("lengths", "most", "each"), [([5] * 9, 3, 1), ([5] * 2, 2, 1), ([5], 1, 3), ([40] * 4, 1, 3)]
)
def test_parallel_passes_are_limited_by_threads_and_batches(
    models, monkeypatch, lengths, most, each
):
    """The passes share the threads that are left over."""
    running, seen, shared = set(), [], []
    forward = extraction.Extractor.forward

    def counted(self, *args):
        running.add(threading.get_ident())
        seen.append(len(running))
        shared.append(torch.get_num_threads())
        time.sleep(0.05)
        forward(self, *args)
        running.discard(threading.get_ident())

    monkeypatch.setattr(extraction.Extractor, "forward", counted)
    adjustments = extractor(models["gpt2"], threads=3)
    adjustments.measure(ragged(lengths))
    assert max(seen) == most
    assert set(shared) == {each}


def test_a_model_that_keeps_state_runs_pass_by_pass(subtests):
    settings = dynamic(30)
    linear = {"rope_parameters": {**settings["rope_parameters"], "rope_type": "linear"}}
    for changed, parallel in ({}, 1), (linear, 2):
        with subtests.test(parallel=parallel):
            model = ungrouped("llama", settings | changed)
            assert extractor(model, threads=2).passes.parallel == parallel
    # RecurrentGemma writes the state of its recurrence to its modules.
    model = small_model("recurrent_gemma", {**LLAMA, "num_attention_heads": 2, "lru_width": 48})
    sequences = ragged([4, 20, 7, 12, 9, 30, 5, 14])
    adjustments = extractor(model, "vectors", threads=2)
    found = np.stack(adjustments.measure(sequences)["vectors", "attention"])
    assert adjustments.passes.parallel == 1
    expected = run(model, sequences, batch_tokens=1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_a_pass_may_end_while_others_change_the_hooks(models):
    """Another pass that registers its hooks is one that is called when this pass ends."""
    adjustments = extractor(copy.deepcopy(models["gpt2"]))
    (module,) = adjustments.decoder.blocks[-1].sublayers["attention"]

    def change(*_):
        module.register_forward_hook(lambda *_: None)

    module.register_forward_pre_hook(
        lambda *_: module.register_forward_hook(change, always_call=True) and None
    )
    both = adjustments, extractor(models["gpt2"])
    found, expected = (each.measure(ragged([9, 5]))["norms", "attention"] for each in both)
    np.testing.assert_array_equal(found, expected)


@given(st.lists(st.integers(1, 500), max_size=50), st.integers(1, 1000))
def test_batches_hold_every_sequence_once_within_the_budget(lengths, budget):
    lengths = np.array(lengths, dtype=int)
    groups = list(batches.groups(lengths, budget))
    found = np.concatenate(groups) if groups else np.array([], dtype=int)
    assert sorted(found.tolist()) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * lengths[group].max() <= budget
        assert lengths[group].min() >= batches.LIKE_LENGTH * lengths[group].max()


def test_a_run_may_have_just_as_many_tokens_as_are_allowed():
    run = [TokenSequence(name, 0, np.arange(n)) for name, n in (("a", 3), ("b", 2), ("c", 1))]
    assert [len(each) for each in batches.runs(run, 5)] == [2, 1]


@given(st.lists(st.integers(1, 500), max_size=50), st.integers(1, 1000))
@settings(max_examples=15)
def test_runs_hold_every_sequence_once_in_order(tmp_path_factory, lengths, most):
    path = tmp_path_factory.mktemp("tokens") / "0000.parquet"
    sequences = ragged(lengths)
    by_window = {(f"d{i}", i): ids for i, ids in enumerate(sequences)}
    pq.write_table(tokens_table(by_window), path, row_group_size=7)
    runs = list(batches.runs(stored_sequences(path), most))
    found = [(document, window, ids.tolist()) for run in runs for document, window, ids in run]
    assert found == [(f"d{i}", i, ids.tolist()) for i, ids in enumerate(sequences)]
    for run in runs:
        assert len(run) == 1 or sum(len(sequence.ids) for sequence in run) <= most


def hooks_of(model):
    """Return the hooks of all modules; transformers leaves some of its own."""
    return [[*module._forward_hooks, *module._forward_pre_hooks] for module in model.modules()]


@pytest.mark.parametrize(
    ("wanted", "last_mlps"), [(["attention"], 0), (["mlp"], 3), (["block"], 3), (ALL, 3)]
)
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_pass_ends_after_the_last_module_that_is_needed(models, name, wanted, last_mlps):
    """That which tries the layout and the two of the checks do not; all sites share it."""
    model = models[name]
    last = (model.h if name == "gpt2" else model.layers)[-1].mlp
    final = model.ln_f if name == "gpt2" else model.norm
    sequences = ragged([40, 30, 20])
    before = hooks_of(model)
    calls = []
    watched = (model.get_input_embeddings(), last, final)
    handles = [module.register_forward_hook(lambda m, *_: calls.append(m)) for module in watched]
    stopped = measured(model, "vectors", wanted, sequences, batch_tokens=40)[1]
    for handle in handles:
        handle.remove()
    assert [calls.count(module) for module in watched] == [3 + 3, 3 + last_mlps, 3]
    whole = measured(model, "vectors", ALL, sequences, batch_tokens=40)[1]
    for site in wanted:
        np.testing.assert_array_equal(stopped[site], whole[site])
    assert hooks_of(model) == before


@pytest.mark.parametrize(("threads", "lengths"), [(1, [20]), (2, [5] * 6)])
def test_an_error_of_the_model_is_raised_and_hooks_are_removed(models, threads, lengths):
    adjustments = extractor(models["gpt2"], threads=threads)
    adjustments.measure(ragged([20]))
    before = hooks_of(models["gpt2"])
    handle = models["gpt2"].h[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        adjustments.measure(ragged(lengths))
    handle.remove()
    assert hooks_of(models["gpt2"]) == before


WRITES = {
    "attribute": lambda module, x: setattr(module, "_kept", x),
    "list": lambda module, x: module._list.__setitem__(0, x),
    "dictionary": lambda module, x: module._dictionary.update(x=x),
    "in place": lambda module, x: module._in_place.copy_(x),
    # No state: the same number, made anew.
    "": lambda module, x: setattr(module, "_length", float(len(x))),
}


@pytest.mark.parametrize("kept", WRITES)
def test_private_state_of_a_module_is_seen(kept):
    """Whatever its name begins with, and whatever holds it."""
    module = torch.nn.Linear(4, 4)
    module._kept, module._list, module._dictionary = None, [None], {}
    module._in_place, module._length = torch.zeros(4), 4.0
    module.register_forward_pre_hook(lambda module, args: WRITES[kept](module, args[0]))
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), module)
    run = batches.Passes(model, 8, threads=2)
    assert run.parallel == 2
    with run.first():
        module(torch.ones(4))
    assert run.one_by_one == bool(kept)
    assert run.parallel == (1 if kept else 2)


# Other sequences and later tokens.


def ungrouped(model_type, settings):
    return small_model(model_type, {**LLAMA, **settings, "num_key_value_heads": 4})


def longrope(original):
    """Return settings of a model whose embeddings differ beyond its original length."""
    generator = np.random.default_rng(1)
    parameters = {
        **{"rope_type": "longrope", "rope_theta": 10000.0, "short_mscale": 1.0, "long_mscale": 1.2},
        "original_max_position_embeddings": original,
        "short_factor": generator.uniform(1, 2, 6).tolist(),
        "long_factor": generator.uniform(2, 8, 6).tolist(),
    }
    lengths = {"max_position_embeddings": 1024, "original_max_position_embeddings": original}
    return {**lengths, "rope_parameters": parameters}


def dynamic(original):
    """Return settings of a model whose embeddings stretch with the sequence."""
    parameters = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    return {"max_position_embeddings": original, "rope_parameters": parameters}


STRETCHED = {
    "longrope": ("phi3", longrope(30)),
    "longrope, with experts": ("phimoe", {**EXPERTS, **longrope(30)}),
    "dynamic": ("llama", dynamic(30)),
}


# On both sides of the original length, at it, and twice of one length.
LENGTHS = [28, 33, 30, 60, 33, 5]


@pytest.mark.parametrize("name", STRETCHED)
def test_embeddings_come_from_the_sequence_and_not_from_its_batch(name, subtests):
    def alone(sequence):
        model = ungrouped(*STRETCHED[name])
        return outputs_of(model, [layer.self_attn for layer in model.layers], sequence)

    expected = np.hstack([alone(sequence) for sequence in ragged(LENGTHS)])
    for batch_tokens in (40, 4096):
        with subtests.test(batch_tokens=batch_tokens):
            model = ungrouped(*STRETCHED[name])
            adjustments = extractor(model, "vectors", batch_tokens=batch_tokens)
            # A second run must not find what the first one left.
            for _ in range(2):
                found = np.stack(adjustments.measure(ragged(LENGTHS))["vectors", "attention"])
                gap = np.linalg.norm(found - expected, axis=-1)
                assert (gap <= 1e-4 * np.linalg.norm(expected, axis=-1)).all()


@pytest.mark.parametrize("original", [100, 200, 256])
@pytest.mark.parametrize(("model_type", "settings"), [("phi3", longrope), ("llama", dynamic)])
def test_a_short_original_context_length_is_accepted(model_type, settings, original):
    adjustments = extractor(ungrouped(model_type, settings(original)), batch_tokens=512)
    adjustments.measure(ragged([300, 150]))
    assert adjustments.identity_error < 1e-5


def test_embeddings_that_differ_by_type_of_layer_are_found():
    whole = longrope(30)["rope_parameters"]
    types = ["sliding_attention", "full_attention", "sliding_attention"]
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    parameters = {"sliding_attention": plain, "full_attention": whole}
    settings = {"head_dim": 12, "layer_types": types, "rope_parameters": parameters}
    assert batches.rope_depends_on_length(ungrouped("gemma3_text", settings))
    parameters["full_attention"] = plain
    assert not batches.rope_depends_on_length(ungrouped("gemma3_text", settings))


def test_a_model_whose_numbers_depend_on_the_batch_is_refused():
    model = ungrouped("llama", {"max_position_embeddings": 256})
    # The output depends on how many sequences are in a batch.
    model.layers[1].mlp.register_forward_hook(lambda _, __, out: out * (1 + 0.01 * len(out)))
    # In the second case, only the middle sequence shares a batch.
    for lengths in ([40, 39, 38, 40], [80, 40, 39, 10]):
        adjustments = extractor(model, batch_tokens=2048, name="mine")
        with pytest.raises(UserError, match=r"model mine, of type 'llama', gives a sequence other"):
            adjustments.measure(ragged(lengths))
    # One that has every pass to itself is what it is.
    extractor(model, batch_tokens=1, name="mine").measure(ragged([40, 39, 38, 40]))


class Skipping(torch.nn.ModuleList):
    """Blocks of a model, of which some passes leave one out."""

    passes = 0
    whole_passes = 0

    def __getitem__(self, index):
        if not isinstance(index, slice):
            return super().__getitem__(index)
        self.passes += 1
        blocks = list(self)[index]
        return blocks[:1] + blocks[2:] if self.passes > self.whole_passes else blocks


def test_the_first_and_the_last_sequence_that_share_a_batch_are_compared_with_their_beginnings():
    sequences = [np.arange(n) for n in (80, 5, 70, 6, 4, 3)]
    places = [[0], [2], [3, 1], [4, 5]]
    groups = list(batches.batched(sequences, [np.array(indices) for indices in places]))
    norms = np.concatenate([number + ids for number, ids in enumerate(sequences)]) + 1.0
    run = verification.MeasuredRun(sequences, groups, {("norms", "attention"): [norms]})
    assert run.longest == 0
    assert run.values_of(3)["norms", "attention"][0].tolist() == [4, 5, 6, 7, 8, 9]
    decoder = SimpleNamespace(dtype=torch.float32, called="model m")
    # The number of tokens alone is that of the sequence.
    numbers = {6: 3, 3: 5}
    compared = []

    def alone_of(ids, wrong=None):
        compared.append(len(ids))
        values = ids + numbers[len(ids)] + 1.0
        return {("norms", "attention"): [values * (1.1 if len(ids) == wrong else 1)]}

    verification.compare_with_sequences_alone(decoder, run, {}, alone_of)
    assert compared == [6, 3]
    for wrong in (6, 3):
        with pytest.raises(UserError, match=f"the first {wrong} tokens of a document"):
            verification.compare_with_sequences_alone(
                decoder, run, {}, partial(alone_of, wrong=wrong)
            )


def test_a_block_that_gives_other_than_one_vector_a_token_in_a_later_pass_is_refused():
    model = small_model("llama", LLAMA)
    adjustments = extractor(model, batch_tokens=8, name="mine")
    adjustments.measure([np.arange(8)])
    with model.layers[0].self_attn.register_forward_hook(lambda _, __, out: (out[0][:, :-1], None)):
        (line,) = refused(adjustments.measure, [np.arange(8)])
    assert line == (
        "model mine, of type 'llama': found a tensor of 1 × 7 × 48 for 1 × 8 tokens, expected one "
        "vector a token"
    )


def test_a_block_that_later_passes_leave_out_is_refused():
    """The rows of its values would keep what lies in memory."""
    model = ungrouped("llama", {"max_position_embeddings": 256})
    adjustments = extractor(model, batch_tokens=64, name="mine")
    model.layers = Skipping(model.layers)
    # The pass with the check of its first tokens, and that of the whole sequence.
    model.layers.whole_passes = 2
    adjustments.measure(ragged([80]))
    with pytest.raises(UserError, match=r"mine, .* no values of layer 1 in a pass over 40 tok"):
        adjustments.measure(ragged([40]))
    # In a first pass, it fails the check.
    model.layers.whole_passes = 0
    with pytest.raises(UserError, match="2 of 3 blocks ran"):
        extractor(model, batch_tokens=64, name="mine").measure(ragged([80]))


@pytest.mark.parametrize("window", [4, 8])
def test_a_window_that_looks_ahead_is_refused(window):
    """Only the tokens just before a cut see beyond it. Half of all tokens and layers do not."""
    settings = {"sliding_window": window, "head_dim": 12, "max_position_embeddings": 512}
    settings["layer_types"] = ["sliding_attention"] * 3

    def measure(ahead):
        model = ungrouped("gemma3_text", {**settings, "use_bidirectional_attention": ahead})
        extractor(model, batch_tokens=512, name="mine").measure(ragged([300, 200]))

    measure(ahead=False)
    with pytest.raises(UserError, match=r"'gemma3_text', lets a token see the tokens afte"):
        measure(ahead=True)


def test_a_text_of_one_repeated_token_is_checked():
    model = ungrouped("gemma3_text", {"head_dim": 12, "use_bidirectional_attention": True})
    for token in (0, 7):
        adjustments = extractor(model, batch_tokens=512)
        with pytest.raises(UserError, match="lets a token see"):
            adjustments.measure([np.full(20, token, np.int32)])


def test_values_finite_in_one_pass_only_differ_infinitely():
    found = np.array([[np.nan, 1], [np.inf, 0], [1, 2], [3, 4], [0, 0], [0, 0]], np.float32)
    expected = np.array([[1, np.nan], [1, 0], [np.inf, 2], [0, 4], [0, 0], [3, 4]], np.float32)
    apart = verification.relative_differences(found, expected)
    np.testing.assert_array_equal(apart, [0, np.inf, np.inf, 0.75, 0, 1])
    # Norms are compared as numbers.
    apart = verification.relative_differences(np.float32([3, 0]), np.float32([2, np.nan]))
    np.testing.assert_array_equal(apart, [0.5, np.inf])
