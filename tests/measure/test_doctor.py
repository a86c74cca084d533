"""`nbbench doctor` on a made-up machine, and the machine's facts from a made-up /proc."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from nbbench.cli.app import App
from nbbench.cli.doctor import checks_blocks, doctor
from nbbench.config import Settings
from nbbench.errors import HostError
from nbbench.measure import doctor as room
from nbbench.measure.doctor import DoctorCheck, Level, run_checks, sample_others, worst
from nbbench.measure.machine import UNKNOWN_FACT, Host, machine_facts, torch_env_text, torch_versions
from nbbench.probe import resources
from nbbench.report.text import Terminal, as_text

GIB = 1024**3
FILES = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Example CPU @ 3 GHz\nflags\t\t: fpu hypervisor sse\n",
    "proc/self/cgroup": "0::/user.slice/job\n",
    "sys/fs/cgroup/user.slice/job/cpu.max": "max 100000\n",
    "sys/fs/cgroup/user.slice/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/user.slice/memory.max": "4294967296\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu0/cache/index0/level": "1\n",
    "sys/devices/system/cpu/cpu0/cache/index0/type": "Instruction\n",
    "sys/devices/system/cpu/cpu0/cache/index0/size": "32K\n",
    "sys/devices/system/cpu/cpu0/cache/index1/level": "1\n",
    "sys/devices/system/cpu/cpu0/cache/index1/type": "Data\n",
    "sys/devices/system/cpu/cpu0/cache/index1/size": "48K\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine made of files."""
    folder = tmp_path / "machine"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


