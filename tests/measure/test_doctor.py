"""`nbbench doctor`, its checks over made-up facts, and the machine's facts from a made-up /proc."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from nbbench.cli.app import App
from nbbench.cli.doctor import checks_blocks, doctor
from nbbench.config import Settings
from nbbench.measure import doctor_facts as noise_facts
from nbbench.measure import machine
from nbbench.measure.doctor import DoctorCheck, Level, run_checks, worst
from nbbench.measure.doctor_facts import (
    CheckedFolder,
    HostFacts,
    Program,
    Spin,
    gather_facts,
    pressure,
    sample_others,
    spin,
)
from nbbench.measure.machine import (
    UNKNOWN_FACT,
    Host,
    machine_facts,
    torch_env_text,
    torch_versions,
)
from nbbench.probe import resources
from nbbench.report.text import Terminal, as_text

GIB = 1024**3
GOOD = HostFacts(
    processors=8,
    physical_cores=4,
    smt=True,
    threads=4,
    load_one=0.1,
    others=0.02,
    steal=0.0,
    pressure=0.0,
    quota=None,
    governor="performance",
    turbo=False,
    memory_available=16 * GIB,
    swap_used=0,
    hugepages="madvise",
    clock_source="tsc",
    spin=Spin(0.02, 1.4, 900),
    libc="glibc",
    mallopt=True,
    now=datetime(2025, 10, 15, tzinfo=UTC),
    folders=(CheckedFolder("/p/results", True, 50 * GIB), CheckedFolder("/p/.nbbench", True, 50 * GIB)),
    git="git version 2.39.5",
    versions={"asv": "0.6.6", "torch": "2.13.0"},
    asv_machines=("runner",),
    machine="runner",
    subject_exists=True,
    branch="feature/spec-based-2",
    branch_exists=True,
    programs=(Program("NB_C_BIN", "/opt/program", True),),
)

# what is wrong, the check that must say so, how bad it is, a word of the remedy
SPOILED = [
    ({"git": None}, "git", Level.FAIL, "install git"),
    ({"versions": {"torch": "2"}}, "asv", Level.FAIL, "asv==0.6"),
    ({"versions": {"asv": "0.7.1", "torch": "2"}}, "asv", Level.FAIL, "asv==0.6"),
    ({"versions": {"asv": "0.6.0"}}, "torch", Level.FAIL, "install torch"),
    ({"subject_exists": False}, "subject", Level.FAIL, "nbbench subject demo"),
    ({"branch_exists": False}, "subject", Level.FAIL, "branch"),
    ({"subject_problem": ("a shallow clone", "fetch --unshallow")}, "subject", Level.FAIL, "--unshallow"),
    ({"folders": (CheckedFolder("/p/results", False, GIB),)}, "folder results", Level.FAIL, "permissions"),
    ({"folders": (CheckedFolder("/p/results", True, GIB // 2),)}, "folder results", Level.FAIL, "1 GiB"),
    ({"now": datetime(1970, 1, 1, tzinfo=UTC)}, "clock", Level.FAIL, "set the clock"),
    ({"asv_machines": ()}, "asv machine", Level.WARN, "asv machine --yes --machine runner"),
    ({"programs": (Program("NB_C_BIN", "", False),)}, "NB_C_BIN", Level.WARN, "export NB_C_BIN"),
    ({"programs": (Program("NB_C_BIN", "/x", False),)}, "NB_C_BIN", Level.FAIL, "correct NB_C_BIN"),
    ({"others": 0.5}, "other load", Level.WARN, "pause"),
    ({"steal": 0.05}, "steal", Level.WARN, "dedicated host"),
    ({"pressure": 0.2}, "cpu pressure", Level.WARN, "running work"),
    ({"threads": 16}, "threads", Level.WARN, "8 or less"),
    ({"threads": 6}, "smt", Level.WARN, "set threads to 4"),
    ({"quota": 2.5}, "cpu quota", Level.WARN, "set threads to 2"),
    ({"governor": "powersave"}, "governor", Level.WARN, "cpupower"),
    ({"turbo": True}, "turbo", Level.WARN, "no_turbo"),
    ({"memory_available": GIB}, "memory", Level.WARN, "free memory"),
    ({"swap_used": GIB}, "swap", Level.WARN, "swapoff"),
    ({"hugepages": "always"}, "huge pages", Level.WARN, "madvise"),
    ({"libc": "musl"}, "libc", Level.WARN, "glibc"),
    ({"mallopt": False}, "libc", Level.WARN, "glibc"),
    ({"timer_resolution_s": 1e-3}, "timer", Level.WARN, "number"),
    ({"clock_source": "hpet"}, "timer", Level.WARN, "tsc"),
    ({"spin": Spin(0.3, 2.0, 100)}, "micro-noise", Level.WARN, "rounds"),
    ({"spin": Spin(0.02, 9.0, 100)}, "micro-noise", Level.WARN, "rounds"),
    ({"spin": None}, "micro-noise", Level.WARN, "again"),
]


def test_a_quiet_machine_has_no_remedies() -> None:
    checks = run_checks(GOOD)
    assert [check for check in checks if check.level is not Level.OK or check.remedy] == []
    assert len(checks) == len({check.name for check in checks}) >= 22
    assert worst(checks) is Level.OK


@pytest.mark.parametrize(("wrong", "name", "level", "remedy"), SPOILED)
def test_each_trouble_is_named_with_its_remedy(
    wrong: dict[str, object], name: str, level: Level, remedy: str
) -> None:
    checks = run_checks(replace(GOOD, **wrong))  # type: ignore[arg-type]
    bad = [check for check in checks if check.level is not Level.OK]
    assert [(check.name, check.level) for check in bad] == [(name, level)]
    assert remedy in bad[0].remedy
    assert worst(checks) is level


def test_facts_that_are_hidden_are_not_held_against_the_machine() -> None:
    hidden = replace(
        GOOD,
        physical_cores=None,
        smt=None,
        load_one=None,
        others=None,
        steal=None,
        pressure=None,
        governor=None,
        turbo=None,
        memory_available=None,
        swap_used=None,
        hugepages=None,
        clock_source=None,
        folders=(CheckedFolder("/p/results", True, None),),
    )
    assert worst(run_checks(hidden)) is Level.OK


def test_findings_are_aligned_and_counted() -> None:
    checks = [
        DoctorCheck("git", Level.OK, "fine"),
        DoctorCheck("micro-noise", Level.WARN, "noisy", "be quiet"),
    ]
    assert as_text(checks_blocks(checks)).splitlines() == [
        "Measuring is possible; the warnings widen intervals or leave criteria open (0 fail, 1 warn).",
        "",
        "  - ok git: fine",
        "  - warn micro-noise: noisy -> be quiet",
    ]
    assert as_text(checks_blocks([])) == "Nothing here would spoil a measurement (0 fail, 0 warn)."
    assert "\x1b[33m" in as_text(checks_blocks(checks), Terminal(colour=True))


# The command, on a machine made of facts


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`nbbench doctor` where these facts hold."""

    def run(facts: HostFacts, *arguments: str, json_out: bool = False, quiet: bool = False):
        monkeypatch.setattr(noise_facts, "gather_facts", lambda settings, environ, sample_s: facts)
        app = App(json=json_out, quiet=quiet, _settings=Settings(root=tmp_path))
        return CliRunner().invoke(doctor, list(arguments), obj=app, standalone_mode=False)

    return run


