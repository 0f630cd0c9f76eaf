"""Sequences of tokens from documents, with windows of long documents."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.errors import UserError, counted
from attnlag.model.folder import SOURCE_RECORD
from attnlag.model.tokenizer_file import tokenizer_problems

SCHEMA = pa.schema(
    [
        ("document", pa.string()),
        ("window", pa.int32()),
        ("first_position", pa.int32()),
        ("input_ids", pa.list_(pa.int32())),
        ("char_start", pa.list_(pa.int32())),
        ("char_end", pa.list_(pa.int32())),
        ("special_in_text", pa.int32()),
    ]
)


def load_tokenizer(folder: str | Path) -> Any:
    """Return the tokenizer of a model folder.

    tokenizer.json is loaded directly if ``fetch_model`` found that it is complete. Raise UserError
    if it cannot be loaded, or transformers has only a slow one, which gives no character offsets.
    """
    kind: Any
    record = Path(folder) / SOURCE_RECORD
    if record.exists() and json.loads(record.read_text("utf-8")).get("tokenizer_is_in_json"):
        from transformers import PreTrainedTokenizerFast as kind
    else:
        from transformers import AutoTokenizer as kind  # imports torch: seconds

    with tokenizer_problems(f"{folder}: transformers cannot load the tokenizer"):
        tokenizer = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise UserError(
            f"{folder}: the tokenizer {type(tokenizer).__name__} gives no character offsets; "
            "expected a model with a fast tokenizer (tokenizer.json)"
        )
    return tokenizer


def within_vocabulary(
    tables: Iterable[pa.Table], size: int | None, folder: str | Path
) -> Iterator[pa.Table]:
    """Yield tables of ``SCHEMA`` whose tokens are in the model's embedding, or raise UserError.

    ``size`` is the number of tokens in the embedding, or None if the model's config does not state
    it.
    """
    for table in tables:
        ids = table["input_ids"].combine_chunks()
        values = ids.flatten().to_numpy()
        if size is not None and values.max(initial=-1) >= size:
            place = int(np.argmax(values >= size))
            row = int(np.searchsorted(ids.offsets.to_numpy(), place, side="right")) - 1
            position = place - ids.offsets[row].as_py()
            raise UserError(
                f"{folder}: found token {values[place]} from the tokenizer (document "
                f"'{table['document'][row]}', position {position}), but the model's embedding has "
                f"{size:,} (vocab_size of config.json); expected a tokenizer and a model that "
                "belong together"
            )
        yield table


def documents_of_shard(corpus: Path, shard: int, shards: int) -> tuple[int, int]:
    """Return the first document of a shard of a stored corpus, and the first after it.

    Texts are counted where they are read: a shard does not look at those of other shards.
    """
    sizes = pq.read_table(corpus, columns=["about_tokens"])["about_tokens"].to_numpy()
    start, stop = shard_bounds(sizes, shards)[shard:][:2]
    return int(start), int(stop)


def shard_bounds(sizes: np.ndarray, shards: int) -> np.ndarray:
    """Return the bounds of contiguous shards of whole documents, of similar size, (shards + 1,).

    ``sizes`` are those of the documents, at least one per shard. Shard ``i`` holds the documents
    from ``bounds[i]`` to ``bounds[i + 1] - 1``.
    """
    ends = np.cumsum(sizes, dtype=np.int64)
    aims = ends[-1] * np.arange(1, shards) / shards
    bounds = np.concatenate([[0], np.searchsorted(ends, aims) + 1, [len(sizes)]])
    # Every shard gets a document, however uneven their sizes are.
    for i in range(1, shards):
        bounds[i] = max(bounds[i], bounds[i - 1] + 1)
        bounds[i] = min(bounds[i], len(sizes) - (shards - i))
    return bounds


def adds_bos(tokenizer: Any, prepend_bos: str | bool) -> bool:
    """Return whether sequences begin with the begin-of-sequence token.

    ``"auto"`` follows the tokenizer's own default.

    Raise UserError if the tokenizer has no such token and one is asked for.
    """
    if prepend_bos == "auto":
        return tokenizer.bos_token_id is not None and (
            tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
        )
    if prepend_bos and tokenizer.bos_token_id is None:
        raise UserError(
            "the model's tokenizer has no begin-of-sequence token, expected sequences without one"
        )
    return bool(prepend_bos)


def windows(tokens: int, size: int, long_documents: str) -> Iterator[tuple[int, int]]:
    """Yield ``(start, stop)`` of each window of a document of ``tokens`` tokens.

    Windows do not overlap. With ``long_documents="truncate"`` only the first is kept.
    """
    for start in range(0, tokens, size):
        yield start, min(start + size, tokens)
        if long_documents == "truncate":
            return


# Counts of `tokenize`: documents, documents split and truncated, tokens cut off, begin-of-sequence
# tokens at the start of each sequence, and places that look like control tokens.
COUNTS = ("documents", "sequences", "tokens", "split", "truncated", "cut", "bos", "special_in_text")


def tokenize(
    batches: Iterable[tuple[list[str], list[str]]],
    tokenizer: Any,
    counts: dict[str, int],
    *,
    max_length: int | None,
    long_documents: str,
    prepend_bos: str | bool,
    special_in_text: str,
) -> Iterator[pa.Table]:
    """Yield a table of ``SCHEMA``, a row per sequence, for each batch of ids and texts.

    ``counts`` gets `COUNTS` while the batches are read. The other arguments are keys of the
    configuration. ``first_position`` is the place of the sequence's first token among those of the
    document's text; the offsets count characters, and are equal for a begin-of-sequence token.
    Raise UserError if the longest sequence has no room for a token of the text, or text looks like
    a control token and that is refused.
    """
    bos = [tokenizer.bos_token_id] if adds_bos(tokenizer, prepend_bos) else []
    size = (sys.maxsize if max_length is None else max_length) - len(bos)
    if size < 1:
        beside = " beside the begin-of-sequence token" * len(bos)
        raise UserError(
            f"sequences have at most {counted(max_length or 0, 'token')}; expected at least "
            f"{len(bos) + 1}, one of the text{beside}"
        )
    control = {str(t) for t in tokenizer.added_tokens_decoder.values() if t.special and str(t)}
    # Longer ones come first, as in the tokenizer. Without control tokens, nothing matches.
    longest_first = sorted(control, key=lambda text: (-len(text), text))
    special = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
    counts |= dict.fromkeys(COUNTS, 0) | {"bos": len(bos)}
    for documents, texts in batches:
        rows: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
        counts["documents"] += len(documents)
        matches = [list(special.finditer(text)) for text in texts]
        if special_in_text == "refuse":
            _refuse_special(documents, matches)
        with tokenizer_problems("the tokenizer fails on a text"):
            encoded = tokenizer(
                texts,
                add_special_tokens=False,
                return_offsets_mapping=True,
                return_attention_mask=False,
                verbose=False,
                # Whether text that looks like a control token is read as text.
                split_special_tokens=special_in_text != "token",
            )
        for document, ids, offsets, marks in zip(
            documents, encoded["input_ids"], encoded["offset_mapping"], matches, strict=True
        ):
            stop = 0
            for window, (start, stop) in enumerate(windows(len(ids), size, long_documents)):
                starts, ends = zip(*offsets[start:stop], strict=True)
                rows["document"].append(document)
                rows["window"].append(window)
                rows["first_position"].append(start)
                rows["input_ids"].append([*bos, *ids[start:stop]])
                rows["char_start"].append([*starts[: len(bos)], *starts])
                rows["char_end"].append([*starts[: len(bos)], *ends])
                within = sum(starts[0] <= mark.start() < ends[-1] for mark in marks)
                rows["special_in_text"].append(within)
                counts["special_in_text"] += within
                counts["sequences"] += 1
                counts["tokens"] += len(bos) + stop - start
            counts["split"] += stop == len(ids) > size
            counts["truncated"] += stop < len(ids)
            counts["cut"] += len(ids) - stop
        yield pa.table(rows, schema=SCHEMA)


def _refuse_special(documents: list[str], matches: list[list[re.Match[str]]]) -> None:
    """Raise UserError if the text of a document looks like a control token."""
    problems: list[str] = []
    for document, marks in zip(documents, matches, strict=True):
        if not marks:
            continue
        more = f", and {len(marks) - 1} more" if len(marks) > 1 else ""
        problems.append(
            f"document '{document}', character {marks[0].start() + 1}: found '{marks[0][0]}', "
            f"which looks like a control token of the model{more}; expected none, or to read them "
            "as text or as tokens"
        )
    if problems:
        raise UserError(problems)


def token_counts(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Count the occurrences of each token in sequences, begin-of-sequence tokens included.

    The table has ``token_id`` (int32, ascending) and ``count`` (int64, at least 1).
    """
    counts = np.zeros(0, np.int64)
    for batch in batches:
        # flatten() leaves out the values before and after the slice of a list array.
        ids = batch.column("input_ids").flatten().to_numpy()
        total = np.bincount(ids, minlength=len(counts))
        total[: len(counts)] += counts
        counts = total
    ids = np.flatnonzero(counts)
    return pa.table({"token_id": pa.array(ids.astype(np.int32)), "count": pa.array(counts[ids])})


