"""Rows of JSON lines, plain text, CSV, TSV and Parquet, plain or compressed."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.errors import UserError, counted, nearest, shown, unreadable

JSON_LINES = (".jsonl", ".ndjson")
PLAIN_TEXT = (".txt", ".md")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = ".parquet"
FORMATS = (*JSON_LINES, *PLAIN_TEXT, *DELIMITERS, PARQUET)
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
MAX_PROBLEMS = 50

# A file may consist of one endless line, or of a few bytes that unpack to one. These limits bound
# the memory: the bytes of a document as stored, the characters of an id or a group, and the bytes
# of a Parquet file that is compressed once more and therefore has to be unpacked whole.
LONGEST_DOCUMENT = 64_000_000
LONGEST_NAME = 1_000
MAX_UNPACKED = 1_000_000_000

# The line of a row in its file (its number in a Parquet file, None if the whole file is one
# document) and its values by field name, or in a text what is wrong with it.
Row = tuple[int | None, dict[str, Any] | str]


@dataclass
class Problems:
    """The first problems of a corpus and their total number."""

    first: list[str] = attribute(default_factory=list)
    count: int = 0

    def add(self, problem: str) -> None:
        """Count a problem, and keep it if it is among the first."""
        self.count += 1
        if self.count <= MAX_PROBLEMS:
            self.first.append(problem)

    def refuse(self) -> None:
        """Raise UserError if there are problems."""
        if self.count:
            more = self.count - MAX_PROBLEMS
            raise UserError(self.first + ([f"… and {more:,} more"] if more > 0 else []))


def name_parts(file: Path) -> tuple[str, str, str]:
    """Return a file's stem, the suffix of its format and that of its compression (or ``""``).

    Only these two suffixes are removed: the stem of ``notes.v2.jsonl.gz`` is ``notes.v2``.
    """
    suffix = file.suffix.lower()
    if suffix in COMPRESSIONS:
        return *name_parts(file.with_suffix(""))[:2], suffix
    return file.stem, suffix, ""


def listed(names: Iterable[str]) -> str:
    """Return the first ten names in quotes, or ``nothing``."""
    quoted = [repr(name if len(name) <= 40 else f"{name[:40]}…") for name in names]
    if not quoted:
        return "nothing"
    first = ", ".join(quoted[:10])
    return f"{first}, …" if len(quoted) > 10 else first


def file_rows(
    file: Path, fields: Mapping[str, str], is_document: bool, problems: Problems
) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """Yield the rows of one file, and add what prevents its reading to ``problems``.

    ``fields`` are the columns with a document's id, group, text and tags; others may stay unread. A
    plain-text file is one row if it is a document, otherwise each of its blocks is one.
    """
    _, suffix, compression = name_parts(file)
    if suffix not in FORMATS:
        problems.add(
            f"{file}: files ending in '{suffix}' are not read; expected {', '.join(FORMATS)}, "
            f"optionally followed by {' or '.join(COMPRESSIONS)}{nearest(suffix, FORMATS)}"
        )
        return
    # Reading a pipe or a device might never end.
    problem = unreadable(file)
    if problem:
        problems.add(f"{file}: {problem}")
        return
    try:
        with file.open("rb") as stored:
            stream: Any = stored
            if compression:
                # Arrow reads .zst without a further package.
                stream = pa.CompressedInputStream(stored, COMPRESSIONS[compression])
                stream = io.BufferedReader(stream)
            if suffix == PARQUET:
                # Parquet is read from its end, and a compressed stream cannot seek. An
                # uncompressed file is passed as a path for the reason in tables.parquet_writer.
                source = unpacked(stream, file) if compression else pa.OSFile(str(file))
                rows = parquet_rows(source, file, fields)
            else:
                lines = TextLines(stream, file)
                if suffix in JSON_LINES:
                    rows = json_rows(lines)
                elif suffix in DELIMITERS:
                    rows = csv_rows(lines, DELIMITERS[suffix], fields)
                else:
                    rows = text_rows(lines, is_document)
            for line, row in rows:
                if isinstance(row, str):
                    problems.add(f"{file if line is None else f'{file}:{line}'}: {row}")
                else:
                    yield line, row
    except UserError as error:
        problems.add(str(error))
    except MemoryError:
        raise  # Arrow's error is an OSError too.
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        kind = COMPRESSIONS.get(compression, "Parquet" if suffix == PARQUET else "a file")
        problems.add(f"{file}: cannot be read as {kind}: {reason}")


def unpacked(stream: BinaryIO, file: Path) -> pa.BufferReader:
    """Return the whole content of a compressed stream, which can be read from any position.

    Raise UserError if it is larger than `MAX_UNPACKED`.
    """
    content = stream.read(MAX_UNPACKED + 1)
    if len(content) > MAX_UNPACKED:
        raise UserError(
            f"{file}: unpacks to more than {MAX_UNPACKED // 10**6:,} MB; expected Parquet with "
            "its internal compression only"
        )
    return pa.BufferReader(content)


class TextLines:
    """The lines of a UTF-8 stream, with their line ends and without a byte order mark.

    Raise UserError at the first line that is not text in UTF-8, or when the lines since
    ``begin_document`` have more than ``LONGEST_DOCUMENT`` bytes.
    """

    def __init__(self, stream: BinaryIO, file: Path):
        self._stream = stream
        self._file = file
        self.number = 0
        self.begin_document()

    def begin_document(self) -> None:
        """Start counting bytes anew: the next line begins another document."""
        self.size = 0
        self.start = self.number + 1

    def __iter__(self) -> Iterator[str]:
        offset = 0
        while line := self._stream.readline(LONGEST_DOCUMENT + 1):
            self.number += 1
            self.size += len(line)
            if self.size > LONGEST_DOCUMENT:
                raise UserError(
                    f"{self._file}:{self.start}: more than {LONGEST_DOCUMENT // 10**6} MB in one "
                    "document, which starts here; expected at most that, or several documents"
                )
            # Zeros are valid UTF-8, but they do not occur in text; UTF-16 is full of them.
            bad = line.find(0)
            reason = "occurs in no text except UTF-16"
            try:
                text = line.decode("utf-8-sig" if self.number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                bad = error.start
                reason = "is not text in UTF-8"
            if bad >= 0:
                raise UserError(
                    f"{self._file}:{self.number}: byte 0x{line[bad]:02x} at offset {offset + bad} "
                    f"{reason}; expected UTF-8 (iconv -f ENCODING -t UTF-8 converts it)"
                )
            offset += len(line)
            yield text


def json_rows(lines: TextLines) -> Iterator[Row]:
    """Yield the objects of a JSON lines file; blank lines are skipped."""
    for line in lines:
        lines.begin_document()
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            problem = "" if isinstance(row, dict) else shown(row)
        except (ValueError, RecursionError) as error:
            problem = f"invalid JSON: {error}"
        yield lines.number, f"{problem}; expected one JSON object a line" if problem else row


def csv_rows(lines: TextLines, delimiter: str, fields: Mapping[str, str]) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file, each with the line that it starts on."""
    csv.field_size_limit(sys.maxsize)  # The default limit is 131,072 characters.
    # Without strict, a quote that is never closed would swallow the rest of the file.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        lines.begin_document()
        start = lines.start
        try:
            cells = next(reader, None)
        except csv.Error as error:
            problem = f"the row that starts here is broken: {error}; expected a cell with quotes "
            yield start, f'{problem}or line ends to be "quoted", a quote in it ""doubled""'
            return
        if cells is None:
            return
        if not cells:  # The line is blank.
            continue
        if not header:
            header = cells
            wrong = column_problems(header, fields)
            if wrong:
                for problem in wrong:
                    yield start, problem
                return
        elif len(cells) != len(header):
            cells_found = counted(len(cells), "cell")
            yield start, f"{cells_found}; expected {len(header)}, as in the header"
        else:
            yield start, dict(zip(header, cells, strict=True))


