"""The closing words of a run."""

from pathlib import Path

from attnlag.config.schema import Config
from attnlag.pipeline.outputs import files_of


def words(config: Config, storage: str | None = None) -> str:
    """Return the answers of a run and the places of its results.

    Parameters
    ----------
    config : Config
    storage : str, optional
        Prefix of the storage provider of the results, which are then only named, not read.
    """
    (answers,) = files_of(config, name="answers.txt")
    (explorer,) = files_of(config, name="explorer.html")
    if storage:
        return f"{storage}/{answers}\n{storage}/{explorer}"
    if not Path(answers).exists():
        return ""
    texts = [answers, *files_of(config, name="comparison/findings.txt")]
    found = [Path(text).read_text(encoding="utf-8") for text in texts if Path(text).exists()]
    return (
        "\n".join(found)
        + f"\nOpen {explorer} · everything else: findings.txt in each folder · figures: make list"
    )
