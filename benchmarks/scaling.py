"""Time and memory of every rule as the corpus grows, and what a run takes besides its work.

    python benchmarks/scaling.py                  # hours on two cores
    python benchmarks/scaling.py --parts dry-run  # or growth, default, dry-run
    python benchmarks/scaling.py --smallest       # growth and dry-run in the smallest case

**growth**: the real workflow over generated corpora of 10⁵ and 10⁶ tokens with parts of speech,
with a tiny model with random weights. Time and the peak of memory are those at the end of a job's
log; beside the peak stands the memory that the job asks for. A rule's work is its time without that
of its program's start, which is measured without a job; it grows by 10 where it is linear in
tokens. The rules that take longest come first.

**default**: the default run, from the corpus to the figures, its model fetched before; then a rerun
after a change of ``inference``.

**dry-run**: ``snakemake -n`` for about 5,000 jobs.
"""

import argparse
import functools
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
ROOT = SUPPORT.parents[1]
sys.path.insert(0, str(SUPPORT))

import smallest  # noqa: E402
from projects import Project, copy_of_project, new_project  # noqa: E402

from attnlag.corpus.catalogue import UPOS  # noqa: E402

PARTS = ("growth", "default", "dry-run")

# Log-normal lengths of documents in words: a median of 150, a mean of 225, none over 3,000.
MEDIAN_WORDS, SPREAD, MAX_WORDS = 150, 0.9, 3000

# Bounds on the growth of memory and time.
MAX_MEMORY, MAX_TIME = 1.30, 11
# Seconds that a rule works at the largest size, if the growth of its work is to be told.
MIN_WORK = 0.3

# Starts of a program without a job; the fastest counts.
STARTS = 3

# Draws of permutations and of the bootstrap of pairs of models.
DRAWS = 50

# Shards of the corpus of the dry run: ten jobs each with the default regressions.
SHARDS = 498
# Tokens and shards of the smallest case, which shows that the programs run.
SMALLEST_SIZES = [1500, 3000]
SMALLEST_TARGET = "results/tiny/{corpus}/attention/pooled/fits.parquet"
SMALLEST_SHARDS = 2


# --- model, corpora, projects --------------------------------------------------------------


def write_corpus(tokens: int, model: Path, path: Path) -> None:
    """Write documents of words of the bundled corpus, about so many tokens of a model in all."""
    from attnlag.corpus.tokens import load_tokenizer

    lines = (ROOT / "data" / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    words = np.array(" ".join(json.loads(line)["text"] for line in lines).split())
    random = np.random.default_rng(0)
    tag_of = {word: UPOS[place % len(UPOS)] for place, word in enumerate(sorted(set(words)))}
    sample = random.choice(words, 10_000)
    per_word = len(load_tokenizer(model)(" ".join(sample), verbose=False)["input_ids"]) / 10_000
    left, number = round(tokens / per_word), 0
    with path.open("w", encoding="utf-8") as file:
        while left > 0:
            length = int(random.lognormal(np.log(MEDIAN_WORDS), SPREAD))
            length = min(max(length, 8), MAX_WORDS, max(left, 8))
            text = random.choice(words, length)
            row = {
                "id": f"document-{number:07d}",
                "genre": f"genre-{number % 5}",
                "text": " ".join(text),
                "tags": " ".join(f"{word}/{tag_of[word]}" for word in text),
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            left, number = left - length, number + 1


def default_config() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))


# --- a run, observed -----------------------------------------------------------------------


class Run(NamedTuple):
    """One call of Snakemake."""

    wall: float  # seconds
    cpu: float  # CPU seconds of all its processes
    jobs: pd.DataFrame  # as `jobs_of` returns them


def observed(project: Project, *arguments: str, starts: int = STARTS) -> Run:
    """Run snakemake in a project, and return what it and its jobs used."""
    shutil.rmtree(project.folder / "logs", ignore_errors=True)
    with tempfile.TemporaryFile() as messages:
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=project.folder,
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
        )
        # Includes children that have ended.
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        messages.seek(0)
        if status:
            sys.exit(f"{messages.read().decode(errors='replace')}\nsnakemake failed")
    return Run(wall, usage.ru_utime + usage.ru_stime, jobs_of(project, starts))


