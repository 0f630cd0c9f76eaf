"""Digests of the code that computes a stage's results, so that a change in it reruns the stage.

A digest covers the bytes of the stage's program and of the packages and modules that `CODE` lists
for it. What only reads, writes, names, explains or reports (``errors.py``, ``config/``,
``pipeline/``, most of ``storage/``) is in none, nor are the version and the ``settings.py`` of a
package, whose values are parameters of the rules. Bytes are the same in every Python; a comment
counts as code does, and ``snakemake --touch`` keeps results that a change does not concern.
"""

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

from attnlag.figures.catalogue import figures

# Part of every digest. Raise it when `storage/` writes files that others would read differently.
FILE_FORMAT = 2

SUFFIXES = (".py", ".bib", ".css", ".html", ".j2", ".js", ".md")

# Packages and modules of the library. All packages of a line run again with those above it, from
# whose results they are computed, so that to list a package whole costs little.
TABLES = ("storage/sequences.py", "storage/sums.py")
# These may use the network; the rest of the package runs models.
FETCHING = (
    *("model/checks.py", "model/fetching.py", "model/folder.py", "model/gguf*.py"),
    *("model/hub.py", "model/language_models.py", "model/offline.py", "model/tokenizer_file.py"),
    "model/wheel.py",
)
DOCUMENTS = ("corpus/documents.py", "corpus/formats.py")
TOKENS = ("corpus", "model/folder.py", "model/tokenizer_file.py", "storage/sequences.py")
PASSES = ("corpus", "model", "quantities", *TABLES)
MEANS = ("quantities", *TABLES)
REGRESSION = ("corpus", "quantities", "regression", *TABLES)
CLAIMS = ("claims", "corpus", "interventions", "quantities", "regression", *TABLES)
WORDS = (*CLAIMS, "wording.py")
FIGURES = (*WORDS, "figures")

CODE = {
    "fetch_model": FETCHING,
    "fetch_revision": FETCHING,
    "prepare_corpus": DOCUMENTS,
    "tokenize_corpus": TOKENS,
    "summarize_tokens": TOKENS,
    "describe_tokens": TOKENS,
    "extract_activations": PASSES,
    "extract_random_weights": PASSES,
    "extract_revision": PASSES,
    "trace_sources": (*PASSES, "interventions/sampling.py"),
    "compute_norms": MEANS,
    "merge_vector_sums": MEANS,
    "compute_centred_cosines": MEANS,
    "summarize_geometry": MEANS,
    "build_design": REGRESSION,
    "permute_documents": REGRESSION,
    "fit_regression": REGRESSION,
    "fit_training": REGRESSION,
    "cut_into_thirds": REGRESSION,
    "accumulate_classes": REGRESSION,
    "fit_classes": REGRESSION,
    "decompose_lags": REGRESSION,
    "summarize_heads": REGRESSION,
    "summarize_sources": REGRESSION,
    "compare_models": REGRESSION,
    "estimate_effects": (*PASSES, "interventions"),
    "fit_effects": (*REGRESSION, "interventions"),
    # The pages and the sentences of a run are made of the same claims.
    "write_findings": (*WORDS, "report/*.py"),
    "write_claims": (*CLAIMS, "report/claims_table.py", "report/regression_tables.py"),
    "write_comparison": (*WORDS, "report/*.py"),
    # The page draws the panels of figures.
    "build_explorer": (*FIGURES, "report"),
    "write_paper": (*WORDS, "report/*.py", "report/references.bib"),
    "check_fits": (*WORDS, "report/*.py"),
    # Of a figure's own module, see `stage_files`.
    "plot_adjustments": FIGURES,
    "plot_classes": FIGURES,
    "plot_comparison": FIGURES,
    "plot_effects": FIGURES,
    "plot_heads": FIGURES,
    "plot_regression": FIGURES,
    "plot_sites": FIGURES,
    "plot_sources": FIGURES,
    "plot_training": FIGURES,
}


def stage_files(stage: str, scripts: Path) -> list[Path]:
    """Return the files whose bytes make the digest of a stage, sorted.

    The stages that draw share a program that computes nothing; each has the figures that it draws,
    and none of the others'.
    """
    library = scripts / "attnlag"
    program = scripts / f"{stage}.py"
    files = {program} if program.exists() else set()
    for listed in CODE[stage]:
        files.update(_files(library, listed))
    if CODE[stage] is FIGURES:
        files -= {each.module for each in figures(library / "figures") if each.drawn_by != stage}
    return sorted(files)


@functools.cache
def _files(library: Path, listed: str) -> frozenset[Path]:
    """Return the files of an entry of `CODE`: a package, a module, or a pattern of modules."""
    is_package = (library / listed).is_dir()
    found = library.glob(f"{listed}/**/*" if is_package else listed)
    code = {path for path in found if path.suffix in SUFFIXES and path.name != "settings.py"}
    if not code:
        raise FileNotFoundError(library / listed)
    return frozenset(code)


def _described(paths: list[Path], scripts: Path) -> Iterator[bytes]:
    """Yield the name, the size and the content of files."""
    for path in paths:
        content = _read(path)
        yield f"{path.relative_to(scripts).as_posix()} {len(content)}\n".encode()
        yield content


@functools.cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


def code_digests(scripts: Path) -> dict[str, str]:
    """Return the SHA-256 over the code of each stage by its name.

    Names and contents count; the location and the time stamps of the checkout do not.
    """
    _read.cache_clear()
    _files.cache_clear()
    digests = {}
    for stage in CODE:
        digest = hashlib.sha256(f"format {FILE_FORMAT}\n".encode())
        for part in _described(stage_files(stage, scripts), scripts):
            digest.update(part)
        digests[stage] = digest.hexdigest()
    return digests
