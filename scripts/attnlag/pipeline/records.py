"""The record of what made every result, in ``results/provenance.json``, and its check.

The record is written when a run ends, whether well or not. It says for every job which rule, which
settings, which code and which versions of packages made which files out of which others, with the
SHA-256 of all of them. There is no clock time, host name or absolute path in it, so equal inputs
give equal bytes. What did not run again keeps its entry, and so does what another configuration has
made in this folder, for as long as it is there.
"""

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from attnlag.storage.tables import read_provenance
from attnlag.storage.writing import write_text

RECORD = "results/provenance.json"

# Made from results on request, by no job.
REPORTS = ("results/report.zip", "results/report.html")

# What Snakemake leaves in a folder that a job has made.
STAMP = ".snakemake_timestamp"

# What numbers and figures may depend on.
PACKAGES = (
    *(
        "accelerate",
        "gguf",
        "huggingface_hub",
        "itables",
        "matplotlib",
        "numpy",
        "pandas",
        "pyarrow",
    ),
    *("pydantic", "safetensors", "scipy", "seaborn", "snakemake", "statsmodels", "tokenizers"),
    *("torch", "transformers"),
)


@dataclass
class Planned:
    """A job that the configuration asks for.

    Attributes
    ----------
    rule : str
    wildcards : dict
    settings : dict
        The parameters of the rule by name, those in JSON read; not the digest of its code.
    code : str
        That digest.
    inputs : dict
        Paths by the names that the record has for them: of a file outside the project, its own.
    outputs : list of str
        Files and folders.
    job : object
        Snakemake's.
    """

    rule: str
    wildcards: dict[str, str]
    settings: dict[str, Any]
    code: str
    inputs: dict[str, str]
    outputs: list[str]
    job: Any


def planned(workflow: Any) -> list[Planned]:
    """Return the jobs in the graph of a workflow of Snakemake, whether they are to run or not."""
    found = []
    for job in workflow.dag.jobs:
        if job.output:
            settings = {name: _read_setting(value) for name, value in job.params.items()}
            found.append(
                Planned(
                    rule=job.rule.name,
                    wildcards=dict(job.wildcards_dict),
                    code=settings.pop("code", ""),
                    settings=settings,
                    inputs=_named(map(str, job.input)),
                    outputs=sorted(map(str, job.output)),
                    job=job,
                )
            )
    return found


def _read_setting(value: Any) -> Any:
    """Return the value of a parameter as JSON would give it back."""
    if isinstance(value, str):
        return json.loads(value) if value.startswith("{") else str(value)
    if isinstance(value, Iterable):
        return list(map(str, value))
    return value


def _named(paths: Iterable[str]) -> dict[str, str]:
    """Return paths by name: that in the project, else the file's own behind an ellipsis."""
    named: dict[str, str] = {}
    for path in sorted(set(paths)):
        inside = os.path.relpath(path)
        name = inside if not inside.startswith("..") else f"…/{Path(path).name}"
        same = sum(1 for other in named if other.partition("#")[0] == name)
        named[f"{name}#{same + 1}" if same else name] = path
    return named


def files_in(path: str) -> list[str]:
    """Return a file, or the files in a folder, that are there, sorted."""
    if not os.path.isdir(path):
        return [path] if os.path.exists(path) else []
    files = (file for file in Path(path).rglob("*") if file.is_file() and file.name != STAMP)
    return sorted(map(str, files))


