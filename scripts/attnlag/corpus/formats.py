"""Rows of JSON lines, plain text, CSV, TSV and Parquet, plain or compressed."""

import csv
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.errors import UserError, counted, nearest, unreadable

JSON_LINES = (".jsonl", ".ndjson")
PLAIN_TEXT = (".txt", ".md")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = ".parquet"
FORMATS = (*JSON_LINES, *PLAIN_TEXT, *DELIMITERS, PARQUET)
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
MOST_PROBLEMS = 50

# A file may be a line without end, or a few bytes that unpack to one. What is longer than these
# is refused, so that memory is bounded: a document in bytes, as it stands in its file, an id or
# a group in characters, and a Parquet file that is compressed once more, and so is unpacked whole.
LONGEST_DOCUMENT = 64_000_000
LONGEST_NAME = 1_000
LARGEST_UNPACKED = 1_000_000_000

# A row's line in its file (its number in a Parquet file, None where the file is the document)
# and its values by field name.
Row = tuple[int | None, dict[str, Any]]


@dataclass
class Problems:
    """The problems of a corpus: the first of them, and how many there are."""

    first: list[str] = attribute(default_factory=list)
    count: int = 0

    def add(self, problem: str) -> int:
        """Keep a problem if it is one of the first; return its number, from 0."""
        self.count += 1
        if self.count <= MOST_PROBLEMS:
            self.first.append(problem)
        return self.count - 1

    def complete(self, number: int, more: str) -> None:
        """Add to the end of a problem what is known of it only later."""
        if number < len(self.first):
            self.first[number] += more


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


def shown(value: Any) -> str:
    """Return a value as JSON, cut off after 40 characters."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return f"a {'list' if isinstance(value, list) else 'mapping'} nested too deeply"
    return text if len(text) <= 40 else f"{text[:40]}…"


def listed(names: Iterable[str]) -> str:
    """Return names in quotes, the first ten of them, or ``nothing``."""
    quoted = [repr(name if len(name) <= 40 else f"{name[:40]}…") for name in names]
    return ", ".join(quoted[:10] + ["…"] * (len(quoted) > 10)) or "nothing"


def file_rows(
    file: Path, fields: Mapping[str, str], whole: bool, problems: Problems
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
    problems : Problems
        Is extended; nothing is raised for a file that cannot be read.
    """
    _, suffix, compression = name_parts(file)
    if suffix not in FORMATS:
        problems.add(
            f"{file}: files ending in '{suffix}' are not read; expected {', '.join(FORMATS)}, "
            f"each perhaps with {' or '.join(COMPRESSIONS)} after it{nearest(suffix, FORMATS)}"
        )
        return
    # A pipe or a device could be opened, and never end.
    if problem := unreadable(file):
        problems.add(f"{file}: {problem}")
        return
    try:
        before = state(file)
        with file.open("rb") as stored:
            stream: Any = stored
            if compression:
                # Python's gzip module would do for .gz; for .zst Arrow needs no further package.
                stream = pa.CompressedInputStream(stored, COMPRESSIONS[compression])
                stream = io.BufferedReader(stream)
            if suffix == PARQUET:
                # Parquet is read from its end, which a compressed stream cannot seek to.
                # Otherwise not as a file of Python's: see tables.write_parts.
                source = unpacked(stream, file) if compression else pa.OSFile(str(file))
                yield from parquet_rows(source, file, fields, problems)
            else:
                lines = Lines(decoded_lines(stream, file, problems), file)
                if suffix in JSON_LINES:
                    yield from json_rows(lines, file, fields, problems)
                elif suffix in DELIMITERS:
                    yield from csv_rows(lines, DELIMITERS[suffix], file, fields, problems)
                else:
                    yield from whole_text(lines) if whole else text_blocks(lines)
        if state(file) != before:
            problems.add(f"{file}: changed while it was read; expected it to stay as it is")
    except UserError as error:
        problems.add(str(error))
    except MemoryError:
        raise  # which Arrow's is too
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        kind = COMPRESSIONS.get(compression, "Parquet" if suffix == PARQUET else "a file")
        problems.add(f"{file}: cannot be read as {kind}: {reason}")


def state(file: Path) -> tuple[int, int, int]:
    """Return what changes whenever a file is written or replaced."""
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def unpacked(stream: BinaryIO, file: Path) -> pa.BufferReader:
    """Return all of a compressed stream, to be read from any place."""
    content = stream.read(LARGEST_UNPACKED + 1)
    if len(content) > LARGEST_UNPACKED:
        raise UserError(
            f"{file}: unpacks to more than {LARGEST_UNPACKED // 10**6:,} MB; expected Parquet that "
            "is compressed within itself only"
        )
    return pa.BufferReader(content)


