"""The closing words of a run."""

from collections.abc import Sequence
from pathlib import Path

from attnlag.config.schema import Config
from attnlag.figures.sizes import best_of, suffix_of
from attnlag.pipeline import records
from attnlag.pipeline.unasked import unasked_places

ANSWERS = Path("results/answers.txt")
EXPLORER = Path("results/explorer.html")


def words(config: Config, targets: Sequence[str], storage: str | None = None) -> str:
    """Return the answers of a run and the places of its results, given all that it makes.

    Results of a storage provider, given its prefix, are only named, not read.
    """
    if storage:
        return f"{storage}/{ANSWERS}\n{storage}/{EXPLORER}"
    findings = [Path(path) for path in targets if path.endswith("findings.txt")]
    findings = [path for path in findings if path.exists()]
    if not _is_newest(ANSWERS, findings):
        # A part of the results was asked for.
        lines = [f"findings: {path}" for path in findings]
        return "\n".join(lines + _left_over(config))

    lines = [ANSWERS.read_text("utf-8")]
    for path in findings:
        if path.parts[1] == "comparison":
            lines.append(path.read_text("utf-8"))
    # Figures on request, in the first of their sizes.
    ending = suffix_of(best_of(config.figures.sizes))
    for folder in targets:
        for name in config.figures.also:
            lines += map(str, sorted(Path(folder).glob(f"{name}{ending}.*")))
    lines += _left_over(config)
    lines.append(f"Open {EXPLORER} · everything else: findings.txt and figures/ in each folder")
    return "\n".join(lines)


def _is_newest(file: Path, others: Sequence[Path]) -> bool:
    """Return whether a file exists and none of some others is newer."""
    if not file.exists():
        return False
    changed = file.stat().st_mtime_ns
    return all(path.stat().st_mtime_ns <= changed for path in others)


def _left_over(config: Config) -> list[str]:
    """Return a line for each kind of results that nothing reads."""
    lines = []
    former = records.former_shards(config)
    if former:
        lines.append(f"of former shards, read by nothing: rm {' '.join(former)}")
    others = ", ".join(map(str, unasked_places(config)))
    if others:
        lines.append(
            f"of another configuration, read by nothing: {others} "
            "(snakemake remove_unasked removes them)"
        )
    # Made on request.
    paper = Path("results/paper/coefficients.tex")
    tables = list(Path("results").glob("*/*/*/*/coefficients.parquet"))
    if paper.exists() and not _is_newest(paper, tables):
        lines.append("results/paper: older than the results; make paper makes it again")
    return lines