def jobs_of(project: Project, starts: int) -> pd.DataFrame:
    """Return a row for each job of the last run, from the plan of all jobs and the ends of logs.

    Columns are ``rule``, ``seconds``, ``start``, which its program takes without a job, the least
    of so many times, ``peak`` and ``asked``, in MB of memory.
    """
    rows = []
    plan = project.snakemake("--cores", "1", "-n", "--forceall", "--printshellcmds")
    for command in re.findall(r"^Shell command: (.* --log .*)", plan, re.M):
        words = shlex.split(command)
        given = dict(itertools.pairwise(words))
        log, job = project.folder / given["--log"], given["--job"]
        if not log.exists():
            continue
        text = job if job.startswith("{") else (project.folder / job).read_text("utf-8")
        ends = re.findall(r"\((\d+\.\d) s, (\S+) ([MG]B)\)$", log.read_text("utf-8"), re.M)
        seconds, amount, unit = ends[-1]
        rows.append(
            {
                "rule": json.loads(text)["stage"],
                "seconds": float(seconds),
                "start": seconds_to_start(words[words.index("--job") - 1], starts),
                "peak": float(amount.replace(",", "")) * {"MB": 1, "GB": 1000}[unit],
                "asked": int(given["--memory"]),
            }
        )
    return pd.DataFrame(rows)


@functools.cache
def seconds_to_start(program: str, times: int) -> float:
    """Return the seconds that a program takes to say what it needs, the least of some times."""
    command = [sys.executable, str(ROOT / "scripts/run.py"), program]
    taken = []
    for _ in range(times):
        begun = time.monotonic()
        subprocess.run(command, capture_output=True, check=False)
        taken.append(time.monotonic() - begun)
    return min(taken)


# --- growth --------------------------------------------------------------------------------


def smallest_study(corpus: str) -> dict[str, Any]:
    """Return a configuration of one model with one regression and no control."""
    source = {"files": [f"data/{corpus}.jsonl"], "id": "id", "text": "text", "group": "genre"}
    return {
        "models": {"tiny": {"source": "path", "path": "mine"}},
        "corpora": {corpus: source},
        "extraction": {"keep": "norms", "quantities": []},
        "regressions": {"pooled": {"lags": [1]}},
        "controls": {"permutation": None, "random_weights": None},
        "causal": None,
        "sources": None,
    }


def studied(corpus: str) -> dict[str, Any]:
    """Return a configuration of one model in which nearly every rule has a job."""
    source = {"files": [f"data/{corpus}.jsonl"], "id": "id", "text": "text", "group": "genre"}
    return {
        "models": {"tiny": {"source": "path", "path": "mine"}},
        "corpora": {corpus: {**source, "tagger": {"column": "tags"}}},
        "extraction": {"quantities": ["geometry", "heads", "surprisal"]},
        "regressions": {
            "within": {
                **default_config()["regressions"]["within"],
                "slopes_by": {"upos": "outcome"},
            },
            "surprising": {"lags": [1], "slopes_by": {"surprisal": "outcome"}},
        },
        "controls": {"permutation": {"draws": DRAWS}},
    }


def growth(
    folder: Path,
    sizes: list[int],
    study: Callable[[str], dict[str, Any]] = studied,
    target: str = "",
    starts: int = STARTS,
) -> pd.DataFrame:
    """Run a study over a corpus of each size; return a row per rule and size.

    ``target`` is the one file that is made, with ``{corpus}`` in its path; by default all are.
    Programs are started ``starts`` times without a job.
    """
    folder.mkdir()
    smallest.save_model(folder / "model")
    found = []
    project = new_project(folder / "study", folder / "model")
    for size in sizes:
        name = f"tokens-{size}"
        write_corpus(size, folder / "model", project.folder / "data" / f"{name}.jsonl")
        project.config = study(name)
        project.write_config()
        targets = [target.format(corpus=name)] if target else []
        run = observed(project, "--cores", "1", *targets, starts=starts)
        found.append(run.jobs.assign(size=size))
        rows = pq.read_metadata(
            project.folder / f"results/tiny/{name}/stream/0000.parquet"
        ).num_rows
        print(f"  {rows:,} tokens", flush=True)
    jobs = pd.concat(found)
    jobs = jobs[jobs["rule"] != "fetch_model"]
    # If a rule has several jobs, the longest and the largest count.
    jobs = jobs.groupby(["rule", "size"], sort=False).max(numeric_only=True).reset_index()
    longest = jobs.groupby("rule")["seconds"].max().sort_values(ascending=False).index
    return jobs.sort_values("rule", key=lambda rules: rules.map(longest.get_loc), kind="stable")


