"""Disks of a few sizes that fill up while nbbench measures, imports, exports and captures."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.torture.kills import stored_values
from tests.torture.tiny import tiny_project, tiny_subject, wrong_values

PAGE = 4096


def mounted(folder: Path, size: int) -> bool:
    """Mount a file system of `size` bytes in memory; False where that is not permitted."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def full_disks(count: int) -> dict[str, object]:
    """Run `nbbench run` on `count` disks of which each has a few pages more left than the one before; then
    make room, finish, and check every value. None where no file system may be mounted."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        base = Path(name)
        subject = base / "subject"
        commits = tiny_subject(subject)
        template = tiny_project(base / "template", subject)
        wrong: list[str] = []
        codes: dict[int, int] = {}
        for number in range(count):
            disk = base / f"disk{number}"
            disk.mkdir()
            if not mounted(disk, 64 << 20):
                return {"disks": 0, "why": "no file system may be mounted here"}
            try:
                project = type(template)(disk / "project", template.environment | {"HOME": str(base)})
                shutil.copytree(template.root, project.root, symlinks=True)
                filler = _fill(disk, leave=PAGE * (2 + 3 * number))
                done = project.run("nbbench", "run", "--limit", "2", expect=None)
                codes[done.returncode] = codes.get(done.returncode, 0) + 1
                if "Traceback" in done.stderr:
                    wrong.append(f"{number}: a traceback")
                if done.returncode == 0 and "disk is full" in done.stderr + done.stdout:
                    wrong.append(f"{number}: exit 0 on a full disk")
                filler.unlink()
                project.run("nbbench", "run")
                wrong += [f"{number}: {one}" for one in wrong_values(project, commits)]
                before = stored_values(project.root)
                project.run("nbbench", "db", "rebuild")
                if stored_values(project.root) != before:
                    wrong.append(f"{number}: the database differs from a fresh one")
            finally:
                subprocess.run(["umount", "--lazy", str(disk)], check=False)
        return {"disks": count, "exit codes": dict(sorted(codes.items())), "wrong": wrong}


def _fill(disk: Path, *, leave: int) -> Path:
    """A file that takes all but `leave` bytes of a disk."""
    free = os.statvfs(disk)
    size = free.f_bavail * free.f_frsize - leave
    path = disk / "filler"
    with path.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, size)
    return path