def test_the_command_passes_where_measuring_is_possible(invoke) -> None:
    result = invoke(replace(GOOD, steal=0.5))
    assert result.return_value == 0, result.output
    assert "branch feature/spec-based-2" in result.output
    assert "Measuring is possible" in result.output
    assert "- ok " not in invoke(GOOD, quiet=True).output


def test_the_command_fails_without_a_subject(invoke) -> None:
    result = invoke(replace(GOOD, subject_exists=False), json_out=True)
    assert result.return_value == 2
    found = json.loads(result.output)
    assert (found["schema"], found["level"]) == ("nbbench.doctor/1", "fail")
    failed = [check for check in found["checks"] if check["level"] == "fail"]
    assert [check["name"] for check in failed] == ["subject"]
    assert all(check["remedy"] for check in failed)


@pytest.mark.parametrize(("cores", "asked", "threads"), [(1, 0, 1), (2, 0, 1), (64, 0, 4), (64, 9, 9)])
def test_threads_are_those_that_measuring_uses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cores: int, asked: int, threads: int
) -> None:
    """Small: neither all cores nor OMP_NUM_THREADS, which measuring overrules."""
    monkeypatch.setattr(resources, "usable_cores", lambda: cores)
    monkeypatch.setattr(noise_facts, "usable_cores", lambda: cores)
    facts = gather_facts(Settings(root=tmp_path, threads=asked), {"OMP_NUM_THREADS": "2"}, sample_s=0.0)
    assert (facts.threads, facts.processors) == (threads, cores)
    (check,) = (check for check in run_checks(facts) if check.name == "threads")
    assert (check.level, check.remedy) == (Level.OK, "")
    assert check.finding == f"measuring uses {threads} of {cores} processors"
    assert not any("OMP_NUM_THREADS" in check.remedy for check in run_checks(facts))


