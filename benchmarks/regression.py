"""CPU time and memory of least squares beside statsmodels and pyfixest, as ratios within one run.

    python benchmarks/regression.py                # 10^6 and 10^7 rows: minutes, 4 GB of disk
    python benchmarks/regression.py --shards 10    # and ten times the largest: 10^8 rows

Twelve layers with lags 1 and 2, documents of 200 rows, standard errors clustered by document
(CRV1). Each engine reads the same Parquet files, which the real program wrote, in a process of its
own with one thread. The peers read the columns of one layer at a time. CPU time is that of user
and system; start-up is what the same programs take for a few documents.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from attnlag.pipeline.job import text_of  # noqa: E402
from attnlag.quantities import columns  # noqa: E402
from attnlag.regression.design import covariates  # noqa: E402
from attnlag.regression.settings import DesignSettings, RegressionSettings  # noqa: E402
from attnlag.storage import tables  # noqa: E402

LAYERS = 12
LAGS = [1, 2]
# Rows of a document in the design: its first token is dropped, and two have no lags.
ROWS_PER_DOCUMENT = 200
TOKENS_PER_DOCUMENT = ROWS_PER_DOCUMENT + 3
DOCUMENTS_PER_CHUNK = 250
FEW_DOCUMENTS = 12

# Runs of the peers for a few documents, where the first reads its code from the disk.
START_UPS = 3

DRAWS = 2000

DESIGN = DesignSettings(lags=LAGS)
REGRESSION = RegressionSettings(
    fixed_effects="none", bias_correction="none", covariance="cluster-crv1", bootstrap=DRAWS
)
BOOTSTRAPPED = f"fit, {DRAWS} draws"

# Inputs of a fit with controls or classes.
NO_INPUTS = (
    *("permutations", "random_weights", "random_weights_stream"),
    *("classes", "equal_slopes", "steps"),
)

# The stages that give what the peers give. The whole program is timed beside them, with what the
# peers do not give: the second pass for residuals and their tests, groups, the bootstrap.
COMPARED = ("cross-products", "estimates")
PER_SHARD = ("cross-products",)

AGREEMENT = 1e-9


# --- data ----------------------------------------------------------------------------------


def norms_of(documents: int, random: np.random.Generator) -> np.ndarray:
    """Return float32 norms, (layers, documents x tokens): AR(2) with an effect per document."""
    shape = (LAYERS, documents)
    shocks = random.normal(scale=0.3, size=(TOKENS_PER_DOCUMENT, *shape))
    logs = np.empty_like(shocks)
    logs[:2] = shocks[:2]
    for t in range(2, len(logs)):
        logs[t] = 0.3 * logs[t - 1] + 0.1 * logs[t - 2] + shocks[t]
    logs += np.linspace(2, 4, LAYERS)[:, None] + random.normal(scale=0.2, size=shape)
    return np.exp(logs).astype(np.float32).transpose(1, 2, 0).reshape(LAYERS, -1)


def write_norms(documents: int, shards: int, path: Path) -> None:
    """Write norms of random documents as the pipeline does, a few documents at a time."""
    random = np.random.default_rng(documents)
    record = {
        "model": {"name": "random"},
        "corpus": {"name": f"{documents} documents"},
        "stages": {"tokens": {"shards": shards}},
    }
    schema = columns.schema(LAYERS)
    with tables.parquet_writer(
        path, schema.with_metadata(tables.metadata(record)), compression="zstd"
    ) as writer:
        for first in range(0, documents, DOCUMENTS_PER_CHUNK):
            count = min(DOCUMENTS_PER_CHUNK, documents - first)
            codes = np.repeat(np.arange(count, dtype=np.int32), TOKENS_PER_DOCUMENT)
            names = pa.array([f"document {first + place:07d}" for place in range(count)])
            position = np.tile(np.arange(TOKENS_PER_DOCUMENT, dtype=np.int32), count)
            values = [
                pa.DictionaryArray.from_arrays(pa.array(codes), names),
                pa.array(np.zeros_like(codes)),
                pa.array(position),
                pa.array(random.integers(50_257, size=len(codes), dtype=np.int32)),
                *map(pa.array, norms_of(count, random)),
            ]
            writer.write_table(pa.table(values, schema=schema))


def build_design(documents: int, folder: Path, shards: int = 1) -> Path:
    """Return a design of random documents, one shard of so many, by the real program."""
    name = f"{documents}_{shards}.parquet"
    norms, design = folder / f"norms_{name}", folder / f"design_{name}"
    if not design.exists():
        # In a process of its own: a child's peak is never below what its parent holds.
        writer = multiprocessing.get_context("spawn").Process(
            target=write_norms, args=(documents, shards, norms)
        )
        writer.start()
        writer.join()
        settings = {"design": DESIGN.model_dump(), "halves": False}
        none: dict[str, list[str]] = {name: [] for name in ("stream", *covariates.FILES)}
        program("build_design", none | {"norms": norms}, {"design": design}, settings)
        norms.unlink()
    return design


# --- measurement ---------------------------------------------------------------------------


@dataclass
class Usage:
    """CPU seconds, in user and system mode, and peak memory in MB of one or more processes."""

    user: float = 0.0
    system: float = 0.0
    peak: float = 0.0

    @property
    def cpu(self) -> float:
        return self.user + self.system

    def __add__(self, other: "Usage") -> "Usage":
        """Return the usage of one process after another."""
        peak = max(self.peak, other.peak)
        return Usage(self.user + other.user, self.system + other.system, peak)


def measured(command: Sequence[object]) -> Usage:
    """Run a command in a process of its own, with one thread, and return what it used."""
    threads = ("OMP", "MKL", "OPENBLAS", "NUMBA", "POLARS", "RAYON")
    environment = os.environ | {f"{name}_NUM_THREADS": "1" for name in threads}
    environment |= {"POLARS_MAX_THREADS": "1"}
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            [str(part) for part in command], env=environment, stdout=messages, stderr=messages
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            messages.seek(0)
            sys.exit(f"{messages.read().decode(errors='replace')}\n{command} failed")
    return Usage(usage.ru_utime, usage.ru_stime, usage.ru_maxrss / 1024)


def program(
    stage: str, given: dict[str, Any], made: dict[str, Path], settings: dict[str, object]
) -> Usage:
    """Run one of the real programs."""
    names = {"site": "attention", "regression": "notebook"}
    job = text_of(stage, given, made, names, json.dumps(settings))
    return measured([sys.executable, ROOT / "scripts" / f"{stage}.py", "--job", job])


def attnlag_stages(designs: Sequence[Path], folder: Path, output: Path) -> dict[str, Usage]:
    """Run the real programs over the shards of a design, and return what each stage used."""
    stages = {"cross-products": Usage()}
    beside = [folder / "design" / f"{place:04d}.parquet" for place in range(len(designs))]
    products = [folder / "crossproducts" / path.name for path in beside]
    for design, link, shard in zip(designs, beside, products, strict=True):
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.hardlink_to(design)
        script = Path(__file__).with_name("products.py")
        stages["cross-products"] += measured([sys.executable, script, design, shard])
    corpus = folder / "corpus.parquet"
    write_corpus(products, corpus)
    script = Path(__file__).with_name("estimates.py")
    stages["estimates"] = measured([sys.executable, script, products[0], output])
    for name, draws in (("fit", 0), (BOOTSTRAPPED, DRAWS)):
        tables_made = ("medians", "fits", "influence", "controls", "groups", "residuals")
        outputs = {table: folder / f"{table}.parquet" for table in tables_made}
        outputs |= {"coefficients": folder / "all" / "coefficients.parquet"}
        outputs |= {"summary": folder / "summary"}
        given: dict[str, Any] = {"crossproducts": products, "design": beside, "corpus": corpus}
        stages[name] = program(
            "fit_regression",
            given | {name: [] for name in NO_INPUTS},
            outputs | {"findings": folder / "findings.txt"},
            REGRESSION.changed(bootstrap=draws).model_dump(),
        )
    return stages


def write_corpus(products: Sequence[Path], path: Path) -> None:
    """Write the groups of the documents: one for all of them."""
    names = pa.concat_arrays(
        [
            pc.unique(pq.read_table(shard, columns=["document"])["document"].cast(pa.string()))
            for shard in products
        ]
    )
    groups = pa.array(["all"] * len(names))
    pq.write_table(pa.table({"document": names, "group": groups}), path)


def compared(stages: dict[str, Usage]) -> Usage:
    """Return what the stages took that give what the peers give."""
    return sum((stages[name] for name in COMPARED), Usage())


def median_of(run: Callable[[], dict[str, Usage]], rounds: int) -> dict[str, Usage]:
    """Return, of some rounds, the one whose CPU time is the median."""
    found = [run() for _ in range(rounds)]
    return sorted(found, key=lambda stages: compared(stages).cpu)[rounds // 2]


# --- peers ---------------------------------------------------------------------------------


def python_of(environment: Path) -> Path:
    """Return the interpreter of an environment with pyfixest, made if need be."""
    python, ready = environment / "bin" / "python", environment / ".installed"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        quiet = ["--quiet", "--disable-pip-version-check"]
        install = [python, "-m", "pip", "install", *quiet, "pyfixest", "pyarrow"]
        subprocess.run(install, check=True)
        ready.touch()
    return python


def version_of(package: str, python: Path) -> str:
    code = f"import importlib.metadata as m; print(m.version('{package}'))"
    return subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def peers_of(names: Sequence[str], environment: Path) -> dict[str, Path]:
    """Return the interpreter of each peer, and print its version."""
    pythons = {
        name: python_of(environment) if name == "pyfixest" else Path(sys.executable)
        for name in names
    }
    for name, python in pythons.items():
        print(f"{name} {version_of(name, python)}")
    return pythons


def peer(name: str, python: Path, design: Path, output: Path) -> Usage:
    """Run a peer over a design."""
    return measured([python, Path(__file__).with_name("peers.py"), name, design, output])


def disagreement(ours: Path, theirs: Path) -> float:
    """Return the largest relative difference of estimates and standard errors."""
    keys = ["layer", "term"]
    a, b = (pd.read_parquet(path).set_index(keys).sort_index() for path in (ours, theirs))
    numbers = ["estimate", "std_error"]
    return float(np.abs(a[numbers] / b[numbers] - 1).to_numpy().max())


# --- report --------------------------------------------------------------------------------


def print_usage(name: str, usage: Usage, start_up: Usage) -> None:
    print(
        f"  {name:<16} {usage.cpu:7.2f} CPU s (user {usage.user:.2f}, system {usage.system:.2f}), "
        f"{usage.cpu - start_up.cpu:7.2f} net of start-up, peak {usage.peak:6,.0f} MB"
    )


def print_stages(title: str, stages: dict[str, Usage], start_up: dict[str, Usage]) -> None:
    print(title)
    for name, usage in stages.items():
        print_usage(name, usage, start_up[name])
    print_usage("attnlag", compared(stages), compared(start_up))


def print_growth(before: tuple[int, Usage, Usage], after: tuple[int, Usage, Usage]) -> None:
    """Print how CPU time grows, 1 being linear: (rows, usage, start-up) of two sizes."""
    times = after[0] / before[0]
    raw = after[1].cpu / (times * before[1].cpu)
    net = (after[1].cpu - after[2].cpu) / (times * (before[1].cpu - before[2].cpu))
    print(
        f"CPU at {after[0]:,} rows / ({times:g} x CPU at {before[0]:,}): "
        f"{raw:.2f}, {net:.2f} net of start-up"
    )


def main(arguments: argparse.Namespace, folder: Path) -> None:
    pythons = peers_of(arguments.peers, arguments.environment)
    few = build_design(FEW_DOCUMENTS, folder)
    ours = folder / "coefficients.parquet"

    def stages_of(designs: Sequence[Path]) -> dict[str, Usage]:
        return median_of(lambda: attnlag_stages(designs, folder, ours), arguments.rounds)

    start_up = stages_of([few])
    print_stages(f"start-up ({FEW_DOCUMENTS} documents)", start_up, start_up)
    peer_start_up = {}
    for name, python in pythons.items():
        runs = [peer(name, python, few, folder / f"{name}.parquet") for _ in range(START_UPS)]
        peer_start_up[name] = sorted(runs, key=lambda usage: usage.cpu)[START_UPS // 2]
        print_usage(name, peer_start_up[name], peer_start_up[name])

    sizes: list[tuple[int, Usage, Usage]] = []
    for rows in arguments.rows:
        design = build_design(rows // ROWS_PER_DOCUMENT, folder)
        stages = stages_of([design])
        title = f"{rows:,} rows, {LAYERS} layers, {design.stat().st_size / 1e9:.2f} GB"
        print_stages(title, stages, start_up)
        own, own_start_up = compared(stages), compared(start_up)
        sizes.append((rows, own, own_start_up))
        for name, python in pythons.items():
            theirs = folder / f"{name}.parquet"
            usage = peer(name, python, design, theirs)
            print_usage(name, usage, peer_start_up[name])
            net = (usage.cpu - peer_start_up[name].cpu) / (own.cpu - own_start_up.cpu)
            apart = disagreement(ours, theirs)
            print(
                f"  {name} / attnlag: CPU {usage.cpu / own.cpu:.1f} (user alone "
                f"{usage.user / own.user:.1f}), net of start-up {net:.1f}; peak "
                f"{usage.peak / own.peak:.1f}; largest relative difference {apart:.0e}"
            )
            if not apart < AGREEMENT:
                sys.exit(f"{name} and attnlag differ by {apart:.0e}, expected {AGREEMENT:.0e}")

    if arguments.shards:
        # Shards of one content: what a shard costs does not depend on what the others hold.
        design = build_design(rows // ROWS_PER_DOCUMENT, folder, arguments.shards)
        links = [folder / f"shard_{place}.parquet" for place in range(arguments.shards)]
        for link in links:
            link.unlink(missing_ok=True)
            link.hardlink_to(design)
        rows = arguments.shards * sizes[-1][0]
        stages = attnlag_stages(links, folder, ours)
        start_up = start_up | {
            name: sum([start_up[name]] * len(links), Usage()) for name in PER_SHARD
        }
        print_stages(f"{rows:,} rows in {len(links)} shards", stages, start_up)
        sizes.append((rows, compared(stages), compared(start_up)))
    for before, after in pairwise(sizes):
        print_growth(before, after)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10**6, 10**7], metavar="N")
    parser.add_argument(
        "--shards",
        type=int,
        default=0,
        metavar="N",
        help="also so many shards, each of the last number of rows (hard links to one file)",
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="runs of attnlag; their median counts"
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=["statsmodels", "pyfixest"],
        default=["statsmodels", "pyfixest"],
    )
    parser.add_argument(
        "--environment",
        type=Path,
        default=ROOT / ".venv-bench",
        help="where pyfixest is installed, made if it is not there",
    )
    parser.add_argument("--folder", type=Path, help="keep the designs here (default: a temporary)")
    given = parser.parse_args()
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
        main(given, given.folder)
    else:
        with tempfile.TemporaryDirectory() as name:
            main(given, Path(name))
