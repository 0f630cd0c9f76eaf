import copy
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from local_models import rewrite
from projects import refused
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoTokenizer, GPT2Tokenizer, PreTrainedTokenizerFast

from attnlag.corpus import tokens
from attnlag.errors import UserError
from attnlag.model import checks
from attnlag.model.checks import context_length


@pytest.fixture(scope="module")
def tokenizer(fetched):
    return tokens.load_tokenizer(fetched["gpt2"])


DEFAULTS = {"max_length": None, "long_documents": "split"}
DEFAULTS |= {"prepend_bos": "auto", "special_in_text": "text"}


def encode(tokenizer, texts, **changes):
    # In batches of one and of two documents: where they end must not show.
    names = [f"d{i}" for i in range(len(texts))]
    batches = [(names[i:j], texts[i:j]) for i, j in ((0, 1), (1, 3), (3, None)) if names[i:j]]
    counts = {}
    parts = tokens.tokenize(batches, tokenizer, counts, **DEFAULTS | changes)
    return pa.concat_tables(parts), counts


@pytest.mark.parametrize(
    ("model_type", "settings", "length"),
    [
        ("gemma3", {"text_config": {"max_position_embeddings": 128}}, 128),
        # What the file does not state has a default of its type.
        ("gemma3", {"text_config": {"hidden_size": 64}}, 131_072),
        ("mistral3", {"text_config": {"model_type": "mistral", "n_ctx": 9}}, 131_072),
        ("mpt", {"max_seq_len": 77}, 77),
        ("bloom", {}, None),
    ],
)
def test_the_context_length_is_that_of_the_text_model(tmp_path, model_type, settings, length):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, **settings}))
    config = AutoConfig.from_pretrained(tmp_path)
    assert context_length(config.get_text_config()) == length


# <|endoftext|> is GPT-2's only control token.
LIKE_SPECIAL = "one <|endoftext|> two <|endoftext|>"


def test_text_that_looks_like_a_control_token_is_encoded_as_text(tokenizer, subtests):
    end = tokenizer.eos_token_id
    texts = ["plain", LIKE_SPECIAL, "<|endoftext", "<|endoftext|>"]
    table, counts = encode(tokenizer, texts)
    assert not any(end in ids for ids in table["input_ids"].to_pylist())
    for ids, text in zip(table["input_ids"].to_pylist(), texts, strict=True):
        with subtests.test(text=text):
            assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    assert table["special_in_text"].to_pylist() == [0, 2, 0, 1]
    assert counts["special_in_text"] == 3
    read, counts = encode(tokenizer, texts, special_in_text="token")
    assert [ids.count(end) for ids in read["input_ids"].to_pylist()] == [0, 2, 0, 1]
    assert counts["special_in_text"] == 3
    # A setting of one call is none of the next.
    assert encode(tokenizer, texts)[0] == table
    assert refused(encode, tokenizer, texts, special_in_text="refuse") == [
        "document 'd1', character 5: found '<|endoftext|>', which looks like a control token of "
        "the model, and 1 more; expected none, or to read them as text or as tokens",
    ]
    encode(tokenizer, ["plain"], special_in_text="refuse")


@pytest.mark.parametrize(("max_length", "bos"), [(1, True), (0, False)])
def test_a_sequence_without_room_for_a_token_of_the_text_is_refused(tokenizer, max_length, bos):
    with pytest.raises(UserError, match=f"at most {max_length} token.*at least {1 + bos}, one of"):
        encode(tokenizer, ["a b c"], max_length=max_length, prepend_bos=bos)
    table, _ = encode(tokenizer, ["a b c"], max_length=max_length + 1, prepend_bos=bos)
    assert len(table) == 3


@given(
    texts=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=4),
    size=st.none() | st.integers(2, 9),
    bos=st.booleans(),
)
@example(
    texts=[" one two three four five six seven", " short", " one two three"], size=3, bos=False
)
def test_windows_put_together_are_the_tokens_of_each_text(tokenizer, texts, size, bos):
    options = {"max_length": size, "prepend_bos": bos}
    table, counts = encode(tokenizer, texts, **options)
    rows, room = pd.DataFrame(table.to_pydict()), (size or 10**6) - bos
    whole = [tokenizer(text)["input_ids"] for text in texts]
    for number, (text, ids) in enumerate(zip(texts, whole, strict=True)):
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
        own, starts = rows[rows["document"] == f"d{number}"], list(range(0, len(ids), room))
        assert own["window"].tolist() == list(range(len(starts)))
        assert own["first_position"].tolist() == starts
        windows = [[tokenizer.bos_token_id] * bos + ids[start : start + room] for start in starts]
        assert own["input_ids"].tolist() == windows
        for begins, ends in zip(own["char_start"], own["char_end"], strict=True):
            # The control token has no characters: both its offsets are where its window begins.
            assert begins[:bos] == ends[:bos] == begins[bos:][:bos]
        begins, ends = (sum((e[bos:] for e in own[f"char_{end}"]), []) for end in ("start", "end"))
        assert begins == sorted(begins)
        assert (begins[0], ends[-1]) == (0, len(text))
    cut = [max(len(ids) - room, 0) for ids in whole]
    expected = {"documents": len(texts), "sequences": len(rows), "bos": int(bos)}
    expected |= {"tokens": rows["input_ids"].map(len).sum(), "split": sum(n > 0 for n in cut)}
    assert counts == dict.fromkeys(tokens.COUNTS, 0) | expected
    table, counts = encode(tokenizer, texts, **options, long_documents="truncate")
    assert table.to_pylist() == rows[rows["window"] == 0].to_dict("records")
    found = counts["split"], counts["truncated"], counts["cut"]
    assert found == (0, sum(n > 0 for n in cut), sum(cut))


