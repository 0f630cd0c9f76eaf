"""Pages that programs generate from the code: rewriting them, or checking that they are current."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from attnlag.storage.writing import write_text


def write_or_check(description: str | None, pages: Callable[[Path], dict[Path, str]]) -> None:
    """Write the pages that are out of date, or with --check name them and end with status 1.

    ``pages`` returns the content of each page by path, given the project's folder.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; name the files that are not up to date"
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(__file__).parents[3],
        metavar="FOLDER",
        help="the project's folder, by default that of this program",
    )
    arguments = parser.parse_args()
    stale = [
        (path, text)
        for path, text in pages(arguments.root).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if arguments.check and stale:
        program = Path(sys.argv[0]).name
        sys.exit(
            "\n".join(
                f"error: {path}: not up to date, expected what 'python scripts/{program}' writes"
                for path, _ in stale
            )
        )
    for path, text in stale:
        write_text(text, path)
