"""Corpora: documents read from JSON lines, plain text, CSV and Parquet files into one table.

A file's format is its suffix, after an optional ``.gz`` or ``.zst``. Each reader yields rows,
``(line, values)``, as they come off the disk; ``read_documents`` checks every row in one place
and collects the problems of all files, so that a user mends them in one go.
"""

import csv
import hashlib
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.errors import UserError, counted, nearest
from attnlag.tables import provenance

JSON_LINES = (".jsonl", ".ndjson")
PLAIN_TEXT = (".txt", ".md")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = ".parquet"
FORMATS = (*JSON_LINES, *PLAIN_TEXT, *DELIMITERS, PARQUET)
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
MOST_PROBLEMS = 50

# Documents that are in memory, and in a row group of a file, at once: so many, or so many
# characters, or one document that is longer.
MOST_DOCUMENTS, MOST_CHARACTERS = 250, 500_000

SCHEMA = pa.schema(
    [
        ("document", pa.string()),
        ("text", pa.large_string()),
        ("group", pa.dictionary(pa.int32(), pa.string())),
    ]
)

# What the config gives a corpus that names its files alone.
DEFAULTS = {"id": None, "text": "text", "group": None, "split": "none"}

# A row's line in its file (its number in a Parquet file, None where the file is the document)
# and its values by field name.
Row = tuple[int | None, dict[str, Any]]


class Document(NamedTuple):
    """One text of a corpus, with its unique id and the group (genre or source) it is from."""

    id: str
    group: str
    text: str


def read_documents(files: Iterable[str | Path], settings: Mapping[str, Any]) -> Iterator[Document]:
    """Yield the documents of a corpus, in the order of the files and of the rows in them.

    Problems are raised when all has been read: what was yielded does not count then.

    Parameters
    ----------
    files : iterable of str or Path
        Files in JSON lines, plain text, CSV, TSV or Parquet, each perhaps in gzip or zstd.
    settings : mapping
        ``id``, ``text`` and ``group`` name the fields of a row; without ``id`` a row is called
        after its file and number, without ``group`` its group is its file. ``split`` says
        whether a plain-text file is one document (``"none"``, its id the file's name, its group
        the folder's) or one a block between blank lines (``"blank-lines"``).

    Yields
    ------
    document : Document

    Raises
    ------
    UserError
        One line for each problem of all files: a missing file, an unknown suffix, a broken
        archive, text that is not UTF-8, invalid JSON or CSV, a missing field, a value of the
        wrong type, an empty document, an id that occurs twice, a file without documents.
    """
    problems: list[str] = []
    first_places: dict[str, str] = {}
    paths = [Path(file) for file in files]
    if not paths:
        problems.append("no files; expected at least one")
    for file in dict.fromkeys(paths):
        if (times := paths.count(file)) > 1:
            problems.append(f"{file}: given {times} times; expected once")
        found_before = len(problems)
        rows_seen = 0
        stem, suffix, _ = name_parts(file)
        whole = suffix in PLAIN_TEXT and settings["split"] == "none"
        # Plain text has no fields: its rows hold the text alone.
        fields = {"text": "text"} if suffix in PLAIN_TEXT else named_fields(settings)
        for line, row in file_rows(file, fields, whole, problems):
            rows_seen += 1
            place = str(file) if line is None else f"{file}:{line}"
            values = {
                "id": stem if whole else f"{stem}-{rows_seen:06d}",
                "group": folder_name(file) or stem if whole else stem,
            }
            for part, field in fields.items():
                problem = value_problem(part, field, row)
                if problem:
                    problems.append(f"{place}: {problem}")
                values[part] = "" if problem else str(row[field])
            document = Document(**values)
            if document.id in first_places:
                problems.append(
                    f"{place}: the id {document.id!r} is that of {first_places[document.id]} too; "
                    "expected another for each document"
                )
            elif document.id:
                first_places[document.id] = place
            yield document
        if not rows_seen and len(problems) == found_before:
            problems.append(f"{file}: no document in it; expected at least one")
    if problems:
        more = len(problems) - MOST_PROBLEMS
        raise UserError(problems[:MOST_PROBLEMS] + ([f"… and {more:,} more"] if more > 0 else []))


