"""Lines of text as lists of claims: which stand in a line, in what order, under what heading."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from attnlag import wording
from attnlag.claims.numbers import with_minus_signs
from attnlag.claims.row import Row
from attnlag.claims.run import Claims

FINDING = "finding"


@dataclass(frozen=True)
class Line:
    """Claims whose texts stand in one line, or in a line for each subject.

    Parameters
    ----------
    claims : tuple of str
        Names of claims, in their order.
    heading : str
        A template before the texts, filled with the fields of the first claim.
    each : str
        ``"subject"`` for a line for each subject, ``"term"`` for each first name of one, ``"two"``
        for the first two, and ``"nearest"`` for the first of ``"term"`` alone.
    most : int
        Number of lines up to which there is one for each subject; of more, only the smallest and
        the largest value of the first claim have one.
    """

    claims: tuple[str, ...]
    heading: str = ""
    each: str = ""
    most: int = 10**9

    def texts(self, claims: Claims, length: str = FINDING) -> Iterator[str]:
        """Yield the lines of some claims in a length, without those that say nothing."""
        for rows in self._grouped(claims):
            texts = wording.texts(rows, length)
            if texts:
                heading = wording.filled(self.heading, rows[0])
                yield heading + "; ".join(texts)

    def _grouped(self, claims: Claims) -> list[list[Row]]:
        """Return the claims of each line."""
        groups: dict[str, list[Row]] = {}
        key = KEYS[self.each]
        for row in claims_of_subjects(claims, self.claims):
            groups.setdefault(key(row), []).append(row)
        found = list(groups.values())
        if self.each == "nearest":
            return found[:1]
        if len(found) > self.most:
            by_value = sorted(found, key=lambda rows: rows[0].value)
            return [by_value[0], by_value[-1]]
        return found


# What claims of one line have in common.
KEYS: dict[str, Callable[[Row], str]] = {
    "": lambda row: "",
    "subject": lambda row: row.subject,
    "term": lambda row: row.names[0],
    "two": lambda row: ", ".join(row.names[:2]),
    "nearest": lambda row: row.names[0],
}


def claims_of_subjects(claims: Claims, names: Sequence[str], first: str = "") -> list[Row]:
    """Return the claims of some names, those of a subject together.

    Subjects are in the order in which the names have them; ``first`` is the first name of all.
    """
    by_subject: dict[str, list[Row]] = {}
    for name in names:
        for row in claims.all(name, first):
            by_subject.setdefault(row.subject, []).append(row)
    return [row for rows in by_subject.values() for row in rows]


def titled(title: str, lines: Iterable[str]) -> str:
    """Return findings as text: a title, and a line for each finding, indented."""
    return with_minus_signs("\n  ".join([title, *lines])) + "\n"


def lines_of(lines: Sequence[Line], claims: Claims) -> list[str]:
    """Return the text of each line that has any."""
    return [text for line in lines for text in line.texts(claims)]
