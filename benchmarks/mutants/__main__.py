"""How many random mistakes in the code the tests find.

    python benchmarks/mutants --count 200

A mutant is one small mistake; mutations.py makes them. So many are drawn, equally many of each
package and of each kind. Each is put into a copy of the tracked files of its own, and tried by the
tests in tests/unit that execute its line, those of its own package first, and the quickest first;
then by the rest of its package's tests; then, with --workflow, by those of the workflow. One run
of tests/unit with --cov-context=test says which tests execute a line, and how long they take.

What was found is added to results.jsonl in the folder, so that a run goes on where it was stopped.
"""

import argparse
import itertools
import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from mutations import Mutant, drawn, mutants_of
from trials import ROOT, Tests, make_map, outcome, package_of, tracked, warm_interpreters


def all_mutants() -> dict[str, list[Mutant]]:
    """Return the mutants of each package."""
    patterns = ["scripts/**.py", "scripts/**.js", "scripts/**.css", "scripts/**.html"]
    patterns += ["scripts/**.yaml", "workflow/**.smk", "workflow/Snakefile"]
    patterns += ["workflow/schemas/*.yaml", "profiles/**.yaml"]
    found = defaultdict(list)
    for file in tracked(*patterns):
        found[package_of(file)] += mutants_of(file, (ROOT / file).read_text("utf-8"))
    return dict(found)


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """Return the share of mutants that died, by package, as a table in Markdown."""
    frame = pd.DataFrame(rows)
    counts = pd.crosstab(frame["package"], frame["outcome"])
    counts = counts.reindex(columns=["own", "others", "survived"], fill_value=0)
    counts.loc["all"] = counts.sum()
    total = counts.sum(axis=1)
    lines = ["| package | mutants | died in own tests | in others' | survived | died |"]
    lines.append("|---|---|---|---|---|---|")
    for package, (own, others, survived) in counts.iterrows():
        share = 1 - survived / total[package]
        lines.append(
            f"| {package} | {total[package]} | {own} | {others} | {survived} | {share:.0%} |"
        )
    return "\n".join(lines)


def told(row: dict[str, Any]) -> str:
    """Return a mutant in one line: its place, and what replaces what."""
    before, after = (" ".join(row[name].split()) for name in ("before", "after"))
    return f"{row['file']}:{row['line']}: {before or '(nothing)'} → {after or '(nothing)'}"


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("file", "line", "start", "before", "after"))


def rows_in(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def chosen_mutants(packages: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """Draw mutants of these packages, or of all, and put the packages in turn.

    A run that is stopped has then tried some of each.
    """
    by_package = all_mutants()
    names = packages or sorted(by_package)
    each = -(-count // len(names))
    draws = [drawn(by_package[name], each, f"{seed} {name}") for name in names]
    rounds = itertools.zip_longest(*draws)
    return [mutant for some in rounds for mutant in some if mutant is not None]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200, help="of mutants, in all packages")
    parser.add_argument("--package", nargs="+", default=[], help="of these packages alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60, help="of the tests of a line, at most")
    parser.add_argument("--workflow", action="store_true", help="try tests/workflow too")
    parser.add_argument("--new-map", action="store_true", help="run tests/unit for the map again")
    parser.add_argument("--folder", type=Path, default=ROOT / ".mutants")
    return parser.parse_args()


def main() -> None:
    given = parsed()
    given.folder.mkdir(exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    if given.new_map or not (given.folder / "map.json").exists():
        make_map(given.folder)
    tests = Tests(given.folder / "map.json")
    results = given.folder / "results.jsonl"
    rows = rows_in(results)
    known = {key_of(row) for row in rows}
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.check_output(command, text=True).strip()
    with warm_interpreters():
        for mutant in chosen_mutants(given.package, given.count, given.seed):
            row = {"commit": commit, "package": package_of(mutant.file), **vars(mutant)}
            if key_of(row) in known:
                continue
            row |= outcome(mutant, tests, given.seconds, given.workflow)
            rows.append(row)
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{row['outcome']:9} {row['seconds']:6} s  {told(row)}  {row['by']}", flush=True)
    print(table_of(rows))
    print("\nSurvivors:")
    for row in rows:
        if row["outcome"] == "survived":
            print(told(row))


if __name__ == "__main__":
    main()
