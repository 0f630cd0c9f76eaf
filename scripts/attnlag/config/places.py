"""Where the keys of a configuration stand: files and lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnlag.config.reading import KeyPath, Reading, values_by_path


class Places:
    """The file and the line of each key of a configuration."""

    def __init__(self, raw: Any, readings: Mapping[Path, Reading]):
        # Another workflow's file may hold the configuration as a section.
        paths = (
            path
            for reading in readings.values()
            for path, value in values_by_path(reading.values)
            if value == raw
        )
        self.section: KeyPath = next(paths, ())
        # The last file with the value in effect determines the line.
        self.in_force = dict(values_by_path(raw))
        self.places: dict[KeyPath, tuple[int, int]] = {}
        for number, reading in enumerate(readings.values()):
            for whole_path, value in values_by_path(reading.values):
                path = whole_path[len(self.section) :]
                inside = path and whole_path == (*self.section, *path)
                if inside and path in self.in_force and _same(value, self.in_force[path]):
                    self.places[path] = number, reading.line(whole_path)
        # A file may have none of the keys.
        files = {number for number, _ in self.places.values()}
        with_keys = isinstance(raw, Mapping) and raw
        self.places[()] = min(files, default=len(readings) if with_keys else 0), 0
        self.names = [*map(str, readings), "command line" if files else "configuration"]

    def file_and_line(self, path: KeyPath) -> tuple[int, int]:
        """Return the number of the file and the line of a key, or of the section without it."""
        while path not in self.in_force:
            path = path[:-1]
        return self.places.get(path, (len(self.names) - 1, 0))


def _same(value: Any, other: Any) -> bool:
    """Return whether two values are equal; any two sections count as equal."""
    are_sections = isinstance(value, Mapping) and isinstance(other, Mapping)
    # NaN is not equal to itself.
    return are_sections or value == other or value != value
