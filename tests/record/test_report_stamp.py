"""STAMP folders: one each, never overwritten, whole or not there, verifiable."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbbench.errors import EvidenceError, HostError
from nbbench.record import atomic, stamp
from nbbench.record.stamp import (
    CHECKSUMS,
    STAMP_PATTERN,
    create_folder,
    seal,
    utc_stamp,
    verify_folder,
    write_folder,
)

NOW = datetime(2025, 10, 15, 11, 35, 31, 999_999, tzinfo=UTC)


def test_a_stamp_is_utc_whatever_the_zone() -> None:
    assert utc_stamp(NOW) == "20251015T113531Z"
    assert utc_stamp(NOW.astimezone(timezone(timedelta(hours=-7)))) == "20251015T113531Z"
    with pytest.raises(ValueError, match="zone"):
        utc_stamp(NOW.replace(tzinfo=None))


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(2024, 1, 1), max_value=datetime(2100, 1, 1)), st.integers(-23, 23))
def test_every_stamp_reads_back(moment: datetime, hours: int) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    text = utc_stamp(zoned)
    assert STAMP_PATTERN.fullmatch(text)
    assert datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) == zoned.replace(microsecond=0)


def test_the_folder_is_where_the_layout_wants_it(tmp_path: Path) -> None:
    folder = create_folder(tmp_path / "phase_d" / "20251015T113531Z", "CLUSTER-PERF-001", NOW)
    assert folder == tmp_path / "phase_d/20251015T113531Z/cluster_CLUSTER-PERF-001/20251015T113531Z"
    assert folder.is_dir()


def test_a_second_capture_in_one_second_gets_a_suffix(tmp_path: Path) -> None:
    first, second, third = (create_folder(tmp_path, "C", NOW) for _ in range(3))
    assert [f.name for f in (first, second, third)] == [
        "20251015T113531Z",
        "20251015T113531Z-2",
        "20251015T113531Z-3",
    ]
    assert all(STAMP_PATTERN.fullmatch(f.name) for f in (first, second, third))


def test_a_file_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cluster_C").mkdir()
    (tmp_path / "cluster_C" / "20251015T113531Z").write_text("mine")
    assert create_folder(tmp_path, "C", NOW).name == "20251015T113531Z-2"
    assert (tmp_path / "cluster_C" / "20251015T113531Z").read_text() == "mine"


def test_fifty_threads_get_fifty_folders(tmp_path: Path) -> None:
    gate = threading.Barrier(50)

    def one(_: int) -> Path:
        gate.wait()
        return create_folder(tmp_path, "CLUSTER-PERF-001", NOW)

    with ThreadPoolExecutor(50) as pool:
        folders = list(pool.map(one, range(50)))
    assert len(set(folders)) == 50
    assert len(list((tmp_path / "cluster_CLUSTER-PERF-001").iterdir())) == 50


CREATE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from nbbench.record.stamp import create_folder
now = datetime(2025, 10, 15, 11, 35, 31, tzinfo=UTC)
print(*[create_folder(Path(sys.argv[1]), "C", now) for _ in range(10)], sep="\\n")
"""


def test_processes_get_folders_of_their_own(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CREATE, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(5)]
    folders = [line for process in running for line in process.communicate()[0].splitlines()]
    assert len(set(folders)) == len(folders) == 50


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "a/b", "../x", "a..b", "/abs", "-x", "a b", "naïve", "a\n", "a\0b", "x" * 81, "a."]
)
def test_a_cluster_name_cannot_lead_elsewhere(tmp_path: Path, bad: str) -> None:
    with pytest.raises(EvidenceError, match="cluster"):
        create_folder(tmp_path, bad, NOW)
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None)
@given(st.text(max_size=30))
def test_no_cluster_name_leaves_the_root(name: str) -> None:
    root = Path("/nonexistent/root")
    try:
        folder = stamp.cluster_folder(root, name)
    except EvidenceError:
        return
    assert folder.parent == root
    assert folder.name.isascii()


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root" / "cluster_C").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EvidenceError, match="leads out"):
        create_folder(tmp_path / "root", "C", NOW)


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("x")
    with pytest.raises(HostError, match="a file stands where a folder should be"):
        create_folder(tmp_path / "root", "C", NOW)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_refusing_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(HostError, match="cannot write"):
        create_folder(tmp_path, "C", NOW)


# Bundles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return create_folder(tmp_path, "C", NOW)


def test_a_folder_passes_sha256sum(folder: Path) -> None:
    files = {"summary.md": "# µ\n", "data.json": "{}", "exit_code.txt": "0\n"}
    assert {path.name for path in write_folder(folder, files)} == {*files, CHECKSUMS}
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", CHECKSUMS], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("OK") == 3
    assert verify_folder(folder) == []


def test_nothing_is_ever_overwritten(folder: Path) -> None:
    (folder / "summary.md").write_text("first")
    with pytest.raises(EvidenceError, match=r"summary.md is there already; evidence is never overwritten"):
        write_folder(folder, {"summary.md": "second"})
    assert (folder / "summary.md").read_text() == "first"
    seal(folder)
    with pytest.raises(EvidenceError, match="finished"):
        seal(folder)


@pytest.mark.parametrize("after", range(4))
def test_a_refusal_on_the_way_takes_everything_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    files = {"a.txt": "x", "b.txt": "x", "c.txt": "x"}
    calls = iter(range(100))
    real = atomic.os.fsync

    def refuse(descriptor: int) -> None:
        # Two calls a file: its content, then its folder.
        if next(calls) >= 2 * after:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", refuse)
    with pytest.raises(HostError, match="the disk is full"):
        write_folder(folder, files)
    monkeypatch.undo()
    assert not folder.exists()
    write_folder(folder, files)
    assert verify_folder(folder) == []


def test_verification_names_every_mismatch(folder: Path) -> None:
    write_folder(folder, {name: name for name in ("a.txt", "b.txt", "c.txt")})
    (folder / "a.txt").write_text("changed")
    (folder / "b.txt").unlink()
    (folder / "late.txt").write_text("x")
    (folder / CHECKSUMS).write_text(
        (folder / CHECKSUMS).read_text() + "nonsense\n" + "0" * 64 + "  ../../etc/passwd\n"
    )
    assert verify_folder(folder) == [
        "a.txt has changed",
        "b.txt is missing",
        "sha256.txt line 4 is not a checksum of a file beside it",
        "sha256.txt line 5 is not a checksum of a file beside it",
        "late.txt is not in sha256.txt",
    ]
    (folder / CHECKSUMS).write_bytes(b"\xff\xfe")
    assert "cannot be read" in verify_folder(folder)[0]
    (folder / CHECKSUMS).unlink()
    assert verify_folder(folder) == ["sha256.txt is missing"]
    assert verify_folder(folder / "nowhere") == ["sha256.txt is missing"]
