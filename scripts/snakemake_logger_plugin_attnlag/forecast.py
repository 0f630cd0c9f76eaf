"""How long the rest of a run will take, from the seconds that jobs of the same rules took.

Seconds of earlier runs in the same folder count until a job of the rule has ended in this one.
"""

import itertools
import json
import time
from collections import Counter
from collections.abc import Hashable, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import fmean, geometric_mean

# Mean seconds of a job by rule, in the folder of a run.
MEMORY = Path(".snakemake/attnlag.seconds.json")

# A forecast needs this number of jobs that have ended, or an earlier run.
MIN_JOBS = 3

# Seconds of a job that does nothing.
MIN_SECONDS = 1e-3


class Forecast:
    """The jobs of a run that wait, run and have ended."""

    def __init__(self) -> None:
        self.waiting: Counter[str] = Counter()
        self.running: dict[Hashable, tuple[str, float]] = {}  # rule and begin by job
        self.seconds: dict[str, list[float]] = {}  # of jobs that have ended, by rule
        self.earlier: dict[str, float] = {}  # mean seconds by rule in earlier runs
        self.begin = time.monotonic()

    def plan(self, jobs: Mapping[str, int]) -> None:
        """Take the number of jobs to run by rule, and begin."""
        self.waiting = Counter(jobs)
        self.begin = time.monotonic()
        with suppress(OSError, ValueError):
            self.earlier = json.loads(MEMORY.read_text(encoding="utf-8"))

    def started(self, job: Hashable, rule: str) -> None:
        """Note that a job runs; one that is retried begins anew."""
        if job not in self.running:
            self.waiting[rule] -= 1
        self.running[job] = rule, time.monotonic()

    def ended(self, job: Hashable) -> None:
        """Note that a job has ended."""
        if job in self.running:
            rule, begin = self.running.pop(job)
            self.seconds.setdefault(rule, []).append(time.monotonic() - begin)

    def means(self) -> dict[str, float]:
        """Return the mean seconds of a job by rule, as far as known."""
        means = dict(self.earlier)
        for rule, seconds in self.seconds.items():
            means[rule] = fmean(seconds)
        return means

    def seconds_left(self) -> float | None:
        """Return the seconds until the last job ends, None if too little is known.

        As many jobs run at a time as did on average until now. A job of a rule of which nothing is
        known takes the geometric mean over the rules of which jobs have ended: the few that run a
        model come first, take ten times as long as others, and may have many jobs.
        """
        now = time.monotonic()
        ended = list(itertools.chain(*self.seconds.values()))
        if not ended or (len(ended) < MIN_JOBS and not self.earlier):
            return None
        means = self.means()
        means_of_this_run = [fmean(seconds) for seconds in self.seconds.values()]
        first_guess = geometric_mean(max(seconds, MIN_SECONDS) for seconds in means_of_this_run)
        left = 0.0
        spent = sum(ended)
        for rule, count in self.waiting.items():
            left += max(count, 0) * means.get(rule, first_guess)
        for rule, begin in self.running.values():
            left += max(means.get(rule, first_guess) - (now - begin), 0)
            spent += now - begin
        at_a_time = spent / max(now - self.begin, MIN_SECONDS)
        return left / max(at_a_time, 1)

    def remember(self) -> None:
        """Keep the means for the next run; where nothing can be written, it has none."""
        if self.seconds:
            with suppress(OSError):
                MEMORY.write_text(json.dumps(self.means(), sort_keys=True), encoding="utf-8")


def in_words(seconds: float) -> str:
    """Return a time in words: ``about 140 s``, ``about 4 min``, ``about 2.5 h``.

    Whole minutes begin at three, where rounding changes a time by at most a sixth.
    """
    if seconds < 175:
        return f"about {max(round(seconds, -1), 10):.0f} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
