"""Check that results do not depend on how a run proceeds, in their bytes or in their estimates.

    python tests/support/check_reproducibility.py               # a small model, many regressions
    python tests/support/check_reproducibility.py --configfile FILE   # any configuration

Runs the workflow in copies of the project: once as it is, and once for each way in which two runs
may differ. Each variant must keep the promise of docs/reruns.md: equal bytes of all files
below results/, or all coefficients and elasticities within a relative difference. An estimate near
zero is a small difference of large sums, so differences are relative to the estimate or to its
standard error, whichever is larger. The exit status is 1 if a promise is broken.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml
from projects import ROOT, Project, new_project, save_gpt2, save_tokenizer, write_several

# Tolerances for a small model in float32 and for any model: rounding grows with depth.
TOLERANCE, TOLERANCE_OF_ANY = 1e-6, 1e-5
# A standard error below this fraction of its estimate is rounding in float32: the elasticity of an
# adjustment with respect to itself is 1, and its standard errors come out as 1e-9.
ROUNDING = 1e-6
# Interventions that replace an adjustment by one from other documents of the shard.
OF_A_SHARD = {"mean", "resample"}
# Folders of the project that no run needs, which are not copied.
UNUSED = {"results", "logs", "benchmarks", "tests", "docs"}
# Tables of estimates, and the columns that name a row.
TABLES = {
    "*/*/*/*/coefficients.parquet": ["layer", "term"],
    "*/*/causal/elasticities.parquet": (
        "source_site source_layer target_site target_layer lag intervention alpha".split()
    ),
}


class Variant(NamedTuple):
    """A way in which a run differs from the first."""

    name: str
    # Whether all files must have equal bytes. Otherwise, estimates must agree within the tolerance.
    bytes: bool
    arguments: tuple[str, ...] = ()  # for snakemake
    change: Callable[[Project], None] = lambda project: None  # before the run
    # Returns files to be made first, in a separate run.
    first: Callable[[Project], list[str]] = lambda project: []
    may_differ: frozenset[str] = frozenset()  # interventions


def last_shards(project: Project) -> list[str]:
    """Return the outputs of the extraction for the last shard of every corpus."""
    extraction = project.config.get("extraction", {})
    folder = "activations" if extraction.get("keep", "vectors") == "vectors" else "norms"
    return [
        f"results/{model}/{corpus}/{site}/{folder}/{keys.get('shards', 1) - 1:04d}.parquet"
        for model in project.config["models"]
        for corpus, keys in project.config["corpora"].items()
        for site in extraction.get("sites", ["attention"])
    ]


def reshard(project: Project) -> None:
    """Process every corpus in three shards, or in one if there were several."""
    project.write_config(
        corpora={
            name: {**keys, "shards": 1 if keys.get("shards", 1) > 1 else 3}
            for name, keys in project.config["corpora"].items()
        }
    )


def rebatch(project: Project) -> None:
    """Compute a third as many tokens at a time."""
    for section, default in (("extraction", 4096), ("causal", 2048)):
        keys = project.config.get(section, {})
        if keys is not None:
            size = max(1, keys.get("batch_tokens", default) // 3)
            project.write_config(**{section: {"batch_tokens": size}})


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
    Variant("another number of shards", False, change=reshard, may_differ=frozenset(OF_A_SHARD)),
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
    for source in ROOT.iterdir():
        if not source.name.startswith(".") and source.name not in UNUSED:
            target = folder / "project" / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
    project = Project(folder / "project", yaml.safe_load(configfile.read_text(encoding="utf-8")))
    project.write_config()
    return project


def run(project: Project, variant: Variant) -> tuple[dict[str, bytes], pd.DataFrame]:
    """Run the workflow as a variant says; return all files and estimates, by path and row."""
    variant.change(project)
    for targets in filter(None, [variant.first(project), ["default"]]):
        result = project.snakemake(*targets, "--cores", "2", *variant.arguments)
        if result.returncode:
            sys.exit(f"{result.stdout}\nerror: {variant.name}: the run failed, see above")
    # Snakemake leaves an empty file in an output that is a folder.
    files = {
        path: content
        for path, content in project.results().items()
        if not path.endswith(".snakemake_timestamp")
    }
    tables = []
    for pattern, names in TABLES.items():
        for path in sorted((project.folder / "results").glob(pattern)):
            table = pd.read_parquet(path)
            place = path.relative_to(project.folder).as_posix()
            numbers = table[["estimate", "std_error"]]
            numbers.index = [(place, *map(str, row)) for row in table[names].values]
            tables.append(numbers)
    return files, pd.concat(tables)


def largest_difference(first: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return the largest difference, relative to the estimate or its standard error."""
    # Exact estimates, and those of one document, have no standard error for comparison.
    first = first[first["std_error"].fillna(0) > ROUNDING * first["estimate"].abs()]
    difference = (other.loc[first.index] - first).abs()
    scale = np.maximum(first["estimate"].abs(), first["std_error"])
    relative = [difference["estimate"] / scale, difference["std_error"] / first["std_error"]]
    return float(np.nanmax(relative))


def main(arguments: argparse.Namespace) -> None:
    """Run the variants and print a line for each."""
    broken = False
    with tempfile.TemporaryDirectory(prefix="attnlag-") as name:
        folder, file = Path(name), arguments.configfile
        tolerance = TOLERANCE_OF_ANY if file else TOLERANCE
        start = configured(folder, file) if file else small(folder)
        files, numbers = run(start.copy(folder / "first"), Variant("the first run", True))
        print(f"{'variant':26}{'files':>6}{'same':>6}  {'estimates':12}  {'seconds':>7}  ")
        for variant in VARIANTS:
            began = time.monotonic()
            project = start.copy(folder / "variant")
            other_files, other_numbers = run(project, variant)
            paths = {*files, *other_files}
            differing = [path for path in paths if files.get(path) != other_files.get(path)]
            compared = numbers[[not variant.may_differ & set(row) for row in numbers.index]]
            difference = largest_difference(compared, other_numbers)
            as_promised = not differing if variant.bytes else difference <= tolerance
            broken |= not as_promised
            print(
                f"{variant.name:26}{len(files):6}{len(files) - len(differing):6}  "
                f"{difference:12.1e}  {time.monotonic() - began:7.0f}  "
                f"{'as promised' if as_promised else 'NOT AS PROMISED'}",
                flush=True,
            )
            if variant.bytes and differing:
                kinds = Counter(Path(path).suffix for path in differing)
                print(f"    differ: {dict(kinds)}, such as {min(differing)}")
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