def in_batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Yield the documents in lists that memory has room for, see ``MOST_DOCUMENTS``."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        characters += len(document.text)
        if batch and (len(batch) == MOST_DOCUMENTS or characters > MOST_CHARACTERS):
            yield batch
            batch, characters = [], len(document.text)
        batch.append(document)
    if batch:
        yield batch


def corpus_table(documents: list[Document]) -> pa.Table:
    """Return the columns ``document``, ``text`` and ``group``, in the order given."""
    groups = pa.array([document.group for document in documents], pa.string())
    columns = [
        pa.array([document.id for document in documents], pa.string()),
        pa.array([document.text for document in documents], pa.large_string()),
        groups.dictionary_encode(),
    ]
    return pa.table(columns, schema=SCHEMA)


def stored_batches(
    path: str | Path, start: int = 0, stop: int | None = None, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows ``start`` to ``stop`` of a stored corpus, a row group of it at a time."""
    file = pq.ParquetFile(path, pre_buffer=False)
    first = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        low, high = max(start, first), first + rows if stop is None else min(stop, first + rows)
        if low < high:
            table = file.read_row_group(group, columns=columns).slice(low - first, high - low)
            yield from table.to_batches()
        first += rows


@dataclass
class Tally:
    """What is in a corpus, counted while its documents pass.

    Attributes
    ----------
    documents, characters : int
    groups : set of str
    """

    documents: int = 0
    characters: int = 0
    groups: set[str] = attribute(default_factory=set)
    _sha256: Any = attribute(default_factory=hashlib.sha256)

    def counting(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents, and count them."""
        for document in documents:
            self.documents += 1
            self.characters += len(document.text)
            self.groups.add(document.group)
            for value in document:
                encoded = value.encode()
                self._sha256.update(len(encoded).to_bytes(8, "little"))
                self._sha256.update(encoded)
            yield document

    @property
    def digest(self) -> str:
        """The SHA-256 of all ids, groups and texts, as hexadecimal digits.

        Each string is preceded by its length in bytes, so that no two corpora share one stream.
        """
        return self._sha256.hexdigest()


def corpus_record(name: str, tally: Tally, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance of a corpus: what is in it, not where it was."""
    corpus = {
        "name": name,
        "digest": tally.digest,
        "documents": tally.documents,
        "characters": tally.characters,
    }
    return provenance({}, "corpus", dict(settings), "pyarrow", corpus=corpus)


def corpus_summary(name: str, tally: Tally) -> str:
    """Return one line in words, ``prompts: 128 documents in 13 groups, 112,345 characters``."""
    return (
        f"{name}: {counted(tally.documents, 'document')} in {counted(len(tally.groups), 'group')}, "
        f"{counted(tally.characters, 'character')}"
    )


def name_parts(file: Path) -> tuple[str, str, str]:
    """Return a file's stem, the suffix of its format and that of its compression, or ``""``.

    Only these two suffixes leave the stem: ``notes.v2.jsonl.gz`` is ``notes.v2``.
    """
    compression = file.suffix.lower()
    if compression in COMPRESSIONS:
        file = file.with_suffix("")
    else:
        compression = ""
    return file.stem, file.suffix.lower(), compression


def folder_name(file: Path) -> str:
    """Return the name of the folder that a file is in, for a relative path too."""
    return Path(os.path.abspath(file)).parent.name


def named_fields(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields to read from a row, by the part of a document they make."""
    return {part: settings[part] for part in ("id", "group", "text") if settings[part] is not None}


def value_problem(part: str, field: str, row: Mapping[str, Any]) -> str | None:
    """Return what keeps ``row[field]`` from being a document's id, group or text, or None."""
    if field not in row:
        return f"no field '{field}'; found {listed(row)}{nearest(field, row)}"
    value = row[field]
    if value is None or (isinstance(value, str) and not value.strip()):
        found = "null" if value is None else "empty" if not value else "only whitespace"
        return f"the {part} is {found}; expected {'words' if part == 'text' else 'a value'}"
    # True and False are integers to Python, not to a user.
    named = part != "text" and isinstance(value, int) and not isinstance(value, bool)
    if not (isinstance(value, str) or named):
        expected = "a string" if part == "text" else "a string or a whole number"
        return f"the {part} is {shown(value)}; expected {expected}"
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        # JSON can escape half of a surrogate pair, which no UTF-8 file can hold.
        return (
            f"the {part} has {value[error.start]!a} as its character {error.start + 1:,}, "
            "half of a surrogate pair; expected whole characters"
        )
    return None


def shown(value: Any) -> str:
    """Return a value as JSON, cut off after 40 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else f"{text[:40]}…"


def listed(names: Iterable[str]) -> str:
    """Return names in quotes, the first ten of them, or ``nothing``."""
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:10] + ["…"] * (len(quoted) > 10)) or "nothing"


def file_rows(
    file: Path, fields: Mapping[str, str], whole: bool, problems: list[str]
) -> Iterator[Row]:
    """Yield the rows of one file; what keeps it from being read is added to ``problems``.

    Parameters
    ----------
    file : Path
        Its suffixes say how to read it.
    fields : mapping
        The fields needed, by part of a document; other columns may stay unread.
    whole : bool
        Whether a plain-text file is one row, not one a block.
    problems : list of str
        Is extended; nothing is raised for a file that cannot be read.
    """
    _, suffix, compression = name_parts(file)
    if suffix not in FORMATS:
        problems.append(
            f"{file}: files ending in '{suffix}' are not read; expected {', '.join(FORMATS)}, "
            f"each perhaps with {' or '.join(COMPRESSIONS)} after it{nearest(suffix, FORMATS)}"
        )
        return
    try:
        with file.open("rb") as stored:
            stream: Any = stored
            if compression:
                # Python's gzip module would do for .gz; for .zst Arrow needs no further package.
                stream = pa.CompressedInputStream(stored, COMPRESSIONS[compression])
                stream = io.BufferedReader(stream)
            if suffix == PARQUET:
                # Parquet is read from its end, which a compressed stream cannot seek to.
                # Otherwise not as a file of Python's: see tables.write_parts.
                source = pa.BufferReader(stream.read()) if compression else pa.OSFile(str(file))
                yield from parquet_rows(source, file, fields, problems)
                return
            lines = decoded_lines(stream, file, problems)
            if suffix in JSON_LINES:
                yield from json_rows(lines, file, problems)
            elif suffix in DELIMITERS:
                yield from csv_rows(lines, DELIMITERS[suffix], file, fields, problems)
            else:
                yield from whole_text(lines) if whole else text_blocks(lines)
    except FileNotFoundError:
        problems.append(f"{file}: no such file")
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        kind = COMPRESSIONS.get(compression, "Parquet" if suffix == PARQUET else "a file")
        problems.append(f"{file}: cannot be read as {kind}: {reason}")


def decoded_lines(stream: BinaryIO, file: Path, problems: list[str]) -> Iterator[str]:
    """Yield the lines of a UTF-8 stream, line ends and all, without a byte order mark.

    A line that is not UTF-8 is yielded with its bad bytes replaced, so that line numbers stay
    right and further problems are found. A file in another encoding may have thousands: they
    make one problem, which names the first and counts the others.
    """
    bad_lines: list[int] = []
    offset = 0
    for number, line in enumerate(stream, 1):
        if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
            problems.append(
                f"{file}:1: UTF-16, by its first two bytes; "
                "expected UTF-8 (iconv -f UTF-16 -t UTF-8 converts it)"
            )
            return
        mark = b"\xef\xbb\xbf" if number == 1 and line.startswith(b"\xef\xbb\xbf") else b""
        try:
            text = line[len(mark) :].decode()
        except UnicodeDecodeError as error:
            bad_lines.append(number)
            if len(bad_lines) == 1:
                at = len(mark) + error.start
                first_problem = len(problems)
                problems.append(
                    f"{file}:{number}: byte 0x{line[at]:02x} at offset {offset + at} is not "
                    "UTF-8; expected UTF-8 (iconv -f ENCODING -t UTF-8 converts it)"
                )
            text = line[len(mark) :].decode(errors="replace")
        offset += len(line)
        yield text
    if len(bad_lines) > 1:
        numbers = ", ".join(map(str, bad_lines[1:11])) + ", …" * (len(bad_lines) > 11)
        more = counted(len(bad_lines) - 1, "further line")
        problems[first_problem] += f"; the same holds for {more}: {numbers}"


def json_rows(lines: Iterable[str], file: Path, problems: list[str]) -> Iterator[Row]:
    """Yield the objects of a JSON lines file; blank lines are skipped."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            # Too many digits or too deep a nesting come without a column.
            where, reason = "", str(error)
            if isinstance(error, json.JSONDecodeError):
                where, reason = f" at column {error.colno}", error.msg
            problems.append(
                f"{file}:{number}: invalid JSON{where}: {reason}; expected one JSON object a line"
            )
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            problems.append(f"{file}:{number}: {shown(row)}; expected one JSON object a line")


def csv_rows(
    lines: Iterable[str], delimiter: str, file: Path, fields: Mapping[str, str], problems: list[str]
) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file, each with the line that it starts on."""
    csv.field_size_limit(sys.maxsize)  # The default refuses texts beyond 131,072 characters.
    # Without strict, a quote that is never closed would swallow the rest of the file.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            problems.append(
                f"{file}:{start}: the row that starts here is broken: {error}; expected a cell "
                'with quotes or line ends to be "quoted", a quote in it ""doubled""'
            )
            return
        if cells is None:
            return
        if not cells:  # a blank line
            continue
        if not header:
            header = cells
            if not has_columns(header, fields, f"{file}:{start}", problems):
                return
        elif len(cells) != len(header):
            problems.append(
                f"{file}:{start}: {counted(len(cells), 'cell')}; "
                f"expected {len(header)}, as in the header"
            )
        else:
            yield start, dict(zip(header, cells, strict=True))


def parquet_rows(
    source: Any, file: Path, fields: Mapping[str, str], problems: list[str]
) -> Iterator[Row]:
    """Yield the rows of a Parquet file, numbered from 1; only the columns needed are read."""
    parquet = pq.ParquetFile(source)
    if not has_columns(parquet.schema_arrow.names, fields, str(file), problems):
        return
    names = sorted(set(fields.values()))
    number = 0
    for batch in parquet.iter_batches(batch_size=1024, columns=names):
        for scalars in zip(*(batch.column(name) for name in names), strict=True):
            number += 1
            try:
                yield number, {n: s.as_py() for n, s in zip(names, scalars, strict=True)}
            except UnicodeDecodeError as error:
                problems.append(
                    f"{file}:{number}: byte 0x{error.object[error.start]:02x} at offset "
                    f"{error.start} of a value is not UTF-8; expected UTF-8"
                )


def has_columns(
    names: list[str], fields: Mapping[str, str], place: str, problems: list[str]
) -> bool:
    """Return whether each field is one column, and only one; if not, say so in ``problems``."""
    wrong = [field for field in dict.fromkeys(fields.values()) if names.count(field) != 1]
    for field in wrong:
        if times := names.count(field):
            problems.append(f"{place}: {times} columns are called '{field}'; expected one")
        else:
            problems.append(
                f"{place}: no column '{field}'; found {listed(names)}{nearest(field, names)}"
            )
    return not wrong


def whole_text(lines: Iterable[str]) -> Iterator[Row]:
    """Yield a plain-text file that is not empty as one row, without the line ends at its end."""
    normalised = [line.replace("\r\n", "\n") for line in lines]
    if normalised:
        yield None, {"text": "".join(normalised).rstrip("\n")}


def text_blocks(lines: Iterable[str]) -> Iterator[Row]:
    """Yield each block of lines between blank lines as one row, with the line it starts on."""
    numbered = ((number, line.replace("\r\n", "\n")) for number, line in enumerate(lines, 1))
    for blank, block in groupby(numbered, key=lambda pair: not pair[1].strip()):
        if not blank:
            start, text = next(block)
            yield start, {"text": (text + "".join(line for _, line in block)).rstrip("\n")}
