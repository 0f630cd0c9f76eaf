"""The record of the provenance of all results, ``results/provenance.json``, and its check.

At the end of a run, successful or not, the record gets the SHA-256 of every file, the user's own
included, the versions of packages, and the configuration of the last run that made everything. What
made a table stands in the table. The record contains no clock time, host name or absolute path, so
equal inputs give equal bytes.

``python -m attnlag.pipeline.records`` is what ``make verify`` runs: it reads all files again, and a
line names each that has changed, that is missing, or that no recorded job made.
"""

import importlib.metadata
import itertools
import json
import os
import platform
import re
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import ValidationError

from attnlag.config.schema import Config
from attnlag.errors import counted
from attnlag.model.folder import IDENTIFYING, SOURCE_RECORD
from attnlag.pipeline.changes import changes
from attnlag.storage.contents import digests, remembered
from attnlag.storage.tables import METADATA_KEY
from attnlag.storage.writing import write_text

RECORD = "results/provenance.json"
# Files that no job makes: a page of the checkout, and what is made from results on request.
NOT_RECORDED = ("results/README.md", "results/report.zip", "results/report.html")
# Packages that may affect numbers and figures.
PACKAGES = (
    "accelerate gguf huggingface_hub matplotlib numpy pandas pyarrow pydantic "
    "safetensors scipy seaborn snakemake statsmodels tokenizers torch transformers"
).split()


def results() -> list[str]:
    """Return the files of results and models in this folder, sorted."""
    files = []
    for folder in ("results", "data/models"):
        for path in Path(folder).rglob("*"):
            # Hidden files belong to Snakemake or to jobs that are writing.
            is_hidden = any(name.startswith(".") for name in path.parts)
            if path.is_file() and not is_hidden:
                files.append(str(path))
    return sorted(set(files) - {RECORD, *NOT_RECORDED})


def read() -> dict[str, Any] | None:
    """Return the record, or None if there is none."""
    return json.loads(Path(RECORD).read_text(encoding="utf-8")) if os.path.exists(RECORD) else None


def former_shards(config: Config) -> list[str]:
    """Return the files of shards that a corpus no longer has, in the studies of a configuration.

    Nothing reads them, because the number of shards is on record in each. Consecutive files of a
    folder are one pattern of the shell.
    """
    runs: list[list[Path]] = []
    for model, corpus in itertools.product(config.models, config.corpora):
        for path in sorted(Path("results", model, corpus).rglob("[0-9]*.parquet")):
            if not _is_former_shard(path, config.corpora[corpus].shards):
                continue
            last = runs[-1][-1] if runs else None
            if last and last.parent == path.parent and int(path.stem) == int(last.stem) + 1:
                runs[-1].append(path)
            else:
                runs.append([path])
    patterns = []
    for run in runs:
        name = run[0].stem
        if len(run) > 1:
            name = f"{{{run[0].stem}..{run[-1].stem}}}"
        patterns.append(f"{run[0].parent}/{name}.parquet")
    return patterns


def _is_former_shard(path: Path, shards: int) -> bool:
    """Return whether a table is of a shard that a corpus of some shards does not have."""
    if not re.fullmatch(r"\d{4,}", path.stem) or int(path.stem) < shards:
        return False
    # Files of checkpoints have the number of their step.
    if path.parent.name == "revisions":
        return False
    # The name of another's file may be a number too.
    return METADATA_KEY in (pq.read_metadata(path).metadata or {})


def changed_settings(config: Config) -> list[str]:
    """Return what differs from the configuration of the last run that made everything.

    A line for each key: ``"inference.alpha: 0.05 → 0.01"``.
    """
    try:
        before = Config.model_validate((read() or {}).get("configuration", {}))
    except ValidationError:  # There is none, or it is that of another version.
        return []
    return list(changes(before.model_dump(mode="json"), config.model_dump(mode="json")))


