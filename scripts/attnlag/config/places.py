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
    section = _section_with(raw, readings)
    places: dict[KeyPath, tuple[int, int]] = {}
    for number, reading in enumerate(readings.values()):
        values = dict(values_by_path(reading.values))
        for path, value in in_force.items():
            whole = (*section, *path)
            if path and whole in values and _same(values[whole], value):
                places[path] = number, reading.line(whole)
    names = [*map(str, readings), "command line" if places else "configuration"]
    # A file may have none of the keys.
    first_file = 0
    if places:
        first_file = min(number for number, _ in places.values())
    elif isinstance(raw, Mapping) and raw:
        first_file = len(readings)
    places[()] = first_file, 0
    lines = []
    for path, sentence in problems:
        nearest = path
        while nearest not in in_force:
            nearest = nearest[:-1]
        # The command line comes last.
        number, line = places.get(nearest, (len(readings), 0))
        where = f"{names[number]}:{line}" if line else names[number]
        words = filter(None, (where, written((*section, *path)), sentence))
        lines.append((number, line, ": ".join(words)))
    return [text for *_, text in sorted(lines, key=lambda line: line[:2])]


def _section_with(raw: Any, readings: Mapping[Path, Reading]) -> KeyPath:
    """Return the section of another workflow's file that holds the configuration, () for none."""
    for reading in readings.values():
        for path, value in values_by_path(reading.values):
            if value == raw:
                return path
    return ()


def _same(value: Any, other: Any) -> bool:
    """Return whether two values are equal; any two sections count as equal."""
    are_sections = isinstance(value, Mapping) and isinstance(other, Mapping)
    # NaN is not equal to itself.
    return are_sections or value == other or value != value
