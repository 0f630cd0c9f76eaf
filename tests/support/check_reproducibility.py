"""Check that results do not depend on how a run proceeds, in their bytes or in their estimates.

    python tests/support/check_reproducibility.py               # a small model, many regressions
    python tests/support/check_reproducibility.py --configfile FILE   # any configuration

Runs the workflow in copies of the project: once as it is, and once for each way in which two runs
may differ. Each variant must keep the promise of docs/reproducibility.md: equal bytes of all files
below results/, or all coefficients and elasticities within a relative difference. An estimate near
zero is a small difference of large sums, so differences are relative to the estimate or to its
standard error, whichever is larger. The exit status is 1 if a promise is broken.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from projects import (
    ROOT,
    Project,
    new_project,
    save_gpt2,
    save_tokenizer,
    write_several,
)

# Tolerances for a small model in float32 and for any model: rounding grows with depth.
TOLERANCE, TOLERANCE_OF_ANY = 1e-6, 1e-5
# A standard error below this fraction of its estimate is rounding in float32: the elasticity of an
# adjustment with respect to itself is 1, and its standard errors come out as 1e-9.
ROUNDING = 1e-6
# Interventions that replace an adjustment by one from other documents of the shard.
OF_A_SHARD = {"mean", "resample"}
# Folders of the project that no run needs, which are not copied.
LEFT = {"results", "logs", "benchmarks", "tests", "docs"}
# The file that Snakemake leaves in an output that is a folder.
STAMP = ".snakemake_timestamp"


@dataclass
class Variant:
    """A way in which a run differs from the first."""

    name: str
    # Whether all files must have equal bytes. Otherwise, estimates must agree within the tolerance.
    bytes: bool
    arguments: tuple[str, ...] = ()  # for snakemake
    change: Callable[[Project], None] = lambda project: None  # before the run
    # Returns files to be made first, in a separate run.
    first: Callable[[Project], list[str]] = field(default=lambda project: [])
    left_out: set[str] = field(default_factory=set)  # interventions whose effects may differ


def last_shards(project: Project) -> list[str]:
    """Return the outputs of the extraction for the last shard of every corpus."""
    extraction = project.config.get("extraction", {})
    kept = "activations" if extraction.get("keep", "vectors") == "vectors" else "norms"
    return [
        f"results/{model}/{corpus}/{site}/{kept}/{keys.get('shards', 1) - 1:04d}.parquet"
        for model in project.config["models"]
        for corpus, keys in project.config["corpora"].items()
        for site in extraction.get("sites", ["attention"])
    ]


def reshard(project: Project) -> None:
    """Process every corpus in three shards, or in one if there were several."""
    corpora = project.config["corpora"].items()
    project.write_config(
        corpora={
            name: {**keys, "shards": 1 if keys.get("shards", 1) > 1 else 3}
            for name, keys in corpora
        }
    )


def rebatch(project: Project) -> None:
    """Compute a third as many tokens at a time."""
    size = project.config.get("extraction", {}).get("batch_tokens", 4096)
    project.write_config(extraction={"batch_tokens": max(1, size // 3)})
    if project.config.get("causal", {}) is not None:
        size = project.config.get("causal", {}).get("batch_tokens", 2048)
        project.write_config(causal={"batch_tokens": max(1, size // 3)})


VARIANTS = [
    Variant("the same once more", True),
    Variant("one core", True, ("--cores", "1")),
    Variant(
        "one thread for a model",
        True,
        ("--set-threads", "extract_activations=1", "estimate_effects=1"),
    ),
    Variant("the last shard first", True, first=last_shards),
    Variant("other batches", False, change=rebatch),
    Variant("another number of shards", False, change=reshard, left_out=OF_A_SHARD),
]


def small(folder: Path) -> Project:
    """Return a project with a random model, three shards and regressions of every kind."""
    model = folder / "model"
    save_tokenizer(model)
    save_gpt2(model)
    project = new_project(folder / "project", model)
    write_several(project, shards=3)
    project.write_config(
        extraction={"keep": "vectors", "batch_tokens": 200},
        causal={"batch_tokens": 200},
        figures={"formats": ["svg", "png"]},
    )
    return project


def configured(folder: Path, configfile: Path) -> Project:
    """Return a copy of this project with another configuration, and the models fetched before."""
    names = [path.name for path in ROOT.iterdir() if not path.name.startswith(".")]
    for name in sorted(set(names) - LEFT):
        source, target = ROOT / name, folder / "project" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
    project = Project(folder / "project", yaml.safe_load(configfile.read_text(encoding="utf-8")))
    project.write_config()
    return project


def run(project: Project, variant: Variant) -> None:
    """Run the workflow as a variant says; end the program if the run fails."""
    variant.change(project)
    for targets in filter(None, [variant.first(project), ["default"]]):
        result = project.snakemake(*targets, "--cores", "2", *variant.arguments)
        if result.returncode:
            sys.exit(f"{result.stdout}\nerror: {variant.name}: the run failed, see above")


def differing(one: dict[str, bytes], two: dict[str, bytes]) -> list[str]:
    """Return the files that differ between two results or are missing from one."""
    return sorted(
        path for path in {*one, *two} if not path.endswith(STAMP) and one.get(path) != two.get(path)
    )


TABLES = {
    "coefficients": ("*/*/*/*", ["layer", "term"]),
    "elasticities": (
        "*/*/causal",
        ["source_site", "source_layer", "target_site", "target_layer", "lag"]
        + ["intervention", "alpha"],
    ),
}


def estimates(project: Project) -> dict[str, pd.DataFrame]:
    """Return the estimates and standard errors of all tables of each kind, by file and row."""
    found = {}
    for kind_of_table, (folders, names) in TABLES.items():
        parts = []
        for path in sorted(project.folder.glob(f"results/{folders}/{kind_of_table}.parquet")):
            table = pd.read_parquet(path)
            place = path.relative_to(project.folder).as_posix()
            numbers = table[["estimate", "std_error"]]
            numbers.index = [(place, *map(str, row)) for row in table[names].values]
            # Exact estimates, and those of one document, have no standard error for comparison.
            least = ROUNDING * numbers["estimate"].abs()
            parts.append(numbers[numbers["std_error"].fillna(0) > least])
        if parts:
            found[kind_of_table] = pd.concat(parts)
    return found


def largest_difference(one: pd.DataFrame, two: pd.DataFrame) -> float:
    """Return the largest difference, relative to the coefficient or its standard error."""
    two = two.loc[one.index]
    scale = np.maximum(one["estimate"].abs(), one["std_error"])
    errors = (two["std_error"] - one["std_error"]).abs() / one["std_error"]
    return float(
        np.nanmax([((two["estimate"] - one["estimate"]).abs() / scale).max(), errors.max()])
    )


def without(numbers: pd.DataFrame, interventions: set[str]) -> pd.DataFrame:
    """Return the estimates of all but some interventions."""
    return numbers[[not interventions & set(row) for row in numbers.index]]


def kind(path: str) -> str:
    """Return the kind of a file, as the printed table counts it."""
    suffix = Path(path).suffix.removeprefix(".")
    return {"csv": "tables", "parquet": "tables"}.get(suffix, suffix)


def main(arguments: argparse.Namespace) -> None:
    """Run the variants and print a line for each."""
    broken = False
    with tempfile.TemporaryDirectory(prefix="attnlag-") as name:
        folder = Path(name)
        file = arguments.configfile
        tolerance = TOLERANCE_OF_ANY if file else TOLERANCE
        start = configured(folder, file) if file else small(folder)
        first = start.copy(folder / "first")
        run(first, Variant("the first run", True))
        results, numbers = first.results(), estimates(first)
        count = sum(not path.endswith(STAMP) for path in results)
        print(f"{'variant':26}{'files':>6}{'same':>6}  {'estimates':12}  {'seconds':>7}  ")
        for variant in VARIANTS:
            began = time.monotonic()
            project = start.copy(folder / "variant")
            run(project, variant)
            other = differing(results, project.results())
            found = estimates(project)
            difference = max(
                largest_difference(without(table, variant.left_out), found[name])
                for name, table in numbers.items()
            )
            kept = not other if variant.bytes else difference <= tolerance
            broken |= not kept
            words = "as promised" if kept else "NOT AS PROMISED"
            print(
                f"{variant.name:26}{count:6}{count - len(other):6}  {difference:12.1e}  "
                f"{time.monotonic() - began:7.0f}  {words}",
                flush=True,
            )
            if variant.bytes and other:
                kinds: dict[str, Any] = {}
                for path in other:
                    kinds.setdefault(kind(path), []).append(path)
                for name, paths in sorted(kinds.items()):
                    print(f"    {name}: {len(paths)} differ, such as {paths[0]}")
            shutil.rmtree(project.folder)
    if broken:
        sys.exit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--configfile", type=Path, metavar="FILE", help="a configuration of this project"
    )
    main(parser.parse_args())