def changed_models(config: Config) -> list[str]:
    """Return in what folders of models differ from the entries of the configuration.

    Snakemake knows no job of a folder that was copied here, and does not make it anew by itself.
    """
    lines: list[str] = []
    for name, source in config.models.items():
        path = Path("data/models", name, SOURCE_RECORD)
        # Jobs refuse what is no record.
        with suppress(FileNotFoundError, ValueError):
            made = json.loads(path.read_text(encoding="utf-8"))
            stated = source.origin()
            weights = made.get("initial_weights", {})
            if weights.get("from") == "stated" or stated["initializer_range"] is not None:
                made["initializer_range"] = weights.get("initializer_range")
            for line in changes(_identity(made), _identity(stated), f"{path}: "):
                lines.append(f"{line}; --forcerun fetch_model makes it anew")
    return lines


def _identity(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells a model from others, None for what its record does not state."""
    return {key: source.get(key) for key in (*IDENTIFYING, "initializer_range")}


def write(config: Config, begun: float = 0.0, complete: bool = False) -> None:
    """Write the record of the results in this folder at the end of a run.

    A recorded file that was not written since ``begun``, in seconds since the epoch, keeps its
    entry, so changes by hand are not recorded. The user's files are recorded when the result is
    written that is made from them. Unless the run has made everything, the record keeps the
    configuration of the last one that did.
    """
    present = results()
    if not present:
        return
    before = read() or {}
    old = before.get("files", {})
    fresh = [path for path in present if path not in old or os.path.getmtime(path) >= begun]
    digest_of = digests(fresh)
    files = {}
    for path in present:
        if path in digest_of:
            files[path] = {"sha256": digest_of[path], "bytes": os.path.getsize(path)}
        else:
            files[path] = old[path]

    environment = {"python": platform.python_version()}
    for package in PACKAGES:
        environment[package] = importlib.metadata.version(package)
    record = {
        "environment": environment,
        "files": files,
        "inputs": _recorded_inputs(config, present, set(fresh), before.get("inputs", {})),
    }
    made_with = config.model_dump(mode="json") if complete else before.get("configuration")
    if made_with:
        record["configuration"] = made_with
    write_text(json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n", RECORD)


def _recorded_inputs(
    config: Config, present: Collection[str], fresh: Collection[str], old: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the entries of the user's files from which the present results are made.

    Those of a fresh result are read again; others keep their old entry.
    """
    made_from = {}
    for model in config.models:
        made_from[f"data/models/{model}/source.json"] = config.model_files(model)
    for corpus in config.corpora:
        made_from[f"results/corpora/{corpus}.parquet"] = config.files_of(corpus)
    is_fresh = {}
    for made, paths in made_from.items():
        if made in present:
            for path in paths:
                is_fresh[os.path.relpath(path)] = made in fresh
    now = remembered(path for path in is_fresh if is_fresh[path] or path not in old)
    entries = {}
    for path in is_fresh:
        entries[path] = {"sha256": now[path]} if path in now else old[path]
    return entries


def check(record: dict[str, Any]) -> dict[str, str]:
    """Return the problems of the results and of the user's files, in words by file."""
    recorded = record["files"] | record.get("inputs", {})
    present = results()
    now = digests(recorded)
    problems = {path: "not in the record" for path in present if path not in recorded}
    for path, entry in recorded.items():
        if path not in now:
            problems[path] = "missing"
        elif now[path] != entry["sha256"]:
            problems[path] = (
                f"its content has changed: found SHA-256 {now[path][:12]}…, recorded "
                f"{entry['sha256'][:12]}…"
            )
    return dict(sorted(problems.items()))


def main() -> None:
    """Print the problems of all files on record; end with status 1 if there are any."""
    record = read()
    if record is None:
        sys.exit(f"error: found no {RECORD}: it is written when a run ends")
    problems = check(record)
    for file, problem in problems.items():
        print(f"{file}: {problem}")
    count = len(record["files"]) + len(record.get("inputs", {}))
    if problems:
        sys.exit(f"{counted(len(problems), 'file')} not as recorded, of {count} on record")
    print(f"{counted(count, 'file')} as recorded")


if __name__ == "__main__":
    main()
