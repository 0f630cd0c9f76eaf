"""The list of licences holds what the packages state, and is up to date."""

import shutil
import subprocess
from pathlib import Path

from projects import ROOT
from warm_python import python

from describe_licences import required

PROGRAM = ROOT / "scripts" / "describe_licences.py"


def describe(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [python(), PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_list_is_up_to_date() -> None:
    result = describe("--check")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_stale_list_is_named_and_updated(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    path = Path(shutil.copy(ROOT / "docs" / "licences.md", tmp_path / "docs"))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("MIT", "TIM"), encoding="utf-8")
    stale = describe("--check", "--root", tmp_path)
    assert stale.returncode == 1
    assert stale.stderr.startswith(f"error: {path}: not up to date, expected what 'python ")
    assert describe("--root", tmp_path).returncode == 0
    assert path.read_text(encoding="utf-8") == text


def test_the_list_includes_indirect_dependencies() -> None:
    found = required("attnlag", set())
    # matplotlib needs it, attnlag does not.
    assert {"numpy", "snakemake", "kiwisolver"} <= found
    assert not {"pytest", "playwright", "moto"} & found