# Gathering facts from this machine, whatever they are


@pytest.fixture
def project(tmp_path: Path) -> Path:
    git = tmp_path / ".nbbench" / "subject.git"
    work = tmp_path / "work"
    run = lambda *command: subprocess.run(["git", *command], check=True, capture_output=True)  # noqa: E731
    run("init", "-q", "-b", "feature/spec-based-2", str(work))
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    run("-C", str(work), *identity, "commit", "-q", "--allow-empty", "-m", "first")
    run("clone", "-q", "--bare", str(work), str(git))
    return tmp_path


def test_a_subject_without_the_branch_is_named(project: Path) -> None:
    facts = gather_facts(Settings(root=project, branch="other"), {}, sample_s=0.0)
    assert facts.subject_exists
    assert facts.branch_exists is False


def test_a_file_where_the_results_should_be_is_not_writable(project: Path) -> None:
    (project / "results").write_text("x")
    folders = gather_facts(Settings(root=project), {}, sample_s=0.0).folders
    assert [folder.writable for folder in folders] == [False, True]


def test_looking_leaves_no_file_behind(project: Path) -> None:
    before = sorted(project.rglob("*"))
    gather_facts(Settings(root=project), {}, sample_s=0.0)
    assert sorted(project.rglob("*")) == before


def test_the_environment_tells_machine_file_and_programs(tmp_path: Path) -> None:
    (tmp_path / ".asv-machine.json").write_text('{"version": 1, "b": {}, "a": {}}')
    binary = tmp_path / "program"
    binary.write_text("#!/bin/sh\n")
    settings = Settings(root=tmp_path, profile={"programs": ["NB_C_BIN", "OTHER"]})
    environ = {"HOME": str(tmp_path), "NB_C_BIN": str(binary)}
    facts = gather_facts(settings, environ, sample_s=0.0)
    assert facts.asv_machines == ("a", "b")
    assert facts.programs == (Program("NB_C_BIN", str(binary), False), Program("OTHER", "", False))
    binary.chmod(0o755)
    (tmp_path / ".asv-machine.json").write_text("[broken")
    facts = gather_facts(settings, environ, sample_s=0.0)
    assert (facts.asv_machines, facts.programs[0].runs) == ((), True)


def test_a_user_without_a_home_has_no_machine_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container that runs under any number."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    monkeypatch.chdir(tmp_path)
    assert gather_facts(Settings(root=tmp_path), {}, sample_s=0.0).asv_machines == ()


