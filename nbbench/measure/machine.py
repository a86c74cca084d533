"""Facts about the machine, read from /proc, /sys and package metadata; torch is never imported.

Every fact that cannot be read is `unknown` (text) or None (numbers): a container hides half of
them, and none is worth failing for.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from nbbench.probe.cache import cache_of_level
from nbbench.record.redact import redact_text
from nbbench.units import format_bytes
from nbbench.words import last_line

UNKNOWN_FACT = "unknown"
_CPU = "sys/devices/system/cpu"
_PACKAGES = (
    *("torch", "numpy", "scipy", "triton", "mkl", "intel-openmp", "pytest", "asv", "asv_runner", "nbbench"),
)


@dataclass(frozen=True, slots=True)
class LoadNow:
    """The run queue's averages over 1, 5 and 15 minutes, and the processors that serve it."""

    one: float | None
    five: float | None
    fifteen: float | None
    processors: int


class Host:
    """Typed readers over the files of one machine; `root` is another folder in tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def read(self, path: str) -> str | None:
        """The text of a file below the root without its last line break; None when it is not readable."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """The whole number in a file, or None."""
        try:
            return int(self.read(path) or "")
        except ValueError:
            return None

    def cpu_model(self) -> str | None:
        """The processor's name as the kernel gives it."""
        found = re.search(
            r"^(?:model name|Model|cpu model)\s*:\s*(.+)$", self.read("proc/cpuinfo") or "", re.M
        )
        return found[1].strip() if found else None

    def physical_cores(self) -> int | None:
        """Cores that share no execution units, by the siblings that the kernel lists."""
        siblings = {
            text
            for path in sorted((self.root / _CPU).glob("cpu[0-9]*/topology/thread_siblings_list"))
            if (text := self.read(str(path.relative_to(self.root))))
        }
        if siblings:
            return len(siblings)
        return psutil.cpu_count(logical=False) if self.root == Path("/") else None

    def smt_active(self) -> bool | None:
        """Whether two hardware threads share a core."""
        value = self.number(f"{_CPU}/smt/active")
        return None if value is None else value == 1

    def governor(self) -> str | None:
        """The frequency governor of the first processor; None on most virtual machines."""
        return self.read(f"{_CPU}/cpu0/cpufreq/scaling_governor") or None

    def turbo(self) -> bool | None:
        """Whether the clock may rise above its nominal frequency."""
        no_turbo = self.number(f"{_CPU}/intel_pstate/no_turbo")
        if no_turbo is not None:
            return no_turbo == 0
        boost = self.number(f"{_CPU}/cpufreq/boost")
        return None if boost is None else boost == 1

    def memory(self) -> dict[str, int]:
        """/proc/meminfo in bytes by its names (MemTotal, MemAvailable, SwapTotal, SwapFree …)."""
        rows = re.findall(r"^(\w+):\s+(\d+) kB$", self.read("proc/meminfo") or "", re.M)
        return {name: int(size) * 1024 for name, size in rows}

    def numa_nodes(self) -> int | None:
        """How many memory nodes the kernel sees."""
        return len(list((self.root / "sys/devices/system/node").glob("node[0-9]*"))) or None

    def hypervisor(self) -> str | None:
        """What virtualises the machine, from firmware names; `none` on bare metal, if that is known."""
        vendor = " ".join(
            text for name in ("sys_vendor", "product_name") if (text := self.read(f"sys/class/dmi/id/{name}"))
        )
        kind = self.read("sys/hypervisor/type")
        flags = re.search(r"^flags\s*:(.*)$", self.read("proc/cpuinfo") or "", re.M)
        virtual = flags is not None and " hypervisor" in flags[1]
        if virtual or kind:
            return kind or vendor or "virtual machine"
        return "none" if flags else None

    def container(self) -> str | None:
        """The kind of container that this process runs in, as far as it shows; None outside."""
        for path, kind in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
            if (self.root / path).exists():
                return kind
        found = re.search(r"(docker|containerd|kubepods|lxc|slurm)", self.read("proc/self/cgroup") or "")
        return found[1] if found else None

    def cpu_quota(self) -> float | None:
        """How many processors' worth of time the control group may use; None without a limit."""
        limits = [limit for limit in (self._quota_v2(), self._quota_v1()) if limit is not None]
        return min(limits, default=None)

    def memory_limit(self) -> int | None:
        """The control group's memory limit in bytes; None without one."""
        paths = [f"{folder}/memory.max" for folder in self._groups("")]
        paths += [f"{folder}/memory.limit_in_bytes" for folder in self._groups("memory")]
        limits = [limit for path in paths if (limit := self.number(path)) is not None]
        # Version 1 writes "no limit" as a number close to 2^63.
        return min((limit for limit in limits if limit < 2**60), default=None)

    def _quota_v2(self) -> float | None:
        limits = []
        for folder in self._groups(""):
            quota, _, period = (self.read(f"{folder}/cpu.max") or "").partition(" ")
            if quota.isdigit() and period.isdigit() and int(period):
                limits.append(int(quota) / int(period))
        return min(limits, default=None)

    def _quota_v1(self) -> float | None:
        limits = []
        for folder in self._groups("cpu"):
            quota, period = (
                self.number(f"{folder}/cpu.cfs_quota_us"),
                self.number(f"{folder}/cpu.cfs_period_us"),
            )
            if quota and period and quota > 0:
                limits.append(quota / period)
        return min(limits, default=None)

    def _groups(self, controller: str) -> list[str]:
        """This process's control group and the groups above it; version 2 for an empty controller."""
        for line in (self.read("proc/self/cgroup") or "").splitlines():
            number, _, rest = line.partition(":")
            names, _, path = rest.partition(":")
            if (number == "0" and not names) if not controller else controller in names.split(","):
                parts = [part for part in path.split("/") if part and part != ".."]
                base = f"sys/fs/cgroup/{names}".rstrip("/")
                return ["/".join([base, *parts[:depth]]) for depth in range(len(parts), -1, -1)]
        return []


