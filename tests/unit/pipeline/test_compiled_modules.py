"""Compiled modules, which Python would truncate where no room is left."""

import os
import resource
import sys

import pytest
from projects import ROOT, ran


@pytest.mark.parametrize(("limit", "stored"), [(None, True), (100_000_000, False)])
def test_compiled_modules_are_stored_where_there_is_room_alone(limit, stored):
    """A limit of the size of files is room that is lacking, too."""
    usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual if limit is None else limit, most))

    code = "import sys, attnlag.pipeline; print(not sys.dont_write_bytecode)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = ran([sys.executable, "-c", code], env=environment, preexec_fn=limit_files)
    assert done.stdout == f"{stored}\n"