def test_git_that_is_missing_or_hangs_is_no_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".nbbench" / "subject.git").mkdir(parents=True)
    settings = Settings(root=tmp_path)
    for error in (FileNotFoundError(errno.ENOENT, "no git"), subprocess.TimeoutExpired("git", 20)):

        def refuse(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(subprocess, "run", refuse)
        facts = gather_facts(settings, {}, sample_s=0.0)
        assert (facts.git, facts.branch_exists) == (None, False)


def test_the_loop_measures_its_own_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of its own: the search for a loop of a millisecond, then loops of 1, 1 and 3 ms."""
    times = iter([0.0, 0.002, 1.0, 1.0, 1.0, 1.001, 1.1, 2.0, 2.001, 2.0011, 3.0, 3.003, 9.0])
    monkeypatch.setattr(noise_facts.time, "perf_counter", lambda: next(times))
    found = spin(2.5)
    assert found is not None
    assert found.loops == 3
    assert found.worst == pytest.approx(3.0)
    assert found.cv == pytest.approx(0.6928, abs=1e-3)


def test_a_loop_without_time_says_nothing() -> None:
    assert spin(0.0) is None


# A machine made of files

FILES = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Example CPU @ 3 GHz\nflags\t\t: fpu hypervisor sse\n",
    "proc/meminfo": (
        "MemTotal:       8388608 kB\nMemAvailable:   4194304 kB\nSwapTotal: 1048576 kB\nSwapFree: 524288 kB\n"
    ),
    "proc/stat": "cpu  100 0 50 1000 5 1 2 30 0 0\ncpu0 100 0 50 1000 5 1 2 30 0 0\n",
    "proc/pressure/cpu": "some avg10=12.50 avg60=0.00 avg300=0.00 total=1\n",
    "proc/self/cgroup": "0::/user.slice/job\n",
    "sys/fs/cgroup/user.slice/job/cpu.max": "max 100000\n",
    "sys/fs/cgroup/user.slice/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/user.slice/memory.max": "4294967296\n",
    "sys/class/dmi/id/sys_vendor": "QEMU\n",
    "sys/devices/system/cpu/smt/active": "1\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "0\n",
    "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0-1\n",
    "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "0-1\n",
    "sys/devices/system/cpu/cpu2/topology/thread_siblings_list": "2-3\n",
    "sys/devices/system/cpu/cpu0/cache/index0/level": "1\n",
    "sys/devices/system/cpu/cpu0/cache/index0/type": "Instruction\n",
    "sys/devices/system/cpu/cpu0/cache/index0/size": "32K\n",
    "sys/devices/system/cpu/cpu0/cache/index1/level": "1\n",
    "sys/devices/system/cpu/cpu0/cache/index1/type": "Data\n",
    "sys/devices/system/cpu/cpu0/cache/index1/size": "48K\n",
    "sys/devices/system/node/node0/cpulist": "0-3\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    ".dockerenv": "",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_facts_are_read_from_the_kernels_files(root: Path) -> None:
    facts = machine_facts(root)
    expected = {
        "cpu": "Example CPU @ 3 GHz",
        "physical cores": "2",
        "smt": "on",
        "l1d cache": "48 KiB",
        "l2 cache": UNKNOWN_FACT,
        "numa nodes": "1",
        "memory": "8 GiB",
        "swap": "1 GiB",
        "cpu quota": "1.5",
        "memory limit": "4 GiB",
        "container": "docker",
        "hypervisor": "QEMU",
        "governor": "schedutil",
        "turbo": "on",
        "transparent hugepages": "madvise",
        "clock source": "tsc",
    }
    assert {name: facts[name] for name in expected} == expected
    assert pressure(Host(root)) == 0.125


def test_a_machine_without_files_is_unknown_and_never_an_error(tmp_path: Path) -> None:
    facts = machine_facts(tmp_path)
    assert (
        facts["cpu"]
        == facts["memory"]
        == facts["governor"]
        == facts["turbo"]
        == facts["hypervisor"]
        == UNKNOWN_FACT
    )
    assert facts["cpu quota"] == facts["memory limit"] == "none"
    assert facts["python"] == sys.version.split()[0]
    assert pressure(Host(tmp_path)) is None
    assert sample_others(tmp_path, 0.01) == (None, None)
    assert all(isinstance(value, str) and value for value in facts.values())


@pytest.mark.parametrize(
    "text", ["", "garbage\n", "cpu a b c d e f g h\n", "\x00\xff", "max\n", "-1\n", "0 0\n"]
)
def test_garbage_in_any_file_is_survived(root: Path, text: str) -> None:
    for name in FILES:
        (root / name).write_text(text)
    assert set(machine_facts(root)) == set(machine_facts())
    gather_facts(Settings(root=root), {}, root=root, sample_s=0.0)


def test_control_groups_of_version_one_are_read(root: Path) -> None:
    (root / "proc/self/cgroup").write_text("4:memory:/job\n3:cpu,cpuacct:/job/../job\n0::/\n")
    for name, text in {
        "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": str(2**63 - 4096),
        "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2**30),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    host = Host(root)
    assert host.cpu_quota() == 0.5
    assert host.memory_limit() == 2**30


def test_amd_boost_and_bare_metal(root: Path) -> None:
    (root / "sys/devices/system/cpu/intel_pstate/no_turbo").unlink()
    (root / "sys/devices/system/cpu/cpufreq").mkdir()
    (root / "sys/devices/system/cpu/cpufreq/boost").write_text("0")
    (root / "proc/cpuinfo").write_text("flags\t: fpu sse\n")
    facts = machine_facts(root)
    assert (facts["turbo"], facts["hypervisor"]) == ("off", "none")


def test_others_and_steal_come_from_two_looks(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hertz = os.sysconf("SC_CLK_TCK")
    clock = iter([0.0, 1.0])
    monkeypatch.setattr(noise_facts.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(noise_facts.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(noise_facts.os, "times", lambda: (0.0,) * 5)

    def sleep(_: float) -> None:
        (root / "proc/stat").write_text(
            f"cpu  {100 + hertz} 0 {50 + hertz // 2} 2000 5 1 2 {30 + hertz // 10} 0 0\n"
        )

    monkeypatch.setattr(noise_facts.time, "sleep", sleep)
    others, steal = sample_others(root, 1.0)
    assert others == pytest.approx(1.5)
    assert steal == pytest.approx(0.05)


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
    environ = {"MY_TOKEN": "plainword", "LANG": "C"}
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
    assert "does not start" in torch_env_text("/nonexistent/python")
    assert machine.UNKNOWN_FACT == "unknown"
