"""The closing words of a run."""

import shutil
import sys
import textwrap
from pathlib import Path

from attnlag.config.schema import Config
from attnlag.pipeline.outputs import files_of


def words(config: Config, storage: str | None = None) -> str:
    """Return the findings of a run and the places of its results.

    Parameters
    ----------
    config : Config
    storage : str, optional
        Prefix of the storage provider of the results, which are then only named, not read.
    """
    lines = []
    for path in files_of(config, name="findings.txt"):
        if storage:
            lines.append(f"{storage}/{path}")
        elif Path(path).exists():
            findings = Path(path).read_text(encoding="utf-8")
            lines.append(f"{findings}  in {Path(path).parent}/")
    (explorer,) = files_of(config, name="explorer.html")
    explorer = f"{storage}/{explorer}" if storage else explorer
    if storage or Path(explorer).exists():
        lines.append(f"everything in one page, for a browser: {explorer}")
    text = "\n".join(lines)
    if not sys.stdout.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent="    ", break_on_hyphens=False)
        for line in text.split("\n")
    )