def parquet_rows(source: Any, file: Path, fields: Mapping[str, str]) -> Iterator[Row]:
    """Yield the rows of a Parquet file, numbered from 1, reading only the columns needed."""
    parquet = pq.ParquetFile(source)
    schema = parquet.schema_arrow
    wrong = column_problems(schema.names, fields) or column_kind_problems(schema, fields)
    if wrong:
        for problem in wrong:
            yield None, problem
        return
    names = sorted(set(fields.values()))
    batches = parquet.iter_batches(batch_rows(parquet, names, file), columns=names)
    number = 0
    for batch in batches:
        for scalars in zip(*batch.select(names), strict=True):
            number += 1
            try:
                yield number, {n: s.as_py() for n, s in zip(names, scalars, strict=True)}
            except UnicodeDecodeError as error:
                yield number, f"a value is not UTF-8 ({error}); expected UTF-8"


def column_kind_problems(schema: pa.Schema, fields: Mapping[str, str]) -> list[str]:
    """Return a problem for each column that cannot hold what it is read as."""
    problems: list[str] = []
    for key, name in fields.items():
        kind = schema.field(name).type
        if not serves_as(key, kind):
            problems.append(
                f"the column '{name}' is {kind}; expected strings (or, for ids and groups, whole "
                "numbers)"
            )
    return problems


def serves_as(key: str, kind: pa.DataType) -> bool:
    """Return whether the values of a column can be the ids, groups or texts of documents."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if kind in (pa.string(), pa.large_string(), pa.string_view()):
        return True
    return key in ("id", "group") and pa.types.is_integer(kind)


def batch_rows(parquet: pq.ParquetFile, names: list[str], file: Path) -> int:
    """Return the number of rows of a Parquet file to hold in memory at once.

    A value may be stored once for all rows that share it. No value is larger than its unpacked
    row group, which bounds the memory of a batch.

    Raise UserError if one document may take more than `LONGEST_DOCUMENT`.
    """
    chunks: list[Any] = []
    for number in range(parquet.num_row_groups):
        group = parquet.metadata.row_group(number)
        chunks += map(group.column, range(group.num_columns))
    largest = 1
    for chunk in chunks:
        if chunk.path_in_schema in names:
            size = chunk.total_uncompressed_size
            if size > LONGEST_DOCUMENT * max(1, chunk.num_values):
                raise UserError(
                    f"{file}: more than {LONGEST_DOCUMENT // 10**6} MB in one document; expected "
                    "at most that, or several documents"
                )
            largest = max(largest, size)
    return max(1, min(1024, 8 * LONGEST_DOCUMENT // largest))


def column_problems(names: list[str], fields: Mapping[str, str]) -> list[str]:
    """Return a problem for each field that is not exactly one of the columns."""
    problems: list[str] = []
    for field in dict.fromkeys(fields.values()):
        times = names.count(field)
        if times > 1:
            problems.append(
                f"{times} columns are called '{field}'; expected one, among {listed(names)}"
            )
        if times == 0:
            problems.append(f"no column '{field}'; found {listed(names)}{nearest(field, names)}")
    return problems


def text_rows(lines: TextLines, is_document: bool) -> Iterator[Row]:
    """Yield a plain text, or each block between its blank lines, without trailing line ends."""
    for blank, block in groupby(lines, key=lambda line: not (is_document or line.strip())):
        if blank:
            for _ in block:
                lines.begin_document()
        else:
            text = "".join(line.replace("\r\n", "\n") for line in block).rstrip("\n")
            yield None if is_document else lines.start, {"text": text}