class Machine:
    """A project and a machine where nothing would spoil a measurement; tests change what they want."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, files: Path) -> None:
        self.patch, self.folder, self.host = monkeypatch, folder, Host(files)
        self.settings = Settings(
            root=folder,
            threads=1,
            branch="feature/spec-based-2",
            profile={"reference": {"variable": "NB_C_BIN", "source": "x.c"}},
        )
        program = folder / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        self.environ = {"NB_C_BIN": str(program)}
        self.settings.subject_git.mkdir(parents=True)
        for name, value in {
            "git_text": lambda *_, **__: "git version 2.39.5",
            "torch_versions": lambda: {"asv": "0.6.6", "torch": "2.13.0"},
            "open_subject": lambda settings: None,
            "sample_others": lambda seconds: (0.02, 0.0),
            "usable_cores": lambda: 8,
        }.items():
            monkeypatch.setattr(room, name, value)
        usage = namedtuple("usage", "total used free")(100 * GIB, 50 * GIB, 50 * GIB)
        monkeypatch.setattr(room.shutil, "disk_usage", lambda path: usage)
        monkeypatch.setattr(room.psutil, "virtual_memory", lambda: SimpleNamespace(available=16 * GIB))
        monkeypatch.setattr(room.psutil, "swap_memory", lambda: SimpleNamespace(used=0))
        monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
        monkeypatch.setattr(room.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=None))

    def write(self, path: str, text: str) -> None:
        (self.host.root / path).write_text(text)

    def checks(self) -> list[DoctorCheck]:
        return run_checks(self.settings, self.environ, host=self.host)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path) -> Machine:
    return Machine(monkeypatch, tmp_path, root)


def answers(**found):
    """Have functions of the room give these values."""
    return lambda here: [
        here.patch.setattr(room, name, lambda *_, value=value, **__: value) for name, value in found.items()
    ]


def refuses(name: str, error: Exception):
    def refuse(*_, **__):
        raise error

    return lambda here: here.patch.setattr(room, name, refuse)


def no_branch(here: Machine) -> None:
    def git(repository, arguments, **_):
        if repository is not None:
            raise HostError("no such branch")
        return "git version 2"

    here.patch.setattr(room, "git_text", git)


def full_disk(here: Machine) -> None:
    usage = namedtuple("usage", "total used free")(GIB, GIB // 2, GIB // 2)
    here.patch.setattr(room.shutil, "disk_usage", lambda path: usage)


def memory(name: str, **fields: int):
    return lambda here: here.patch.setattr(room.psutil, name, lambda: SimpleNamespace(**fields))


def no_mallopt(here: Machine) -> None:
    here.patch.setattr(room.ctypes, "CDLL", lambda name: SimpleNamespace())


GOVERNOR, HUGE = list(FILES)[5], list(FILES)[-1]
SHALLOW = HostError("a shallow clone", hint="git fetch --unshallow")
# what is wrong, the check that must say so, how bad it is, a word of the remedy
SPOILED = [
    (answers(torch_versions={"torch": "2"}), "asv", Level.FAIL, "asv==0.6"),
    (answers(torch_versions={"asv": "0.7.1", "torch": "2"}), "asv", Level.FAIL, "asv==0.6"),
    (answers(torch_versions={"asv": "0.6.0"}), "torch", Level.FAIL, "install torch"),
    (lambda here: here.settings.subject_git.rmdir(), "subject", Level.FAIL, "nbbench subject demo"),
    (no_branch, "subject", Level.FAIL, "branch"),
    (refuses("open_subject", SHALLOW), "subject", Level.FAIL, "--unshallow"),
    (lambda here: here.settings.results_dir.write_text(""), "folder results", Level.FAIL, "permissions"),
    (lambda here: here.environ.pop("NB_C_BIN"), "NB_C_BIN", Level.WARN, "export NB_C_BIN"),
    (lambda here: here.environ.update(NB_C_BIN="/x"), "NB_C_BIN", Level.FAIL, "correct NB_C_BIN"),
    (answers(sample_others=(0.5, 0.0)), "other load", Level.WARN, "pause"),
    (answers(sample_others=(0.0, 0.05)), "steal", Level.WARN, "dedicated host"),
    (answers(usable_threads=3), "cpu quota", Level.WARN, "set threads to 1"),
    (lambda here: here.write(GOVERNOR, "powersave\n"), "governor", Level.WARN, "cpupower"),
    (memory("virtual_memory", available=GIB), "memory", Level.WARN, "free memory"),
    (memory("swap_memory", used=GIB), "swap", Level.WARN, "swapoff"),
    (lambda here: here.write(HUGE, "[always] madvise never\n"), "huge pages", Level.WARN, "madvise"),
    (lambda here: here.patch.setattr(platform, "libc_ver", lambda: ("", "")), "libc", Level.WARN, "glibc"),
    (no_mallopt, "libc", Level.WARN, "glibc"),
]


def test_a_quiet_machine_has_no_remedies(here: Machine) -> None:
    checks = here.checks()
    assert [check for check in checks if check.level is not Level.OK or check.remedy] == []
    assert len(checks) == len({check.name for check in checks}) == 16
    assert worst(checks) is Level.OK


@pytest.mark.parametrize(("spoil", "name", "level", "remedy"), SPOILED)
def test_each_trouble_is_named_with_its_remedy(
    here: Machine, spoil, name: str, level: Level, remedy: str
) -> None:
    spoil(here)
    checks = here.checks()
    bad = [check for check in checks if check.level is not Level.OK]
    assert [(check.name, check.level) for check in bad] == [(name, level)]
    assert remedy in bad[0].remedy
    assert worst(checks) is level


def test_what_names_several_places(here: Machine) -> None:
    full_disk(here)
    refuses("git_text", HostError("git is not installed"))(here)
    failed = [check.name for check in here.checks() if check.level is Level.FAIL]
    assert failed == ["git", "subject", "folder results", "folder .nbbench"]


def test_facts_that_are_hidden_are_not_held_against_the_machine(here: Machine, tmp_path: Path) -> None:
    here.host = Host(tmp_path / "nothing")
    assert worst(here.checks()) is Level.OK


def test_looking_leaves_no_file_behind(here: Machine) -> None:
    before = sorted(here.folder.rglob("*"))
    here.checks()
    assert sorted(here.folder.rglob("*")) == before


def test_findings_are_aligned_and_counted() -> None:
    checks = [DoctorCheck("git", Level.OK, "fine"), DoctorCheck("huge pages", Level.WARN, "on", "off")]
    assert as_text(checks_blocks(checks)).splitlines() == [
        "Measuring is possible; the warnings widen intervals or leave criteria open (0 fail, 1 warn).",
        "",
        "  - ok git: fine",
        "  - warn huge pages: on -> off",
    ]
    assert as_text(checks_blocks([])) == "Nothing here would spoil a measurement (0 fail, 0 warn)."
    assert "\x1b[33m" in as_text(checks_blocks(checks), Terminal(colour=True))


def invoke(here: Machine, *, json_out: bool = False, quiet: bool = False):
    app = App(json=json_out, quiet=quiet, _settings=here.settings)
    return CliRunner().invoke(doctor, ["--sample", "0.05"], obj=app, env=here.environ, standalone_mode=False)


def test_the_command_passes_where_measuring_is_possible(here: Machine) -> None:
    answers(sample_others=(0.0, 0.5))(here)
    result = invoke(here)
    assert result.return_value == 0, result.output
    assert "branch feature/spec-based-2" in result.output
    assert "Measuring is possible" in result.output
    assert "- ok " not in invoke(here, quiet=True).output


def test_the_command_fails_without_a_subject(here: Machine) -> None:
    here.settings.subject_git.rmdir()
    result = invoke(here, json_out=True)
    assert result.return_value == 2
    found = json.loads(result.output)
    assert (found["schema"], found["level"]) == ("nbbench.doctor/1", "fail")
    failed = [check for check in found["checks"] if check["level"] == "fail"]
    assert [check["name"] for check in failed] == ["subject"]
    assert all(check["remedy"] for check in failed)


@pytest.mark.parametrize(("cores", "asked", "threads"), [(1, 0, 1), (2, 0, 1), (64, 0, 4), (64, 9, 9)])
def test_threads_are_those_that_measuring_uses(
    monkeypatch: pytest.MonkeyPatch, here: Machine, cores: int, asked: int, threads: int
) -> None:
    """Small: neither all cores nor OMP_NUM_THREADS, which measuring overrules."""
    monkeypatch.setattr(resources, "usable_cores", lambda: cores)
    monkeypatch.setattr(room, "usable_cores", lambda: cores)
    here.settings = Settings(root=here.folder, threads=asked)
    here.environ["OMP_NUM_THREADS"] = "2"
    (check,) = (check for check in here.checks() if check.name == "threads")
    assert (check.level, check.remedy) == (Level.OK, "")
    assert check.finding == f"measuring uses {threads} of {cores} processors"
    assert not any("OMP_NUM_THREADS" in check.remedy for check in here.checks())


def test_facts_are_read_from_the_kernels_files(root: Path) -> None:
    facts = machine_facts(root)
    expected = {
        "cpu": "Example CPU @ 3 GHz",
        "l1d cache": "48 KiB",
        "l2 cache": UNKNOWN_FACT,
        "cpu quota": "1.5",
        "memory limit": "4 GiB",
        "governor": "performance",
        "transparent hugepages": "madvise",
    }
    assert {name: facts[name] for name in expected} == expected


def test_a_machine_without_files_is_unknown_and_never_an_error(tmp_path: Path) -> None:
    facts = machine_facts(tmp_path)
    assert facts["cpu"] == facts["governor"] == facts["l3 cache"] == UNKNOWN_FACT
    assert facts["cpu quota"] == facts["memory limit"] == "none"
    assert facts["python"] == sys.version.split()[0]
    assert all(isinstance(value, str) and value for value in facts.values())


@pytest.mark.parametrize(
    "text", ["", "garbage\n", "cpu a b c d e f g h\n", "\x00\xff", "max\n", "-1\n", "0 0\n"]
)
def test_garbage_in_any_file_is_survived(root: Path, text: str) -> None:
    for name in FILES:
        (root / name).write_text(text)
    assert set(machine_facts(root)) == set(machine_facts())
    run_checks(Settings(root=root), {}, host=Host(root), sample_s=0.0)


def test_others_and_steal_come_from_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, looks = iter([0.0, 1.0]), iter([(10.0, 1.0), (11.5, 1.1)])
    monkeypatch.setattr(room.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(room.kernel, "machine_times", lambda: next(looks))
    monkeypatch.setattr(room.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(room.os, "times", lambda: (0.0,) * 5)
    monkeypatch.setattr(room.time, "sleep", lambda _: None)
    assert sample_others(1.0) == (pytest.approx(1.5), pytest.approx(0.05))


# torch's environment


def fake_python(tmp_path: Path, script: str) -> str:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_torch_is_named_without_being_imported() -> None:
    code = "from nbbench.measure.machine import torch_versions; print(torch_versions())"
    code += "; import sys; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'torch'" in done.stdout
    assert torch_versions()["asv"].startswith("0.6")


def test_collect_env_is_redacted(tmp_path: Path) -> None:
    secret = "gh" + "p_" + "a1B2" * 9
    python = fake_python(tmp_path, f'echo "PyTorch version: 2.0"; echo "note: {secret}"; echo noise >&2')
    assert torch_env_text(python) == "PyTorch version: 2.0\nnote: <redacted>\n"


def test_collect_env_runs_in_the_environment_given_and_hides_its_secrets(tmp_path: Path) -> None:
    python = fake_python(tmp_path, 'echo "index: $MY_TOKEN $LANG"')
    environ = {"MY_TOKEN": "plainword", "LANG": "C", "PATH": os.environ["PATH"]}
    assert torch_env_text(python, environ=environ) == "index: <redacted> C\n"
    fallback = torch_env_text(fake_python(tmp_path, "exit 1"), versions={"torch": "1.2.3"})
    assert fallback.endswith(":\ntorch: 1.2.3\n")


@pytest.mark.parametrize(
    ("script", "reason"),
    [("echo broken >&2; exit 3", "broken"), ("exit 0", "no output"), ("exit 1", "no output")],
)
def test_a_collect_env_that_fails_gives_versions(tmp_path: Path, script: str, reason: str) -> None:
    text = torch_env_text(fake_python(tmp_path, script))
    assert text.startswith(f"# torch.utils.collect_env gave nothing ({reason})")
    assert "\nasv: 0.6" in text


def test_a_collect_env_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    marker = tmp_path / "child"
    python = fake_python(tmp_path, f"sleep 600 & echo $! > {marker}; wait")
    for timeout_s in (0.5, 5.0, 50.0, 500.0):  # on a busy machine the child begins late
        text = torch_env_text(python, timeout_s=timeout_s)
        assert f"no answer within {timeout_s:g} s" in text
        if marker.exists() and marker.read_text():
            break
    child = Path(f"/proc/{int(marker.read_text())}/stat")
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while child.read_text().rpartition(")")[2].split()[0] not in "ZX":
            time.sleep(0.01)


def test_a_python_that_does_not_exist_gives_versions() -> None:
    assert "No such file" in torch_env_text("/nonexistent/python")
