"""What a claim is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, nan

from attnlag.claims.numbers import interval


@dataclass(frozen=True)
class Claim:
    """A statement about tables, with the numbers that are shown beside it."""

    sentence: str
    value: float = nan
    low: float = nan  # ends of its interval
    high: float = nan
    baseline: Mapping[str, str] = field(default_factory=dict)  # what to compare it with, by name
    verdict: str = ""

    @property
    def clause(self) -> str:
        """The sentence without its capital, for a line among others."""
        return self.sentence[:1].lower() + self.sentence[1:]

    @property
    def answer(self) -> str:
        """The verdict, if there is one, and the sentence."""
        return f"{self.verdict}: {self.sentence}" if self.verdict else self.sentence

    @property
    def interval(self) -> str:
        """The interval in words, "" without one."""
        return interval(self.low, self.high) if isfinite(self.low) else ""