TEXTS = ["It was the best of times.", " spaces  before", "über\n\n<|endoftext|>", ""]


@pytest.mark.parametrize("changed", [False, True])
def test_tokenizer_json_is_used_directly_only_if_transformers_agrees_with_it(tmp_path, changed):
    """transformers builds some pre-tokenizers itself instead of reading them from the file."""
    letters = [*sorted(ByteLevel.alphabet()), "<|endoftext|>"]
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    GPT2Tokenizer(vocab=vocabulary, merges=[]).save_pretrained(tmp_path)
    if changed:
        rewrite(tmp_path / "tokenizer.json", pre_tokenizer={"type": "Whitespace"})
    in_json = checks.tokenizer_is_in_json(tmp_path)
    proper = AutoTokenizer.from_pretrained(tmp_path)
    stands = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert in_json != changed
    assert in_json == (proper(TEXTS)["input_ids"] == stands(TEXTS)["input_ids"])
    (tmp_path / "source.json").write_text(json.dumps({"tokenizer_is_in_json": in_json}))
    loaded = tokens.load_tokenizer(tmp_path)
    options = {"return_offsets_mapping": True}
    assert loaded(TEXTS, **options).data == proper(TEXTS, **options).data
    assert loaded.bos_token_id == proper.bos_token_id


def test_a_tokenizer_json_that_does_not_load_is_not_used(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    assert not checks.tokenizer_is_in_json(tmp_path)


@pytest.mark.parametrize(
    ("adds", "prepend_bos", "bos"),
    [(False, "auto", 0), (False, True, 1), (True, "auto", 1), (True, False, 0)],
)
def test_a_text_begins_with_bos_as_stated_or_as_the_tokenizer_has_it(
    tokenizer, adds, prepend_bos, bos
):
    begin, number = tokenizer.bos_token, tokenizer.bos_token_id
    adding = copy.deepcopy(tokenizer)
    adding.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, number)]
    )
    table, counts = encode(adding if adds else tokenizer, [" one two"], prepend_bos=prepend_bos)
    (ids,) = table["input_ids"].to_pylist()
    assert ids == [number] * bos + tokenizer(" one two")["input_ids"]
    assert counts["bos"] == bos


def test_prepending_bos_needs_a_tokenizer_that_has_it(fetched):
    bare = tokens.load_tokenizer(fetched["gpt2"])
    bare.bos_token = None
    assert not tokens.adds_bos(bare, "auto")
    with pytest.raises(UserError, match="has no begin-of-sequence token"):
        tokens.adds_bos(bare, True)


@given(
    st.lists(st.integers(1, 10_000), min_size=1, max_size=60).flatmap(
        lambda sizes: st.tuples(st.just(sizes), st.integers(1, len(sizes)))
    )
)
def test_shards_are_contiguous_and_none_is_empty(case):
    sizes, shards = case
    bounds = tokens.shard_bounds(np.array(sizes), shards)
    assert (bounds[0], bounds[-1], len(bounds)) == (0, len(sizes), shards + 1)
    assert (np.diff(bounds) >= 1).all()


def test_the_summary_counts_tokens_by_document_group_and_corpus(tokenizer, subtests):
    texts = [" one two three four five", "Übergrößen", " six"]
    names = ["d0", "d1", "d2"]
    corpus = pa.table({"document": names, "group": ["a", "b", "a"]})
    own = pd.DataFrame({"tokens": [len(tokenizer(text)["input_ids"]) for text in texts]}, names)
    own = own.assign(documents=1, characters=list(map(len, texts)))
    expected = pd.concat([own, own.groupby(["a", "b", "a"]).sum(), own.agg(["sum"])])
    expected["ratio"] = expected["characters"] / expected["tokens"]
    for bos in (False, True):
        with subtests.test(bos=bos):
            table, counts = encode(tokenizer, texts, max_length=4, prepend_bos=bos)
            summary = tokens.summarize(table.to_batches(), corpus, counts["bos"]).set_index("name")
            assert list(summary["level"]) == ["corpus", "group", "group"] + ["document"] * 3
            found = summary.loc[[*names, "a", "b", "all"]].rename(
                columns={"characters_per_token": "ratio"}
            )
            assert found[list(expected)].values.tolist() == expected.values.tolist()


@pytest.mark.parametrize("size", [1, 2, 100])
def test_token_counts_add_up_over_batches(size):
    sequences = [[3, 1, 3], [], [300, 1], [2]]
    table = pa.table({"input_ids": pa.array(sequences, pa.list_(pa.int32()))})
    counts = tokens.token_counts(table.to_batches(size))
    assert counts.to_pydict() == {"token_id": [1, 2, 3, 300], "count": [2, 1, 2, 1]}
    assert counts.schema == pa.schema([("token_id", pa.int32()), ("count", pa.int64())])
