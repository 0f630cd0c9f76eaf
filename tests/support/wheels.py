"""A wheel that holds a model."""

import zipfile
from pathlib import Path


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
