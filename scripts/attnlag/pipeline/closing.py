"""The closing words of a run."""

from pathlib import Path

from attnlag.config.schema import Config
from attnlag.pipeline import outputs, records


def words(config: Config, storage: str | None = None) -> str:
    """Return the answers of a run and the places of its results.

    Results of a storage provider, given its prefix, are only named, not read.
    """
    (answers,) = outputs.files_of(config, name="answers.txt")
    (explorer,) = outputs.files_of(config, name="explorer.html")
    if storage:
        return f"{storage}/{answers}\n{storage}/{explorer}"
    left = records.former_shards(config)
    left = [f"of former shards, read by nothing: rm {' '.join(left)}"] if left else []
    findings = [
        path for path in outputs.files_of(config, name="findings.txt") if Path(path).exists()
    ]
    times = [Path(path).stat().st_mtime_ns for path in findings]
    if not Path(answers).exists() or Path(answers).stat().st_mtime_ns < max(times, default=0):
        # A part of the results was asked for.
        return "\n".join([*(f"findings: {path}" for path in findings), *left])
    of_comparison = [path for path in findings if path.startswith("results/comparison/")]
    texts = [Path(path).read_text(encoding="utf-8") for path in (answers, *of_comparison)]
    advice = f"Open {explorer} · everything else: findings.txt and figures/ in each folder"
    asked = [path for path in outputs.asked_for(config) if Path(path).exists()]
    return "\n".join([*texts, *asked, *left, advice])