@functools.cache
def digest_of(path: str) -> str:
    """Return the SHA-256 of a file. It is read once in the life of a process."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_all(paths: Iterable[str]) -> None:
    """Have the digests of files at hand, from as many threads as there are processors."""
    sizes = {path: os.path.getsize(path) for path in paths}
    with (
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads,
        tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, desc="digests", delay=2) as bar,
    ):
        # The largest first, so that no thread is left with one at the end.
        order = sorted(sizes, key=lambda path: -sizes[path])
        for path, _ in zip(order, threads.map(digest_of, order), strict=True):
            bar.update(sizes[path])


def read(path: str | Path = RECORD) -> dict[str, Any] | None:
    """Return the record, or None where there is none."""
    path = Path(path)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write(workflow: Any, path: str | Path = RECORD) -> None:
    """Write the record of what the folder holds, when a run has come to its end.

    Entries are made anew for the jobs of this run and of an earlier one that was killed before it
    could record them. A file that was changed by hand since it was made keeps the entry that it
    has, and gets none if it has none: the record is of what jobs made. Where there is nothing to
    record, nothing is written.
    """
    old = read(path) or {"jobs": [], "environments": {}}
    since = os.path.getmtime(path) if os.path.exists(path) else 0.0
    kept = {file: job for job in old["jobs"] for file in job["outputs"]}
    jobs = planned(workflow)
    fresh = [job for job in jobs if _is_fresh(workflow, job, kept, since)]
    outputs = {job.outputs[0]: sum(map(files_in, job.outputs), []) for job in fresh}
    read_all(
        {file for files in outputs.values() for file in files}
        | {file for job in fresh for file in job.inputs.values() if os.path.exists(file)}
    )
    environment = versions()
    name = hashlib.sha256(json.dumps(environment).encode()).hexdigest()[:12]
    entries: list[dict[str, Any]] = [
        {
            "rule": job.rule,
            "wildcards": job.wildcards,
            "settings": job.settings,
            "code": job.code,
            "environment": name,
            "inputs": {
                shown: digest_of(file) for shown, file in job.inputs.items() if os.path.exists(file)
            },
            "outputs": {
                file: {"sha256": digest_of(file), "bytes": os.path.getsize(file)}
                for file in outputs[job.outputs[0]]
            },
        }
        for job in fresh
    ]
    entries += _kept(old["jobs"], {file for entry in entries for file in entry["outputs"]}, jobs)
    if not entries and not os.path.exists(path):
        return
    entries.sort(key=lambda entry: min(entry["outputs"]))
    environments = {**old["environments"], name: environment}
    used = {entry["environment"] for entry in entries}
    made = {file for entry in entries for file in entry["outputs"]}
    record = {
        "models": dict(_models(made)),
        "corpora": dict(_corpora(made)),
        "environments": {name: environments[name] for name in sorted(used)},
        "jobs": entries,
    }
    write_text(json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n", path)


def _is_fresh(workflow: Any, job: Planned, kept: dict[str, Any], since: float) -> bool:
    """Return whether a job's files are as it made them, and the record does not know of it."""
    dag = workflow.dag
    if dag.needrun(job.job) and not dag.finished(job.job):
        return False
    if dag.finished(job.job) and dag.needrun(job.job):
        return True
    made_at = [(str(f), workflow.persistence.metadata(f)) for f in job.job.output]
    known = all(file in kept for path, _ in made_at for file in files_in(path))
    if any(metadata is None or metadata.endtime is None for _, metadata in made_at):
        return False
    if known and all(metadata.endtime <= since for _, metadata in made_at):
        return False
    return all(_is_as_made(path, metadata.endtime) for path, metadata in made_at)


def _is_as_made(path: str, made_at: float) -> bool:
    """Return whether nobody has written a file or folder since Snakemake noted its time."""
    if os.path.isdir(path):
        return all(os.path.getmtime(file) <= made_at for file in files_in(path))
    return os.path.exists(path) and os.path.getmtime(path) == made_at


def _kept(
    old: list[dict[str, Any]], anew: set[str], jobs: list[Planned]
) -> Iterator[dict[str, Any]]:
    """Yield the entries that stay, with those of their files that stay.

    A file that is gone stays on record if it is asked for, so that it is missed.
    """
    asked = {path for job in jobs for path in job.outputs}
    for entry in old:
        outputs = {
            file: facts
            for file, facts in entry["outputs"].items()
            if file not in anew and (file in asked or os.path.exists(file))
        }
        if outputs:
            yield {**entry, "outputs": outputs}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results may depend on."""
    found = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"python": platform.python_version(), **found}


def _models(made: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the revision and the digest of each model that was fetched, by name."""
    for path in map(Path, sorted(made)):
        if path.match("data/models/*/source.json") and path.exists():
            source = json.loads(path.read_text(encoding="utf-8"))
            yield path.parent.name, {key: source.get(key) for key in ("revision", "digest")}


