"""Checks of a tokenizer's files before a library loads them.

The library for tokenizers is in Rust. What its files state decides how much memory and time it
takes, and where it gives up its exceptions are none that Python's ``except Exception`` catches.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attnlag.errors import UserError, amount

# Files that list tokens with their numbers.
FILES = ("tokenizer.json", "vocab.json", "added_tokens.json", "tokenizer_config.json")

# Bounds, each several times what the largest public tokenizers have: bytes of a file, the largest
# number of a token (the library keeps an array up to it), added tokens (which take quadratic time),
# steps of a pipeline, and how much the steps of one may lengthen a text.
MAX_BYTES = 256 * 10**6
MAX_TOKEN_ID = 2**24
MAX_ADDED_TOKENS = 2**16
MAX_STEPS = 32
MAX_GROWTH = 64

# The parts of tokenizer.json that are pipelines of steps.
PIPELINES = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


def check_tokenizer_files(folder: Path) -> None:
    """Raise UserError if a tokenizer's files would take more memory or time than any real one's."""
    problems: list[str] = []
    for name in FILES:
        path = folder / name
        if not path.is_file():
            continue
        size = path.stat().st_size
        if size > MAX_BYTES:
            problems.append(f"{name} has {amount(size)}, expected at most {amount(MAX_BYTES)}")
            continue
        try:
            stated = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            stated = None
        if not isinstance(stated, dict):
            problems.append(f"{name} is not a JSON object")
        else:
            problems += _problems_of(name, stated)
    if problems:
        raise UserError(problems)


def _problems_of(name: str, stated: dict[str, Any]) -> Iterator[str]:
    """Yield what exceeds the bounds in one of ``FILES``."""
    added: Any = []
    if name == "tokenizer.json":
        model = stated.get("model")
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
        ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else []
        added = stated.get("added_tokens") or []
        for token in added if isinstance(added, list) else []:
            ids.append(token.get("id") if isinstance(token, dict) else None)
        for pipeline in PIPELINES:
            yield from _problems_of_pipeline(f"{name}, {pipeline}", stated.get(pipeline))
    elif name == "tokenizer_config.json":
        added = stated.get("added_tokens_decoder") or {}
        ids = [int(key) if str(key).isdecimal() else None for key in added]
    else:
        ids = list(stated.values())
    if len(added) > MAX_ADDED_TOKENS:
        yield f"{name} has {len(added):,} added tokens, expected at most {MAX_ADDED_TOKENS:,}"
    for token_id in ids:
        if not isinstance(token_id, int) or not 0 <= token_id <= MAX_TOKEN_ID:
            yield f"{name} numbers a token {token_id}, expected 0 to {MAX_TOKEN_ID:,}"
            return


def _problems_of_pipeline(where: str, pipeline: Any) -> Iterator[str]:
    """Yield what exceeds the bounds in a pipeline, which may hold others."""
    steps = list(_steps(pipeline))
    if len(steps) > MAX_STEPS:
        yield f"{where} has {len(steps):,} steps, expected at most {MAX_STEPS}"
    growth = 1.0
    for step in steps:
        pattern = step.get("pattern")
        content = step.get("content")
        if isinstance(pattern, dict) and isinstance(content, str):
            # A regular expression may match a single character, or none.
            matched = pattern.get("String")
            length = len(matched) if isinstance(matched, str) else 1
            growth *= max(1.0, len(content) / max(1, length))
    if growth > MAX_GROWTH:
        yield f"{where} makes texts {growth:,.0f} times as long, expected at most {MAX_GROWTH}"


def _steps(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the steps in a pipeline, at any depth: the mappings that have a type."""
    inside: Any = []
    if isinstance(value, dict):
        if "type" in value:
            yield value
        inside = value.values()
    elif isinstance(value, list):
        inside = value
    for each in inside:
        yield from _steps(each)


@contextmanager
def tokenizer_problems(where: str) -> Iterator[None]:
    """Turn exceptions of the library for tokenizers into a UserError that begins with ``where``.

    Where its code gives up, it raises a PanicException, which is no Exception.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"{where} ({type(error).__name__}: {reason})") from error
