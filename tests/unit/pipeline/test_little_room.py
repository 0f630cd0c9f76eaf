"""A program whose disk is full leaves no module that cannot be imported."""

import marshal
import sys

from projects import ROOT, environment_of_a_user, ran


def test_no_compiled_module_is_cut_off(tmp_path):
    """No file may have more than 4 kB, as if the disk were full; Python reports no error."""
    environment = {**environment_of_a_user(), "PYTHONPYCACHEPREFIX": str(tmp_path)}
    # Python's own modules are compiled long before.
    for limit, names in (
        ("unlimited", "resource, shutil, typing"),
        ("4", "attnlag.pipeline.program"),
    ):
        command = f"ulimit -f {limit}; {sys.executable} -c 'import {names}'"
        ran(["bash", "-c", command], cwd=ROOT / "scripts", env=environment)
    for path in tmp_path.rglob("*.pyc"):
        marshal.loads(path.read_bytes()[16:])
