"""Digests of the code that computes a stage's results, so that a change in it reruns the stage.

A digest covers the bytes of the stage's program and of the packages and modules that `STAGES` lists
for it. What only reads, writes, names or explains (``errors.py``, ``escaping.py``,
``config/``, ``pipeline/``, most of ``storage/``) is in none, nor are the version, ``section.py``
and the ``settings.py`` of a package, which has classes of keys alone: their values are parameters
of the rules. Bytes are the same in every Python; a comment counts as code does, and ``snakemake
--touch`` keeps results that a change does not concern.
"""

import functools
import hashlib
from pathlib import Path

from attnlag.figures.catalogue import figures
from attnlag.pipeline.stages import FIGURES, STAGES

# Part of every digest. Raise it when `storage/` writes files that others would read differently.
FILE_FORMAT = 2

SUFFIXES = (".py", ".bib", ".css", ".html", ".js", ".md")


def stage_files(stage: str, scripts: Path) -> list[Path]:
    """Return the files whose bytes make the digest of a stage, sorted.

    The stages that draw share the program draw_figures; each has its figures, and none of the
    others'.
    """
    library = scripts / "attnlag"
    draws = STAGES[stage].code is FIGURES
    program = "draw_figures" if draws else stage
    files = {scripts / f"{program}.py"}
    for listed in STAGES[stage].code:
        files.update(_files(library, listed))
    if draws:
        files -= {each.module for each in figures(library / "figures") if each.drawn_by != stage}
    return sorted(files)


@functools.cache
def _files(library: Path, listed: str) -> frozenset[Path]:
    """Return the files of a package, of a module, or of a pattern of modules."""
    is_package = (library / listed).is_dir()
    found = library.glob(f"{listed}/**/*" if is_package else listed)
    code = {path for path in found if path.suffix in SUFFIXES and path.name != "settings.py"}
    if not code:
        raise FileNotFoundError(library / listed)
    return frozenset(code)


@functools.cache
def _described(path: Path, scripts: Path) -> bytes:
    """Return the name, the size and the content of a file; many stages share most files."""
    content = path.read_bytes()
    return f"{path.relative_to(scripts).as_posix()} {len(content)}\n".encode() + content


def code_digests(scripts: Path) -> dict[str, str]:
    """Return the SHA-256 over the code of each stage by its name.

    Names and contents count; the location and the time stamps of the checkout do not.
    """
    _described.cache_clear()
    _files.cache_clear()
    digests = {}
    for stage in STAGES:
        digest = hashlib.sha256(f"format {FILE_FORMAT}\n".encode())
        for path in stage_files(stage, scripts):
            digest.update(_described(path, scripts))
        digests[stage] = digest.hexdigest()
    return digests
