# The location of attnlag's own files. In its own folder, or as a module named by a path, they lie
# beside this file. If a module names a repository with github(...), Snakemake reads only the rules
# and has no public way to the other files. They are then unpacked below .snakemake/, where jobs on
# other machines have access to them too.

import os
import sys
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path


def project_folder():
    """Return attnlag's folder on this machine."""
    source = workflow.current_basedir
    if source.is_local:
        folder = Path(str(source)).parents[1]
        # Snakemake takes braces in the paths of files beside the rules for wildcards.
        if "{" in str(folder) or "}" in str(folder):
            sys.exit(
                f"error: {folder}: found braces in the folder of attnlag, expected another name"
            )
        return folder
    repository = source.hosted_repo.repo
    commit = repository.commit(source.ref).hexsha
    folder = Path(".snakemake", "attnlag", commit).absolute()
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=folder.parent) as place,
            tempfile.TemporaryFile() as packed,
        ):
            repository.archive(packed, commit, path=["CITATION.cff", "scripts", "workflow"])
            packed.seek(0)
            with tarfile.open(fileobj=packed) as archive:
                archive.extractall(place, filter="data")
            # Another process may have been faster.
            with suppress(OSError):
                Path(place).rename(folder)
    return folder


SCRIPTS = project_folder() / "scripts"
sys.path.insert(0, str(SCRIPTS))
os.environ.update(
    # Name of attnlag's folder in the shells of jobs.
    ATTNLAG="." if Path.cwd().samefile(SCRIPTS.parent) else str(SCRIPTS.parent),
    # Jobs use the interpreter that runs Snakemake, whether or not its environment is activated.
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
)
