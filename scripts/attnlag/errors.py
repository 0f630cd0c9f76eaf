"""Errors for users, and the wording of their messages."""

import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any


class UserError(Exception):
    """One or more problems that the user can fix, one line each.

    Each states the file, line or key, what was found and what was expected. Programs print the
    lines and stop with status 1. They show no traceback, because the code is not at fault.
    """

    def __init__(self, problems: str | Iterable[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


# The extra of pyproject.toml that installs a package, for those that some need.
EXTRA_OF = {
    "accelerate": "model",
    "gguf": "model",
    "huggingface_hub": "model",
    "safetensors": "model",
    "torch": "model",
    "transformers": "model",
    "snakemake": "workflow",
}


class MissingExtraError(UserError, ImportError):
    """A package that only some need is not installed; the message says how to install it."""


def missing_extra(error: ImportError, what: str) -> MissingExtraError | None:
    """Return the error of what needs a package that is missing, None if it is none of an extra."""
    package = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package not in EXTRA_OF:
        return None
    return MissingExtraError(
        f"{what} needs {package}, which is not installed: "
        f"pip install --editable '.[{EXTRA_OF[package]}]' in attnlag's folder"
    )


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the valid name nearest to ``name``, or ``""``."""
    matches = get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return f"; did you mean '{matches[0]}'?" if matches else ""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural: ``1 document``, ``1,200 tokens``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def amount(size: float) -> str:
    """Return a number of bytes in words: ``13.2 GB``, ``538 MB``."""
    if size >= 1e9:
        return f"{size / 1e9:,.1f} GB"
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def numbers_in_words(numbers: Sequence[int]) -> str:
    """Return whole numbers in words: ``0 to 29``, or ``0, 15, 29`` where there are gaps."""
    if numbers[-1] - numbers[0] + 1 == len(numbers):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))


def listed(words: Sequence[str]) -> str:
    """Return words as a list: ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


@contextmanager
def as_user_error(
    problem: str, kinds: tuple[type[Exception], ...] = (Exception,)
) -> Iterator[None]:
    """Turn exceptions in the block into a UserError of one line that begins with ``problem``.

    Libraries raise many types of exceptions for damaged files.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except kinds as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{problem} ({type(error).__name__}: {reason})") from error


def shown(value: Any) -> str:
    """Return a value as JSON, cut off after 60 characters."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str, skipkeys=True)
    except RecursionError:
        return f"a {'list' if isinstance(value, list) else 'mapping'} nested too deeply"
    return text if len(text) <= 60 else f"{text[:60]}…"


def unreadable(file: Path) -> str | None:
    """Return why a path cannot be read as a file, without opening it, or None if it can.

    Opening a pipe waits for its writer, and reading a device may never end.
    """
    try:
        kind = stat.S_IFMT(file.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        if file.is_symlink():
            return f"is a link to '{os.readlink(file)}', which is missing"
        return "no such file"
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if kind != stat.S_IFREG:
        return f"is {KINDS.get(kind, 'something else')}, expected a file"
    return None if os.access(file, os.R_OK) else "cannot be read: Permission denied"