def summarize(batches: Iterable[pa.RecordBatch], corpus: pa.Table, bos: int) -> pd.DataFrame:
    """Count characters and tokens of all shards by document, by group and over the corpus.

    Characters are those that the tokens stand for, without truncated text. Tokens are counted
    without those that begin a sequence, of which there are ``bos``, 0 or 1.
    """
    frames = []
    for batch in batches:
        starts = batch.column("char_start")
        ends = batch.column("char_end")
        first = starts.values.to_numpy()[starts.offsets.to_numpy()[:-1]]
        last = ends.values.to_numpy()[ends.offsets.to_numpy()[1:] - 1]
        columns = {
            "name": batch.column("document").to_pylist(),
            "sequences": 1,
            "characters": last.astype(np.int64) - first,
            "tokens": np.diff(starts.offsets.to_numpy()).astype(np.int64) - bos,
            "special_in_text": batch.column("special_in_text").to_numpy().astype(np.int64),
        }
        frames.append(pd.DataFrame(columns))
    by_document = pd.concat(frames).groupby("name", sort=False, as_index=False).sum()
    groups = corpus.to_pandas().astype(str).set_axis(["name", "group"], axis=1)
    by_document = by_document.merge(groups, validate="one_to_one").assign(documents=1)
    sums = ["documents", "sequences", "characters", "tokens", "special_in_text"]
    by_group = by_document.groupby("group", sort=False, as_index=False)[sums].sum()
    levels = {
        "corpus": by_document[sums].sum().to_frame().T.assign(name="all", group="all"),
        "group": by_group.assign(name=by_group["group"]),
        "document": by_document,
    }
    summary = pd.concat(levels, names=["level"]).reset_index("level").reset_index(drop=True)
    summary["characters_per_token"] = summary["characters"] / summary["tokens"]
    return summary[["level", "name", "group", *sums, "characters_per_token"]]