def too_long(file: Path, line: int) -> UserError:
    """Return what to raise where a document takes more memory than one may."""
    return UserError(
        f"{file}:{line}: more than {LONGEST_DOCUMENT // 10**6} MB in one document, which starts "
        "here; expected at most that, or several documents"
    )


class Lines:
    """The lines of a file, as long as no document takes too many of them.

    Parameters
    ----------
    lines : iterator of str
        With their line ends.
    file : Path
        Its name, for the message.

    Raises
    ------
    UserError
        When the lines since ``begin_document`` have more than ``LONGEST_DOCUMENT`` characters.
    """

    def __init__(self, lines: Iterator[str], file: Path):
        self._lines, self._file = lines, file
        self.number = self.size = 0
        self.begin_document()

    def begin_document(self) -> None:
        """Count from here: the next line is that of another document."""
        self.size = 0
        self.start = self.number + 1

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        self.size += len(line)
        if self.size > LONGEST_DOCUMENT:
            raise too_long(self._file, self.start)
        return line


def decoded_lines(stream: BinaryIO, file: Path, problems: Problems) -> Iterator[str]:
    """Yield the lines of a UTF-8 stream, line ends and all, without a byte order mark.

    A line that is not UTF-8 is yielded with its bad bytes replaced, so that line numbers stay
    right and further problems are found. A file in another encoding may have thousands: they
    make one problem, which names the first and counts the others. What is no text at all is
    raised, and ends the reading.
    """
    bad_lines = first_bad = number = offset = 0
    further: list[int] = []
    while line := stream.readline(LONGEST_DOCUMENT + 1):
        number += 1
        if number == 1 and (encoding := other_encoding(line)):
            raise UserError(
                f"{file}:1: {encoding}, by its first bytes; "
                f"expected UTF-8 (iconv -f {encoding} -t UTF-8 converts it)"
            )
        if len(line) > LONGEST_DOCUMENT:
            raise too_long(file, number)
        if b"\0" in line:
            raise UserError(
                f"{file}:{number}: byte 0x00 at offset {offset + line.index(0)} is not text; "
                "expected UTF-8 (UTF-16 and binary files have such bytes)"
            )
        mark = b"\xef\xbb\xbf" if number == 1 and line.startswith(b"\xef\xbb\xbf") else b""
        try:
            text = line[len(mark) :].decode()
        except UnicodeDecodeError as error:
            bad_lines += 1
            if bad_lines == 1:
                at = len(mark) + error.start
                first_bad = problems.add(
                    f"{file}:{number}: byte 0x{line[at]:02x} at offset {offset + at} is not "
                    "UTF-8; expected UTF-8 (iconv -f ENCODING -t UTF-8 converts it)"
                )
            elif len(further) < 10:
                further.append(number)
            text = line[len(mark) :].decode(errors="replace")
        offset += len(line)
        yield text
    if bad_lines > 1:
        numbers = ", ".join(map(str, further)) + ", …" * (bad_lines > 11)
        more = counted(bad_lines - 1, "further line")
        problems.complete(first_bad, f"; the same holds for {more}: {numbers}")


def other_encoding(line: bytes) -> str | None:
    """Return the encoding that a byte order mark at the start stands for; None for UTF-8."""
    marks = {"UTF-32": (b"\xff\xfe\0\0", b"\0\0\xfe\xff"), "UTF-16": (b"\xff\xfe", b"\xfe\xff")}
    return next((name for name, those in marks.items() if line.startswith(those)), None)


def json_rows(
    lines: Lines, file: Path, fields: Mapping[str, str], problems: Problems
) -> Iterator[Row]:
    """Yield the objects of a JSON lines file; blank lines are skipped."""
    repeated: list[str] = []

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # Called for a row after all that is in it, so that what is left is of the row itself.
        nonlocal repeated
        row = dict(pairs)
        keys = Counter(key for key, _ in pairs) if len(row) < len(pairs) else {}
        repeated = [key for key, times in keys.items() if times > 1]
        return row

    decoder = json.JSONDecoder(object_pairs_hook=mapping)
    for line in lines:
        number = lines.number
        lines.begin_document()
        if not line.strip():
            continue
        try:
            row = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            # Too many digits or too deep a nesting come without a column.
            where, reason = "", str(error)
            if isinstance(error, json.JSONDecodeError):
                where, reason = f" at column {error.colno}", error.msg
            problems.add(
                f"{file}:{number}: invalid JSON{where}: {reason}; expected one JSON object a line"
            )
            continue
        if not isinstance(row, dict):
            problems.add(f"{file}:{number}: {shown(row)}; expected one JSON object a line")
            continue
        for field in dict.fromkeys(fields.values()):
            if field in repeated:
                problems.add(f"{file}:{number}: the field '{field}' is given twice; expected once")
        yield number, row


