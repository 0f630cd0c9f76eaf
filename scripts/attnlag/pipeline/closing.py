"""The closing words of a run."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from attnlag.config.schema import Config
from attnlag.figures.sizes import best_of, suffix_of
from attnlag.pipeline import records
from attnlag.pipeline.unasked import unasked_places


def words(config: Config, targets: Sequence[str], storage: str | None = None) -> str:
    """Return the answers of a run and the places of its results, given all that it makes.

    Results of a storage provider, given its prefix, are only named, not read.
    """
    answers, explorer = "results/answers.txt", "results/explorer.html"
    if storage:
        return f"{storage}/{answers}\n{storage}/{explorer}"
    left = records.former_shards(config)
    left = [f"of former shards, read by nothing: rm {' '.join(left)}"] if left else []
    others = [str(place) for place in unasked_places(config)]
    if others:
        left.append(
            f"of another configuration, read by nothing: {', '.join(others)} "
            "(snakemake remove_unasked removes them)"
        )
    left += _former_paper()
    findings = [Path(p) for p in targets if p.endswith("findings.txt") and Path(p).exists()]
    times = [path.stat().st_mtime_ns for path in findings]
    if not Path(answers).exists() or Path(answers).stat().st_mtime_ns < max(times, default=0):
        # A part of the results was asked for.
        return "\n".join([*(f"findings: {path}" for path in findings), *left])
    of_comparison = [path for path in findings if path.parts[1] == "comparison"]
    advice = f"Open {explorer} · everything else: findings.txt and figures/ in each folder"
    ending = suffix_of(best_of(config.figures.sizes))
    asked = [
        str(path)
        for folder, name in itertools.product(targets, config.figures.also)
        for path in sorted(Path(folder).glob(f"{name}{ending}.*"))
    ]
    texts = [path.read_text("utf-8") for path in (Path(answers), *of_comparison)]
    return "\n".join([*texts, *asked, *left, advice])


def _former_paper() -> list[str]:
    """Return a line if a table is newer than the paper, which is made on request."""
    paper = Path("results/paper/coefficients.tex")
    if not paper.exists():
        return []
    made = paper.stat().st_mtime_ns
    tables = Path("results").glob("*/*/*/*/coefficients.parquet")
    if all(table.stat().st_mtime_ns <= made for table in tables):
        return []
    return ["results/paper: older than the results; make paper makes it again"]
