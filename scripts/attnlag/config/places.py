"""Where the keys of a configuration stand: the file and the line of each problem."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attnlag.config.reading import KeyPath, Reading, values_by_path, written


def located(
    problems: Iterable[tuple[KeyPath, str]], raw: Any, readings: Mapping[Path, Reading]
) -> list[str]:
    """Return problems of keys as lines, in the order of the files and of the lines in them.

    The last file with the value in effect determines the line; without one, the value comes from
    the command line.
    """
    in_force = dict(values_by_path(raw))
    stated = [dict(values_by_path(reading.values)) for reading in readings.values()]
    # Another workflow's file may hold the configuration as a section.
    sections = (path for values in stated for path, value in values.items() if value == raw)
    section: KeyPath = next(sections, ())
    places: dict[KeyPath, tuple[int, int]] = {}
    for number, (values, reading) in enumerate(zip(stated, readings.values(), strict=True)):
        for path, value in in_force.items():
            whole = (*section, *path)
            if path and whole in values and _same(values[whole], value):
                places[path] = number, reading.line(whole)
    # A file may have none of the keys.
    files = {number for number, _ in places.values()}
    with_keys = isinstance(raw, Mapping) and raw
    places[()] = min(files, default=len(readings) if with_keys else 0), 0
    names = [*map(str, readings), "command line" if files else "configuration"]
    lines = []
    for path, sentence in problems:
        nearest = next(path[:n] for n in range(len(path), -1, -1) if path[:n] in in_force)
        # The command line comes last.
        number, line = places.get(nearest, (len(readings), 0))
        where = f"{names[number]}:{line}" if line else names[number]
        words = filter(None, (where, written((*section, *path)), sentence))
        lines.append((number, line, ": ".join(words)))
    return [text for *_, text in sorted(lines, key=lambda line: line[:2])]


def _same(value: Any, other: Any) -> bool:
    """Return whether two values are equal; any two sections count as equal."""
    are_sections = isinstance(value, Mapping) and isinstance(other, Mapping)
    # NaN is not equal to itself.
    return are_sections or value == other or value != value