def csv_rows(
    lines: Lines, delimiter: str, file: Path, fields: Mapping[str, str], problems: Problems
) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file, each with the line that it starts on."""
    csv.field_size_limit(sys.maxsize)  # The default refuses texts beyond 131,072 characters.
    # Without strict, a quote that is never closed would swallow the rest of the file.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        lines.begin_document()
        start = lines.start
        try:
            cells = next(reader, None)
        except csv.Error as error:
            problems.add(
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
            problems.add(
                f"{file}:{start}: {counted(len(cells), 'cell')}; "
                f"expected {len(header)}, as in the header"
            )
        else:
            yield start, dict(zip(header, cells, strict=True))


def parquet_rows(
    source: Any, file: Path, fields: Mapping[str, str], problems: Problems
) -> Iterator[Row]:
    """Yield the rows of a Parquet file, numbered from 1; only the columns needed are read."""
    parquet = pq.ParquetFile(source)
    schema = parquet.schema_arrow
    if not has_columns(schema.names, fields, str(file), problems):
        return
    wrong = [
        f"{file}: the column '{field}' is {schema.field(field).type}; "
        f"expected {'strings' if part == 'text' else 'strings or whole numbers'}"
        for part, field in fields.items()
        if not serves_as(part, schema.field(field).type)
    ]
    for problem in wrong:
        problems.add(problem)
    if wrong:
        return
    names = sorted(set(fields.values()))
    number = 0
    for batch in parquet.iter_batches(batch_rows(parquet, names, file), columns=names):
        for scalars in zip(*(batch.column(name) for name in names), strict=True):
            number += 1
            try:
                yield number, {n: s.as_py() for n, s in zip(names, scalars, strict=True)}
            except UnicodeDecodeError as error:
                problems.add(
                    f"{file}:{number}: byte 0x{error.object[error.start]:02x} at offset "
                    f"{error.start} of a value is not UTF-8; expected UTF-8"
                )


def serves_as(part: str, kind: pa.DataType) -> bool:
    """Return whether the values of a column can be the ids, groups or texts of documents."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    strings = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(of(kind) for of in strings) or (part != "text" and pa.types.is_integer(kind))


def batch_rows(parquet: pq.ParquetFile, names: list[str], file: Path) -> int:
    """Return how many rows of a Parquet file to have in memory at once.

    A value may be stored once for all rows that have it. None is larger than what all of a row
    group unpack to, which bounds what a batch can take.
    """
    largest = 1
    for group in range(parquet.num_row_groups):
        chunks = parquet.metadata.row_group(group)
        for column in range(chunks.num_columns):
            chunk = chunks.column(column)
            if chunk.path_in_schema in names:
                size = chunk.total_uncompressed_size
                if size > LONGEST_DOCUMENT * max(1, chunk.num_values):
                    raise UserError(
                        f"{file}: more than {LONGEST_DOCUMENT // 10**6} MB in one document; "
                        "expected at most that, or several documents"
                    )
                largest = max(largest, size)
    return max(1, min(1024, 8 * LONGEST_DOCUMENT // largest))


def has_columns(
    names: list[str], fields: Mapping[str, str], place: str, problems: Problems
) -> bool:
    """Return whether each field is one column, and only one; if not, say so in ``problems``."""
    wrong = [field for field in dict.fromkeys(fields.values()) if names.count(field) != 1]
    for field in wrong:
        if times := names.count(field):
            problems.add(f"{place}: {times} columns are called '{field}'; expected one")
        else:
            problems.add(
                f"{place}: no column '{field}'; found {listed(names)}{nearest(field, names)}"
            )
    return not wrong


def whole_text(lines: Iterable[str]) -> Iterator[Row]:
    """Yield a plain-text file that is not empty as one row, without the line ends at its end."""
    normalised = [line.replace("\r\n", "\n") for line in lines]
    if normalised:
        yield None, {"text": "".join(normalised).rstrip("\n")}


def text_blocks(lines: Lines) -> Iterator[Row]:
    """Yield each block of lines between blank lines as one row, with the line it starts on."""
    for blank, block in groupby(lines, key=lambda line: not line.strip()):
        if blank:
            for _ in block:
                lines.begin_document()
        else:
            text = [line.replace("\r\n", "\n") for line in block]
            yield lines.start, {"text": "".join(text).rstrip("\n")}
