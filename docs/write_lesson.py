"""Make the two notebooks of the lesson from docs/lesson.py: with gaps, and with the solution.

In the source a cell begins with ``# %%`` and a word that says what it is: ``[markdown]``,
``[helper]`` and ``[solution]`` (text of one notebook alone), ``gap``, a name, or nothing. A line of
a gap names what is left out of it, in its order: ``np.sqrt(x)  # gaps: sqrt x`` becomes
``np.▢(▢)``. The cell ``texts`` has the first text of each genre of data/prompts.jsonl.
"""

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GAP = "▢"
CELL = re.compile(r"^# %% ?(.*)\n", re.M)
# Keeps every character.
WRAPPER = textwrap.TextWrapper(
    width=64, expand_tabs=False, replace_whitespace=False, drop_whitespace=False
)
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebooks(root: Path) -> dict[str, str]:
    """Return the text of both notebooks, by their place in the repository."""
    source = (root / "docs/lesson.py").read_text(encoding="utf-8")
    texts = (root / "data/prompts.jsonl").read_text(encoding="utf-8")
    written = {}
    for name, solved in (("lesson", False), ("lesson_solution", True)):
        cells = list(cells_of(source, solved, texts_in_python(texts)))
        notebook = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        written[f"docs/{name}.ipynb"] = text
    return written


def cells_of(source: str, solved: bool, texts: str) -> Iterator[dict[str, Any]]:
    """Yield the cells of one of the notebooks.

    Parameters
    ----------
    source : str
        The text of docs/lesson.py.
    solved : bool
        Whether gaps are filled.
    texts : str
        The statement that makes the texts of the lesson.
    """
    left_out = "[helper]" if solved else "[solution]"
    parts = CELL.split(source)[1:]
    for number, (kind, text) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        if kind == left_out:
            continue
        named = kind in ("install", "model", "texts")
        name = kind if named else f"cell-{number}"
        cell: dict[str, Any] = {"cell_type": "code", "id": name, "metadata": {}}
        lines = text.strip("\n").splitlines()
        if kind.startswith("["):
            cell["cell_type"] = "markdown"
            lines = [line.removeprefix("#").removeprefix(" ") for line in lines]
        else:
            cell |= {"execution_count": None, "outputs": []}
        if kind == "texts":
            lines = texts.splitlines()
        if kind == "gap":
            lines = [line_of(line, solved) for line in lines]
            if not solved:
                # What comes after an open gap runs.
                cell["metadata"] = {"tags": ["raises-exception"]}
        cell["source"] = "\n".join(lines).splitlines(keepends=True)
        yield cell


def line_of(line: str, solved: bool) -> str:
    """Return a line of a cell with gaps, with or without what fills them."""
    code, _, gaps = line.partition("  # gaps: ")
    if solved:
        return code
    end = 0
    for left_out in gaps.split():
        found = re.compile(rf"(?<![\w-]){re.escape(left_out)}(?!\w)").search(code, end)
        if found is None:
            raise ValueError(f"docs/lesson.py: found no '{left_out}' in '{code.strip()}'")
        code = code[: found.start()] + GAP + code[found.end() :]
        end = found.start() + 1
    return code


def texts_in_python(lines: str) -> str:
    """Return a statement with the first text of each genre, in lines that a page can show."""
    first: dict[str, str] = {}
    for line in lines.splitlines():
        document = json.loads(line)
        first.setdefault(document["genre"], document["text"])
    statement = ["texts = {"]
    for genre, text in first.items():
        statement.append(f'    "{genre}": (')
        for piece in WRAPPER.wrap(text):
            statement.append(f"        {json.dumps(piece, ensure_ascii=False)}")
        statement.append("    ),")
    statement.append("}")
    return "\n".join(statement)
