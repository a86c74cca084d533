"""JSON documents are strict and versioned; files are whole or absent."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import report_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st

from nbbench.documents import document
from nbbench.errors import HostError
from nbbench.record import atomic
from nbbench.record.atomic import write_text


def strict(text: str) -> dict[str, object]:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def test_a_document_names_its_schema_first() -> None:
    text = document("run", {"a": 1}, version=3)
    assert text.startswith('{\n  "schema": "nbbench.run/3"')
    assert text.endswith("}\n")
    assert strict(document("commits", samples.COMMITS[:2]))["count"] == 2
    assert strict(document("gate", samples.GATE))["outcome"] == "regressed"


def test_payloads_that_cannot_be_a_document_are_refused() -> None:
    with pytest.raises(TypeError, match=r"int|mapping"):
        document("run", 3)
    with pytest.raises(TypeError, match="object"):
        document("run", {"a": object()})


def test_numbers_that_json_lacks_become_null() -> None:
    values = [math.nan, math.inf, -math.inf, np.float64("nan"), np.float32(1.5), np.int64(7), 0.1]
    assert strict(document("a", {"v": values}))["v"] == [None, None, None, None, 1.5, 7, 0.1]


def test_other_types_become_jsons_own() -> None:
    assert strict(document("a", {"path": Path("/a/b"), 3: "\ud800x", "when": samples.NOW})) == {
        "schema": "nbbench.a/1",
        "path": "/a/b",
        "3": "?x",
        "when": "2025-10-15T11:35:31Z",
    }


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_payload_is_strict_json(value: object) -> None:
    document("any", {"value": value}).encode("utf-8")
    assert strict(document("any", {"value": value}))["value"] == finite(value)


def finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list) else value


# Files


def test_a_file_is_replaced_whole_and_keeps_to_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_text(path, "one\n")
    write_text(path, "zwei µ\n")
    assert path.read_bytes() == "zwei µ\n".encode()
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert os.listdir(tmp_path) == ["out.json"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("step", ["fsync", "open", "replace"])
def test_a_refusal_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, step: str
) -> None:
    path = tmp_path / "out.json"
    write_text(path, "old")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os if step == "fsync" else Path, step, refuse)
    with pytest.raises(HostError, match=r"cannot write .*out\.json: ") as caught:
        write_text(path, "new")
    monkeypatch.undo()
    assert caught.value.exit_code == 2
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.json"]


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "out.json", "new")
    assert os.listdir(tmp_path) == []


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(HostError, match="a file stands where a folder should be"):
        write_text(tmp_path / "file" / "out.json", "new")
    with pytest.raises(HostError, match="the folder does not exist"):
        write_text(tmp_path / "missing" / "out.json", "new")
    (tmp_path / "folder").mkdir()
    with pytest.raises(HostError, match="a folder stands where the file should be"):
        write_text(tmp_path / "folder", "new")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_the_longest_name_allowed_can_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("n" * 255), "x")
    with pytest.raises(HostError, match="too long"):
        write_text(tmp_path / ("n" * 256), "x")


LIMITED = """
import resource, sys
from pathlib import Path
from nbbench.errors import HostError
from nbbench.record.atomic import write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
path = Path(sys.argv[1]) / "out.txt"
write_text(path, "small")
try:
    write_text(path, "x" * 100_000)
except HostError as error:
    print(error)
"""


def test_a_file_size_limit_is_a_clear_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "larger than the process may write" in done.stdout
    assert (tmp_path / "out.txt").read_text() == "small"
    assert os.listdir(tmp_path) == ["out.txt"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1024


@pytest.fixture
def small_disk(tmp_path: Path):
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a file system is not permitted here")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_disk_is_a_clear_error(small_disk: Path) -> None:
    write_text(small_disk / "out.txt", "old")
    with pytest.raises(HostError, match="the disk is full"):
        write_text(small_disk / "out.txt", "x" * 1_000_000)
    assert (small_disk / "out.txt").read_text() == "old"
    assert os.listdir(small_disk) == ["out.txt"]


def test_a_read_only_disk_is_a_clear_error(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(HostError, match="the file system is read-only"):
        write_text(small_disk / "out.txt", "new")