def _corpora(made: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the digest of each corpus that was prepared, by name."""
    for path in map(Path, sorted(made)):
        if path.match("results/corpora/*.parquet") and path.exists():
            yield path.stem, read_provenance(path)["corpus"]["digest"]


def check(record: dict[str, Any], jobs: list[Planned]) -> tuple[dict[str, list[str]], int]:
    """Compare the files that are there with the record and the configuration.

    Parameters
    ----------
    record : dict
        As `read` returns it.
    jobs : list of Planned
        What the configuration asks for.

    Returns
    -------
    dict, int
        By file, what is wrong with it, in words; and how many files are on record.
    """
    plans = {file: job for job in jobs for path in job.outputs for file in files_in(path) or [path]}
    recorded = {file: entry for entry in record["jobs"] for file in entry["outputs"]}
    places = {name: path for job in jobs for name, path in job.inputs.items()}
    weights = _weights(recorded)
    inputs = {name: places.get(name, name) for entry in record["jobs"] for name in entry["inputs"]}
    present = {*recorded, *weights, *inputs.values()}
    read_all(path for path in present if os.path.exists(path))
    problems: dict[str, list[str]] = {}
    for file, entry in recorded.items():
        found = [_change_of(file, entry["outputs"][file]["sha256"])]
        # With a folder that is gone, the job is that of the folder.
        plan = plans.get(file) or plans.get(str(Path(file).parent))
        if plan:
            found += _changes_of_job(entry, plan)
        found += [
            f"made from another {name}"
            for name, sha256 in entry["inputs"].items()
            if os.path.exists(inputs[name]) and digest_of(inputs[name]) != sha256
        ]
        problems[file] = [words for words in found if words]
    for file, sha256 in weights.items():
        problems[file] = [words for words in [_change_of(file, sha256)] if words]
    folders = {str(Path(file).parent) for file in recorded}
    for file in plans:
        if file not in recorded and file not in folders:
            problems[file] = ["not in the record" if os.path.exists(file) else "not made yet"]
    for file in files_in("results"):
        if file not in recorded and file not in plans and file not in (RECORD, *REPORTS):
            problems[file] = ["not in the record"]
    return {file: found for file, found in sorted(problems.items()) if found}, len(recorded)


def _weights(recorded: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 that the files of each model had when it was fetched."""
    found = {}
    for path in map(Path, recorded):
        if path.match("data/models/*/source.json") and path.exists():
            for name, facts in json.loads(path.read_text(encoding="utf-8"))["files"].items():
                found[str(path.with_name(name))] = facts["sha256"]
    return found


def _change_of(file: str, sha256: str) -> str:
    """Return what has become of a file's content, or nothing."""
    if not os.path.exists(file):
        return "missing"
    if (now := digest_of(file)) != sha256:
        return f"its content has changed: found SHA-256 {now[:12]}…, recorded {sha256[:12]}…"
    return ""


def _changes_of_job(entry: dict[str, Any], plan: Planned) -> Iterator[str]:
    """Yield what differs between the job that made a file and the one that would make it now."""
    if entry["rule"] != plan.rule:
        yield f"made by the rule {entry['rule']}, now it would be {plan.rule}"
        return
    old, new = dict(_leaves(entry["settings"])), dict(_leaves(plan.settings))
    differing = [
        f"{key.removeprefix('settings.')}: made with {json.dumps(old.get(key))}, "
        f"the configuration says {json.dumps(new.get(key))}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
    if differing:
        yield f"its settings differ: {', '.join(differing)}"
    if entry["code"] != plan.code:
        yield f"its code differs: scripts/{plan.rule}.py or a module that it imports has changed"
    gone = sorted(entry["inputs"].keys() - plan.inputs.keys())
    added = sorted(plan.inputs.keys() - entry["inputs"].keys())
    if gone:
        yield f"made from {', '.join(gone)} too"
    if added:
        yield f"made without {', '.join(added)}"


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values in nested mappings by their dotted keys."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else name)
    else:
        yield key, value
