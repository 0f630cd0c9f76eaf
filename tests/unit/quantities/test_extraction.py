import copy
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from designs import tokens_table
from hypothesis import given, settings
from hypothesis import strategies as st
from models import LLAMA, dynamic, extractor, hidden_states, measured, ragged, small_model
from refusals import refused

from attnlag.model import loading
from attnlag.quantities import columns, computation, extraction, passes
from attnlag.quantities.norms import norms_of_row_group
from attnlag.storage.sequences import TokenSequence, stored_sequences


@pytest.fixture(scope="module")
def models(fetched):
    cpu = torch.device("cpu")
    return {name: loading.load_model(path, cpu, "auto") for name, path in fetched.items()}


def run(model, sequences, quantity="vectors", **options):
    """Return (layers, tokens[, width]) of attention over all sequences."""
    return measured(model, quantity, ["attention"], sequences, **options)[1]["attention"]


@pytest.mark.parametrize("keep", ["vectors", "norms"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_norms_of_the_stream_equal_those_of_the_hidden_states(models, name, keep):
    """What a block receives is what transformers returns as the hidden state before it."""
    model = models[name]
    sequences = ragged([40, 7, 38, 21])
    counted = []
    adjustments = extractor(model, keep, batch_tokens=99, progress=counted.append)
    found = np.stack(adjustments.measure(sequences)["stream", ""])
    # Padding is not counted.
    assert sum(counted) == 106
    states = np.hstack([hidden_states(model, sequence) for sequence in sequences])
    np.testing.assert_allclose(found, np.linalg.norm(states.astype(float), axis=-1), rtol=1e-5)
    assert found.dtype == np.float32


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_norms_of_stored_vectors_are_those_of_the_pass(models, name, tmp_path, monkeypatch):
    """To the last bit, or in half precision within its rounding.

    The bounds hold for a width of 32. In wider vectors the errors of more numbers cancel. The
    metadata of a file are those of its quantity, such as the means over random pairs.
    """
    monkeypatch.setattr(extraction, "ROWS_OF_VECTORS", 20)
    tokens, *files = (tmp_path / kind for kind in ("tokens", "vectors", "norms", "geometry"))
    sequences = {(f"d{i}", 0): ids for i, ids in enumerate(ragged([5, 30, 17]))}
    pq.write_table(tokens_table(sequences), tokens)
    adjustments = extractor(models[name], "vectors", "norms", "geometry")
    directions = adjustments.computations["geometry", "attention"]
    paths = {(path.name, "attention"): path for path in files}
    for stored, bound in (("float32", 1e-6), ("bfloat16", 2e-3), ("float16", 3e-4)):
        directions.expect(len(sequences))
        extraction.record(tokens, adjustments, paths, lambda *key: {}, stored)
        (pairs,) = directions.metadata().items()
        assert pairs in pq.read_metadata(files[2]).metadata.items()
        file, norms = pq.ParquetFile(files[0]), pq.read_table(files[1])
        assert file.num_row_groups == 3
        layers = columns.layers_in(norms.schema)
        seen = [[] for _ in layers]

        def add(layer, rows, position, seen=seen):
            seen[layer] += np.linalg.norm(rows.astype(float), axis=-1).tolist()

        found = pa.concat_tables([norms_of_row_group(file, group, add) for group in range(3)])
        assert found.schema == columns.schema(len(layers))
        assert found.select(columns.KEYS).equals(norms.select(columns.KEYS))
        assert found.equals(norms) == (stored == "float32")
        for layer, exact in zip(layers, seen, strict=True):
            np.testing.assert_allclose(found[layer], exact, rtol=1e-6)
            apart = np.abs(exact / norms[layer].to_numpy() - 1).max()
            assert apart < bound
            assert stored == "float32" or apart > bound / 100


def test_vectors_beyond_the_range_of_float16_are_refused():
    keys = [TokenSequence("d", 0, np.array([1, 2], np.int32))]
    large = np.full((2, 8), 7e4, np.float32)
    for vectors in (large, np.where([[True], [False]], large, np.inf)):
        (line,) = refused(
            computation.table, keys, [vectors], columns.schema(1, 8, "float16"), "float16"
        )
        assert "what layer 0 adds is as large as 7e+04; expected" in line


ALL = ["attention", "mlp", "block"]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_all_sites_come_from_one_pass(models, name):
    """The oracle: the MLP run by hand, and the difference of two hidden states."""
    model = models[name]
    (sequence,) = ragged([40])
    added, norms = (measured(model, each, ALL, [sequence])[1] for each in ("vectors", "norms"))
    for site, vectors in added.items():
        np.testing.assert_allclose(norms[site], np.linalg.norm(vectors, axis=-1), rtol=1e-6)
    np.testing.assert_array_equal(added["attention"], run(model, [sequence]))
    np.testing.assert_array_equal(added["block"], added["attention"] + added["mlp"])
    with torch.inference_mode():
        ids = torch.tensor(sequence[None].astype(np.int64))
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
        for layer, block in enumerate(model.h if name == "gpt2" else model.layers):
            norm = block.ln_2 if name == "gpt2" else block.post_attention_layernorm
            middle = states[layer] + torch.tensor(added["attention"][layer])
            through = block.mlp(norm(middle))
            np.testing.assert_allclose(added["mlp"][layer], through[0], rtol=1e-4, atol=1e-6)
            result = middle + through
            if layer == len(states) - 2:  # the last hidden state has the final norm applied
                result = (model.ln_f if name == "gpt2" else model.norm)(result)
            torch.testing.assert_close(result, states[layer + 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("keep", ["vectors", "norms"])
def test_the_vectors_of_one_run_fill_half_of_the_buffer(models, monkeypatch, keep):
    row = 4 * 2 * 32
    monkeypatch.setattr(extraction, "BUFFER_BYTES", 2 * row * 3 * 50)
    for wanted, tokens_held in ((["attention"], 150), (ALL, 50)):
        adjustments = extractor(models["gpt2"], keep, sites=wanted)
        assert adjustments.run_tokens == tokens_held
        adjustments.batch_tokens = 2
        assert adjustments.run_tokens == 32


def test_vectors_of_a_run_are_kept_while_the_next_one_is_computed(models):
    adjustments = extractor(models["gpt2"], "vectors")
    first = adjustments.measure(ragged([30, 5]))["vectors", "attention"]
    before = np.stack(first)
    adjustments.measure(ragged([20]))
    np.testing.assert_array_equal(np.stack(first), before)


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


@pytest.mark.parametrize("from_gpu", [False, True])
def test_values_are_in_their_rows_by_the_end_of_a_pass(models, monkeypatch, from_gpu):
    """Values from a GPU may all be in transit when the last layer is done."""
    sequences = ragged([5, 30, 17])
    expected = run(models["llama"], sequences)
    copy_at_once = extraction.AsyncCopies.add

    def add(self, target, values):
        if from_gpu:
            self.coming.append((target, values.clone(), None))
            self.bytes += values.nbytes
        else:
            copy_at_once(self, target, values)
            # From main memory nothing has to travel.
            assert self.bytes == 0

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


def test_a_model_that_keeps_state_runs_pass_by_pass():
    settings = dynamic(30)
    linear = {"rope_parameters": {**settings["rope_parameters"], "rope_type": "linear"}}
    for changed, parallel in ({}, 1), (linear, 2):
        model = small_model("llama", settings | changed)
        assert extractor(model, threads=2).passes.parallel == parallel
    # RecurrentGemma writes the state of its recurrence to its modules.
    model = small_model("recurrent_gemma", {**LLAMA, "num_attention_heads": 2, "lru_width": 48})
    sequences = ragged([4, 20, 7, 12, 9, 30, 5, 14] * 4)
    adjustments = extractor(model, "vectors", threads=8)
    found = np.stack(adjustments.measure(sequences)["vectors", "attention"])
    assert adjustments.passes.parallel == 1
    expected = np.hstack([run(model, [sequence]) for sequence in sequences])
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


def test_a_batch_is_padded_on_the_right_and_numbers_its_tokens_among_those_of_all():
    sequences = ragged([3, 10, 9, 4])
    (batch,) = passes.batched(sequences, [np.array([1, 2])])
    assert batch.rows.tolist() == list(range(3, 22))
    assert batch.starts.tolist() == [0, 10]
    assert batch.real.tolist() == [[True] * 10, [True] * 9 + [False]]
    np.testing.assert_array_equal(batch.ids.numpy()[batch.real], np.concatenate(sequences[1:3]))


@given(st.lists(st.integers(1, 500), max_size=50), st.integers(1, 1000))
def test_batches_hold_every_sequence_once_within_the_budget(lengths, budget):
    lengths = np.array(lengths, dtype=int)
    groups = list(passes.groups(lengths, budget))
    found = np.concatenate(groups) if groups else np.array([], dtype=int)
    assert sorted(found.tolist()) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * lengths[group].max() <= budget
        assert lengths[group].min() >= passes.LIKE_LENGTH * lengths[group].max()


@given(st.lists(st.integers(1, 500), max_size=50), st.integers(1, 1000))
@settings(max_examples=15)
def test_runs_hold_every_sequence_once_in_order(tmp_path_factory, lengths, most):
    path = tmp_path_factory.mktemp("tokens") / "0000.parquet"
    sequences = ragged(lengths)
    by_window = {(f"d{i}", i): ids for i, ids in enumerate(sequences)}
    pq.write_table(tokens_table(by_window), path, row_group_size=7)
    runs = list(passes.runs(stored_sequences(path), most))
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
    """That which tries the layout and the two of the proofs do not; all sites share it."""
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
    alone = [measured(model, "vectors", wanted, [sequence])[1] for sequence in sequences]
    for site in wanted:
        expected = np.concatenate([found[site] for found in alone], axis=1)
        np.testing.assert_array_equal(stopped[site], expected)
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
    with passes.written(torch.nn.Sequential(torch.nn.Linear(4, 4), module)) as names:
        module(torch.ones(4))
    assert bool(names) == bool(kept)
