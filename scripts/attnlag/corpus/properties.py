"""The table of token properties: the word, part of speech and frequency of each token."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from attnlag.corpus import tagging
from attnlag.corpus.alignment import Spans, Speller
from attnlag.corpus.catalogue import NONE, SPACE, TAGS, properties_in
from attnlag.corpus.documents import Document
from attnlag.corpus.sequences import Tokenized
from attnlag.corpus.settings import Tagger
from attnlag.corpus.tagging import TaggedWords, untagged_words
from attnlag.errors import UserError, nearest
from attnlag.storage.sequences import KEY_FIELDS, KEYS, keys_of

PROPERTIES = properties_in("token_properties")

SCHEMA = pa.schema(
    [
        *KEY_FIELDS,
        *(
            (name, pa.dictionary(pa.int32(), pa.string()) if entry.classes else entry.kind)
            for name, entry in PROPERTIES.items()
        ),
    ]
)


class WordSource(NamedTuple):
    """Where words and their tags come from."""

    # Yields the words of each document.
    words_of: Callable[[Sequence[Document]], Iterator[TaggedWords]]
    # Groups of documents in the language of the tags, None for all; other documents get none.
    groups: Sequence[str] | None = None
    # Packages that the results depend on.
    packages: Sequence[str] = ()
    # For a notebook: keys of ``tagger``, as the checks of a configuration take them, if any.
    keys: Mapping[str, Any] | None = None


def source_of(settings: Tagger) -> WordSource:
    """Return the source that settings name, or raise UserError if it is missing or unsuitable."""
    packages: tuple[str, ...] = ()
    # Without a column, no document has tags in its row.
    words_of = tagging.from_column
    if settings.package is not None:
        nlp = tagging.pipeline_of(settings.package, settings.version, settings.sha256)
        words_of = partial(tagging.tagged_by, nlp)
        packages = ("spacy", settings.package)
    return WordSource(words_of, settings.groups, packages)


def check_groups(tagged: Iterable[str] | None, groups: Collection[str], key: str) -> None:
    """Raise UserError for groups to tag that the corpus lacks."""
    missing = sorted(set(tagged or ()) - set(groups))
    if missing:
        raise UserError(
            f"{key}: found '{missing[0]}', expected groups of the corpus: "
            f"{', '.join(sorted(groups))}{nearest(missing[0], groups)}"
        )


def word_columns(
    text: str, spans: Spans, words: TaggedWords, control: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the word that each token of a text belongs to, and what derives from it.

    A token belongs to the word that contains its first byte that is not white space. Control tokens
    belong to none. The columns are described in the catalogue; each is (tokens,).
    """
    data = np.frombuffer(text.encode(), np.uint8)
    # Continuation bytes of UTF-8 are 10xxxxxx.
    begins = (data & 0xC0) != 0x80
    offsets = np.append(np.flatnonzero(begins), len(data))
    characters = np.concatenate([[0], np.cumsum(begins)])
    white = np.fromiter((character.isspace() for character in text), bool, len(text))
    solid = np.flatnonzero(~white[characters[1:] - 1])
    # The first byte from the start of each token on that is not white space.
    first = np.append(solid, len(data))[np.searchsorted(solid, spans.starts)]
    inside = (first < spans.ends) & ~control

    starts = offsets[words.starts]
    ends = offsets[words.ends]
    word = np.searchsorted(starts, first, side="right") - 1
    inside &= (word >= 0) & (first < np.append(ends, 0)[word])
    word[~inside] = -1
    # Words ascend, so that a word's first place is the number of tokens of the words before it.
    before = np.searchsorted(word[inside], word)
    finished = np.searchsorted(ends, spans.starts, side="right")
    touched = np.searchsorted(starts, spans.ends) - finished
    return {
        "word": word,
        "piece": np.where(inside, np.cumsum(inside) - 1 - before, -1),
        "pieces": np.where(inside, np.bincount(word + 1)[word + 1], 0),
        "word_initial": inside & (np.append(starts, 0)[word] >= spans.starts),
        "word_final": inside & (np.append(ends, 0)[word] <= spans.ends),
        "words_touched": np.where((spans.ends > spans.starts) & ~control, touched, 0),
        "token_characters": characters[spans.ends] - characters[spans.starts],
    }


def describe(
    batches: Iterable[list[Tokenized]],
    source: WordSource,
    counts: Counter[str],
    **common: Any,
) -> Iterator[pa.Table]:
    """Yield the rows of documents, one table per batch; ``common`` are arguments of `table`.

    ``counts`` receives the numbers of documents, of documents with tags (``tagged``) and of tokens.
    """
    for documents in batches:
        texts = [document for document, _ in documents]
        groups = {text.group for text in texts} if source.groups is None else source.groups
        tagged_texts = source.words_of([text for text in texts if text.group in groups])
        rows = []
        for document in documents:
            text, _ = document
            words = next(tagged_texts) if text.group in groups else untagged_words(text.text)
            rows.append(table(document, words, **common))
            counts.update(documents=1, tagged=words.tags is not None, tokens=rows[-1].num_rows)
        yield pa.concat_tables(rows).unify_dictionaries().combine_chunks()


def table(
    tokenized: Tokenized,
    words: TaggedWords,
    *,
    speller: Speller,
    bos: int,
    truncated: bool,
    log_frequencies: np.ndarray,
) -> pa.Table:
    """Return the rows of a document, one per token, in the same order as the norms.

    Each sequence begins with ``bos`` begin-of-sequence tokens. If the sequences are ``truncated``,
    they cover only the beginning of the text. ``log_frequencies``, (vocabulary,), are those of
    tokens in the corpus. Raise UserError if the tokens do not spell the text.
    """
    document = tokenized.document
    keys = keys_of(tokenized.sequences)
    position = keys[2].to_numpy()
    ids = keys[3].to_numpy()
    is_text = position >= bos
    data = document.text.encode()
    own_ids = np.where(is_text, ids, -1).tolist()
    spans = speller.spans(document.id, own_ids, data, truncated=truncated)
    # A control token belongs to no word, whether or not it stands for text.
    control = ~is_text | np.isin(ids, list(speller.special))
    columns = word_columns(document.text, spans, words, control)
    upos = np.full(len(ids), TAGS.index(NONE))
    if words.tags is not None:
        codes = np.array([*map(TAGS.index, words.tags), TAGS.index(SPACE)])
        upos = np.where(control, upos, codes[columns["word"]])
    texts: list[str] = []
    tokens = zip(
        ids.tolist(), is_text.tolist(), spans.starts.tolist(), spans.ends.tolist(), strict=True
    )
    for token, own, start, end in tokens:
        if own:
            texts.append(data[start:end].decode(errors="replace"))
        else:
            texts.append(speller.added.get(token, ""))
    rows = {
        **dict(zip(KEYS, keys, strict=True)),
        "text": texts,
        "byte_start": spans.starts,
        "byte_end": spans.ends,
        **columns,
        "upos": pa.DictionaryArray.from_arrays(pa.array(upos, pa.int32()), list(TAGS)),
        "log_frequency": log_frequencies[ids],
    }
    for name, entry in PROPERTIES.items():
        if entry.values:
            rows[name] = entry.values(rows)
    return pa.table([pa.array(rows[field.name]).cast(field.type) for field in SCHEMA], SCHEMA)
