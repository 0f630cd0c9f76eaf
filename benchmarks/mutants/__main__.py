"""How many random mistakes in the code the tests find.

    python benchmarks/mutants --count 200

A mutant is one small mistake; mutations.py makes them. So many are drawn, equally many of each
package and of each kind. Each is put into a copy of the tracked files of its own, and tried by the
tests in tests/unit that execute its line, those of its own package first, and the quickest first;
then by the rest of its package's tests; then, with --workflow, by those of the workflow: rules by
plans first, the report and its page in a browser (tests/report). One run of tests/unit with
--cov-context=test says which tests execute a line, and how long they take.

What was found is added to results.jsonl in the folder, so that a run goes on where it was stopped;
--again tries its survivors with the present tests.
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


def rows_in(path: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows of results by what identifies a mutant; the last of each counts."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {key_of(row): row for row in rows}


def present(row: dict[str, Any]) -> Mutant | None:
    """Return the mutant in the present file, whose lines may have moved; None if it is gone."""
    path = ROOT / row["file"]
    if not path.exists():
        return None
    equal = [
        mutant
        for mutant in mutants_of(row["file"], path.read_text("utf-8"))
        if (mutant.kind, mutant.before, mutant.after) == (row["kind"], row["before"], row["after"])
    ]
    return min(equal, key=lambda mutant: abs(mutant.line - row["line"]), default=None)


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
    parser.add_argument("--again", action="store_true", help="try those that survived once more")
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
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.check_output(command, text=True).strip()
    if given.again:
        survived = [row for row in rows.values() if row["outcome"] == "survived"]
        asked = [(row, present(row)) for row in survived]
    else:
        mutants = chosen_mutants(given.package, given.count, given.seed)
        described = [({"package": package_of(each.file), **vars(each)}, each) for each in mutants]
        asked = [(row, each) for row, each in described if key_of(row) not in rows]
    with warm_interpreters(), results.open("a", encoding="utf-8") as file:
        for row, mutant in asked:
            if mutant is None:
                print(f"gone: {told(row)}", flush=True)
                continue
            found = outcome(mutant, tests, given.seconds, given.workflow)
            row = row | {"commit": commit} | found
            rows[key_of(row)] = row
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"{row['outcome']:9} {row['seconds']:6} s  {told(row)}  {row['by']}", flush=True)
    print(table_of(list(rows.values())))
    print("\nSurvivors:")
    for row in rows.values():
        if row["outcome"] == "survived":
            print(told(row))


if __name__ == "__main__":
    main()