def print_growth(jobs: pd.DataFrame) -> None:
    """Print time and memory by rule and size, how they grow last, and the memory asked for."""
    jobs = jobs.assign(work=jobs["seconds"] - jobs["start"])
    wide = jobs.pivot(index="rule", columns="size", values=["seconds", "work", "peak", "asked"])
    print(f"{'rule':<26}{'seconds':>24}{'growth':>8}{'work':>6}{'peak MB':>24}{'growth':>8}  asked")
    for rule in jobs["rule"].unique():
        seconds, work, memory, asked = (
            wide.loc[rule][name] for name in ("seconds", "work", "peak", "asked")
        )
        before, after = seconds.index[-2:]
        longer, larger = seconds[after] / seconds[before], memory[after] / memory[before]
        net = f"{work[after] / work[before]:6.1f}" if work[after] > MIN_WORK else "     -"
        print(
            f"{rule:<26}"
            + "".join(f"{value:8.2f}" for value in seconds)
            + f"{longer:8.2f}{net}"
            + "".join(f"{value:8.0f}" for value in memory)
            + f"{larger:8.2f}{asked[after]:7.0f}"
            + ("  TIME" if longer > MAX_TIME else "")
            + ("  MEMORY" if larger >= MAX_MEMORY or memory[after] > asked[after] else "")
        )


# --- the default run -----------------------------------------------------------------------


def print_run(title: str, run: Run) -> None:
    print(
        f"{title}: {run.wall:.1f} s, {run.cpu:.1f} CPU s in {len(run.jobs)} jobs on "
        f"{os.cpu_count()} cores, of which programs start in {run.jobs['start'].sum():.1f} s",
        flush=True,
    )


def default_run(folder: Path) -> None:
    """Run the default configuration, then again with another inference."""
    project = copy_of_project(folder, default_config())
    # If it was fetched before.
    if (models := ROOT / "data" / "models").is_dir():
        shutil.copytree(models, project.folder / "data" / "models", copy_function=os.link)
    name = next(iter(project.config["models"]))
    project.run(f"data/models/{name}/source.json")
    cores = str(os.cpu_count())
    print_run("default run", observed(project, "--cores", cores))
    project.write_config(inference={"alpha": 0.1, "covariance": "cluster-jackknife"})
    again = observed(project, "--cores", cores)
    print_run("after a change of inference", again)


def dry_run(folder: Path, shards: int = SHARDS) -> None:
    """Time what Snakemake takes to plan a corpus of many shards."""
    project = copy_of_project(folder, default_config())
    prompts = project.config["corpora"]["prompts"]
    rows = (ROOT / prompts["files"][0]).read_text(encoding="utf-8").splitlines()
    with open(project.folder / "many.jsonl", "w", encoding="utf-8") as many:
        for number in range(shards):
            row = json.loads(rows[number % len(rows)])
            print(json.dumps(row | {prompts["id"]: f"document-{number:03}"}), file=many)
    corpus = {**prompts, "files": ["many.jsonl"], "shards": shards}
    project.write_config(corpora={"prompts": corpus})
    begun, times = time.monotonic(), os.times()
    plan = project.snakemake("--cores", "2", "-n", "--quiet", "rules")
    wall, now = time.monotonic() - begun, os.times()
    cpu = now.children_user + now.children_system - times.children_user - times.children_system
    jobs = int(re.findall(r"^([\d,]+) jobs to run", plan, re.M)[0].replace(",", ""))
    print(f"snakemake -n, {jobs:,} jobs: {wall:.1f} s ({cpu:.1f} CPU s)", flush=True)


def main(arguments: argparse.Namespace, folder: Path) -> None:
    if arguments.smallest:
        jobs = growth(folder / "growth", SMALLEST_SIZES, smallest_study, SMALLEST_TARGET, starts=1)
        print_growth(jobs)
        dry_run(folder / "dry-run", SMALLEST_SHARDS)
        return
    if "growth" in arguments.parts:
        jobs = growth(folder / "growth", arguments.sizes)
        jobs.to_csv(folder / "growth.csv", index=False)
        print_growth(jobs)
    if "default" in arguments.parts:
        default_run(folder / "default")
    if "dry-run" in arguments.parts:
        dry_run(folder / "dry-run")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**5, 10**6], metavar="TOKENS")
    parser.add_argument("--smallest", action="store_true", help="whether the programs run at all")
    parser.add_argument("--folder", type=Path, help="keep the projects here (default: a temporary)")
    given = parser.parse_args()
    if len(given.sizes) < 2:
        parser.error("--sizes: found one, expected at least two")
    if given.folder:
        given.folder.mkdir(parents=True)
        main(given, given.folder)
    else:
        with tempfile.TemporaryDirectory() as name:
            main(given, Path(name))