def machine_facts(root: Path = Path("/")) -> dict[str, str]:
    """What a reader of a figure wants to know of the machine, by name; `unknown` where it is hidden."""
    host = Host(root)
    readers: dict[str, Callable[[], object]] = {
        "cpu": host.cpu_model,
        "arch": platform.machine,
        "processors online": os.cpu_count,
        "processors usable": lambda: len(os.sched_getaffinity(0)),
        "physical cores": host.physical_cores,
        "smt": lambda: _on_off(host.smt_active()),
        "l1d cache": lambda: _size(cache_of_level(1, root)),
        "l2 cache": lambda: _size(cache_of_level(2, root)),
        "l3 cache": lambda: _size(cache_of_level(3, root)),
        "numa nodes": host.numa_nodes,
        "memory": lambda: format_bytes(host.memory()["MemTotal"]),
        "swap": lambda: format_bytes(host.memory()["SwapTotal"]),
        "cpu quota": lambda: "none" if (quota := host.cpu_quota()) is None else f"{quota:g}",
        "memory limit": lambda: "none" if (limit := host.memory_limit()) is None else format_bytes(limit),
        "container": lambda: host.container() or "none seen",
        "hypervisor": host.hypervisor,
        "governor": host.governor,
        "turbo": lambda: _on_off(host.turbo()),
        "transparent hugepages": lambda: hugepages(host),
        "clock source": lambda: host.read("sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "page size": lambda: format_bytes(os.sysconf("SC_PAGE_SIZE")),
        "kernel": platform.release,
        "libc": lambda: " ".join(part for part in platform.libc_ver() if part),
        "python": platform.python_version,
    }
    return {name: _fact(reader) for name, reader in readers.items()}


def load_now() -> LoadNow:
    """The load averages of this moment."""
    processors = os.cpu_count() or 1
    try:
        return LoadNow(*os.getloadavg(), processors)
    except OSError:
        return LoadNow(None, None, None, processors)


def hugepages(host: Host) -> str | None:
    """The setting of transparent huge pages: always, madvise or never."""
    found = re.search(r"\[(\w+)\]", host.read("sys/kernel/mm/transparent_hugepage/enabled") or "")
    return found[1] if found else None


def torch_versions() -> dict[str, str]:
    """Versions of torch and what it measures with, from package metadata; absent ones are left out."""
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def torch_env_text(
    python: str,
    timeout_s: float = 60.0,
    *,
    environ: Mapping[str, str] | None = None,
    versions: Mapping[str, str] | None = None,
) -> str:
    """What `python -m torch.utils.collect_env` prints, redacted; package versions when it fails.

    `environ` is what it runs in (default: this process's), and its secrets are taken out;
    `versions` are the interpreter's own (default: those of nbbench's interpreter).

    It runs in a process group of its own, killed at the timeout, because it starts pip and
    vendor tools that can hang.
    """
    try:
        process = subprocess.Popen(
            [python, "-m", "torch.utils.collect_env"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if environ is None else dict(environ),
            cwd="/",  # a folder without a torch.py that would be imported instead
            start_new_session=True,
        )
    except OSError as error:
        return _torch_fallback(f"{python} does not start: {error.strerror or error}", versions)
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return _torch_fallback(f"no answer within {timeout_s:g} s", versions)
    text = output.decode("utf-8", errors="replace").strip()
    if process.returncode != 0 or not text:
        last = last_line(errors.decode("utf-8", errors="replace"), "no output")
        return _torch_fallback(redact_text(last, environ or ()), versions)
    return redact_text(text, environ or ()) + "\n"


def _torch_fallback(reason: str, versions: Mapping[str, str] | None) -> str:
    lines = [f"# torch.utils.collect_env gave nothing ({reason}); versions from package metadata:"]
    known = torch_versions() if versions is None else versions
    lines += [f"{name}: {version}" for name, version in known.items()]
    return "\n".join(lines) + "\n"


def _fact(reader: Callable[[], object]) -> str:
    try:
        value = reader()
    except (OSError, ValueError, KeyError, AttributeError):
        return UNKNOWN_FACT
    return UNKNOWN_FACT if value is None or value == "" else str(value)


def _size(size: int) -> str | None:
    return format_bytes(size) if size else None


def _on_off(value: bool | None) -> str | None:
    return None if value is None else "on" if value else "off"
