"""The words of a text and their parts of speech, from a tagger or a column, or words alone."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import regex

from attnlag.corpus.catalogue import NONE, UPOS
from attnlag.corpus.documents import Document
from attnlag.errors import UserError, as_user_error, nearest, shown

# Components of a spaCy pipeline that produce the universal tags; the others are not run. Rules of
# attributes may depend on the syntax: a main verb "have" is tagged by its dependencies.
COMPONENTS = (
    *("tok2vec", "transformer", "tagger", "morphologizer"),
    *("parser", "senter", "attribute_ruler"),
)
# Longest text in characters that is tagged at once; a longer one is cut at a line end or a space.
LONGEST_PART = 20_000
# Number of texts that are tagged together; the vectors of all their words are in memory.
BATCH = 8


class TaggedWords(NamedTuple):
    """The words of a text, in order: the characters where each begins and ends, and its tag."""

    starts: np.ndarray
    ends: np.ndarray
    tags: list[str] | None  # None: the text has no tags


def _words(words: Iterable[tuple[int, str, str]]) -> TaggedWords:
    """Return words, given the start and the tag of each, without white space around them."""
    starts = []
    ends = []
    tags = []
    for start, word, tag in words:
        starts.append(start + len(word) - len(word.lstrip()))
        ends.append(starts[-1] + len(word.strip()))
        tags.append(tag)
    return TaggedWords(np.array(starts, np.int64), np.array(ends, np.int64), tags)


def untagged_words(text: str) -> TaggedWords:
    """Return the words between the default word boundaries of Unicode (UAX 29), without tags.

    Each punctuation mark and each Chinese character is a word of its own.
    """
    pieces = regex.split(r"(?V1w)\b", text)
    starts = itertools.accumulate(map(len, pieces), initial=0)
    placed = zip(starts, pieces, strict=False)
    words = _words((start, piece, NONE) for start, piece in placed if piece.strip())
    return words._replace(tags=None)


def given_words(text: str, pairs: Sequence[tuple[str, str]], place: str) -> TaggedWords:
    """Return the words of a text that was split and tagged elsewhere.

    The pairs of word and tag are in the order of the text and cover all of it except white space;
    a text without pairs has no tags.
    Raise UserError if the words are not those of the text, or a tag is not a universal one.
    """
    if not pairs:
        return untagged_words(text)
    placed = []
    end = 0
    for number, (word, tag) in enumerate(pairs, 1):
        start = next((i for i in range(end, len(text)) if not text[i].isspace()), len(text))
        if tag not in UPOS:
            raise UserError(
                f"{place}, word {number} ('{word}'): found the tag {shown(tag)}, expected one of "
                f"{', '.join(UPOS)}{nearest(tag.upper(), UPOS)}"
            )
        if not word or not text.startswith(word, start):
            raise UserError(
                f"{place}, word {number}: found {shown(word)}, expected the text at that place: "
                f"{shown(text[start : start + 20])}"
            )
        placed.append((start, word, tag))
        end = start + len(word)
    rest = text[end:].lstrip()
    if rest:
        raise UserError(
            f"{place}: found no more words; expected the rest of the text: {shown(rest[:20])}"
        )
    return _words(placed)


def pairs_of(tags: str, place: str) -> list[tuple[str, str]]:
    """Return the words and tags of ``"The/DET cat/NOUN sat/VERB"``, or raise UserError."""
    pairs = []
    for number, item in enumerate(tags.split(), 1):
        word, slash, tag = item.rpartition("/")
        if not slash:
            raise UserError(
                f"{place}, word {number}: found {shown(item)}, expected WORD/TAG, as in cat/NOUN"
            )
        pairs.append((word, tag))
    return pairs


# --- where words come from: documents in, the words of each out -------------------------------


def from_column(documents: Sequence[Document]) -> Iterator[TaggedWords]:
    """Yield the words of the documents, with the tags that their rows give, if any."""
    for document in documents:
        place = f"the tags of document '{document.id}'"
        yield given_words(document.text, pairs_of(document.tags or "", place), place)


def pipeline_of(package: str, version: str | None, sha256: str | None) -> Any:
    """Return the part of a packaged spaCy pipeline that gives universal part-of-speech tags.

    Raise UserError if spaCy or the package is not installed, its version is another one, or the
    digest of its files, see `pipeline_digest`.
    """
    try:
        installed = metadata.version(package)
        metadata.version("spacy")  # which must be installed too
    except metadata.PackageNotFoundError as missing:
        raise UserError(
            f"the tagger {package} {version}: found no package '{missing.name}'; expected it "
            "(pip install --editable '.[tagger]' in attnlag's folder installs the default one), "
            "or tagger: none"
        ) from None
    if installed != version:
        raise UserError(
            f"the tagger {package}: found version {installed}, expected {version}, as "
            "configured; install that version, or state the installed one with its sha256"
        )
    folder = pipeline_folder(package)
    digest = pipeline_digest(folder)
    if digest != sha256:
        raise UserError(
            f"the tagger {package} {version}: found files with the SHA-256 {digest}, expected "
            f"{sha256}, as configured"
        )
    import spacy  # takes a second and is needed only here

    with as_user_error(f"the tagger {package} {version}: spaCy cannot load it"):
        pipeline = json.loads((folder / "meta.json").read_text("utf-8"))["components"]
        return spacy.load(folder, exclude=[name for name in pipeline if name not in COMPONENTS])


def tagged_by(nlp: Any, documents: Sequence[Document]) -> Iterator[TaggedWords]:
    """Yield the words of documents with their tags from a spaCy pipeline, without white space."""

    def all_parts() -> Iterator[tuple[str, tuple[int, int]]]:
        for number, document in enumerate(documents):
            for start, part in parts_of(document.text):
                yield part, (number, start)

    tagged = nlp.pipe(all_parts(), as_tuples=True, batch_size=BATCH)
    for _, parts_of_text in itertools.groupby(tagged, key=lambda pair: pair[1][0]):
        words: list[tuple[int, str, str]] = []
        for part, (_, start) in parts_of_text:
            for token in part:
                if not token.is_space:
                    words.append((start + token.idx, token.text, token.pos_ or "X"))
        yield _words(words)


def parts_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield the parts of a long text, cut after a line end or a space, and their offsets."""
    start = 0
    while len(text) - start > LONGEST_PART:
        stop = start + LONGEST_PART
        stop = text.rfind("\n", start, stop) + 1 or text.rfind(" ", start, stop) + 1 or stop
        yield start, text[start:stop]
        start = stop
    yield start, text[start:]


def pipeline_folder(package: str) -> Path:
    """Return the folder in an installed package that holds a spaCy pipeline (its config.cfg).

    Raise UserError if the package has none, or several.
    """
    files = metadata.files(package) or []
    folders = [Path(str(f.locate())).parent for f in files if f.name == "config.cfg"]
    if len(folders) != 1:
        raise UserError(
            f"the tagger {package}: found {len(folders)} files config.cfg in the package, expected "
            "one: that of a spaCy pipeline"
        )
    return folders[0]


def pipeline_digest(folder: Path) -> str:
    """Return the SHA-256 over the files of a pipeline: name, size and content of each, sorted.

    Each file is preceded by its path below the folder and its size in bytes, as in
    ``tagger/model 19829`` and a line end.
    """
    digest = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    for name, path in sorted(files.items()):
        if path.is_file() and "__pycache__" not in name:
            content = path.read_bytes()
            digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
