"""The list of licences holds what the packages state, and is up to date."""

import shutil
import subprocess
import sys
from pathlib import Path

from projects import ROOT

PROGRAM = ROOT / "scripts" / "describe_licences.py"


def describe(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_list_is_up_to_date() -> None:
    result = describe("--check")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_stale_list_is_named_and_mended(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    path = Path(shutil.copy(ROOT / "docs" / "licences.md", tmp_path / "docs"))
    # Other versions than those that are installed are no matter of this list.
    (tmp_path / "requirements.txt").write_text("# a list\n-r other\ntorch>=2\nsix==1\nnumpy==2\n")
    stale = describe("--check", "--root", tmp_path)
    assert stale.returncode == 1
    assert stale.stderr.startswith(f"error: {path}: not up to date, expected what 'python ")
    assert describe("--root", tmp_path).returncode == 0
    assert describe("--check", "--root", tmp_path).returncode == 0
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line[0:1] == "|"]
    assert rows[2] == "| six | 1 | MIT |"
    assert rows[3].startswith("| numpy | 2 | BSD-3-Clause")
    assert len(rows) == 4


def test_a_package_that_is_not_there(tmp_path: Path) -> None:
    list_of = tmp_path / "requirements.txt"
    list_of.write_text("six==1\nno-such-package==1\n")
    result = describe("--root", tmp_path)
    assert result.returncode == 1
    problem = f"error: {list_of}: no-such-package is not installed; run 'make' first\n"
    assert result.stderr == problem
