"""What a user did that cannot work, and how to say so."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """One or more problems that the user can mend, one line each.

    Programs print the lines and stop with status 1; they show no traceback, because
    nothing in the code is at fault.

    Parameters
    ----------
    problems : str or iterable of str
        Each names the file, line or key, what was found and what was expected.
    """

    def __init__(self, problems: str | Iterable[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the valid name nearest to ``name``, or ``""``."""
    matches = get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return f"; did you mean '{matches[0]}'?" if matches else ""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in the right number: ``1 document``, ``1,200 tokens``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
