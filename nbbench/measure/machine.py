"""Facts about the machine, from psutil, /proc, /sys and package metadata; torch is never imported.

Every fact that cannot be read is `unknown` (text) or None (numbers): a container hides half of
them, and none is worth failing for.
"""

import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from nbbench.probe.resources import cache_of_level
from nbbench.record.redact import redact_text
from nbbench.units import format_bytes
from nbbench.words import last_line

UNKNOWN_FACT = "unknown"
GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
_PACKAGES = (
    *("torch", "numpy", "scipy", "triton", "mkl", "intel-openmp", "pytest", "asv", "asv_runner", "nbbench"),
)


class Host:
    """Typed readers over the files of one machine; `root` is another folder in tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def read(self, path: str) -> str | None:
        """The text of a file below the root; None when it is empty or not readable."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
        except OSError:
            return None

    def cpu_model(self) -> str | None:
        """The processor's name as the kernel gives it."""
        found = re.search(
            r"^(?:model name|Model|cpu model)\s*:\s*(.+)$", self.read("proc/cpuinfo") or "", re.M
        )
        return found[1].strip() if found else None

    def hugepages(self) -> str | None:
        """The setting of transparent huge pages: always, madvise or never."""
        found = re.search(r"\[(\w+)\]", self.read("sys/kernel/mm/transparent_hugepage/enabled") or "")
        return found[1] if found else None

    def cpu_quota(self) -> float | None:
        """How many processors' worth of time the control group may use; None without a limit."""
        limits = [text.split() for text in self._of_groups("cpu.max")]
        whole = [each for each in limits if len(each) == 2 and all(map(str.isdigit, each)) and int(each[1])]
        return min((int(quota) / int(period) for quota, period in whole), default=None)

    def memory_limit(self) -> int | None:
        """The control group's memory limit in bytes; None without one."""
        return min((int(text) for text in self._of_groups("memory.max") if text.isdigit()), default=None)

    def _of_groups(self, name: str) -> list[str]:
        """What a file says in this process's control group and in those above it (version 2)."""
        found = re.search(r"^0::/(.*)$", self.read("proc/self/cgroup") or "", re.M)
        group = Path("sys/fs/cgroup", *Path(found[1] if found else "").parts)
        folders = [group, *group.parents][: len(group.parts) - 2]
        return [text for folder in folders if (text := self.read(str(folder / name)))]


def machine_facts(root: Path = Path("/")) -> dict[str, str]:
    """What a reader of a figure wants to know of the machine, by name; `unknown` where it is hidden."""
    host = Host(root)
    readers: dict[str, Callable[[], object]] = {
        "cpu": host.cpu_model,
        "arch": platform.machine,
        "processors online": os.cpu_count,
        "processors usable": lambda: len(os.sched_getaffinity(0)),
        "physical cores": lambda: psutil.cpu_count(logical=False),
        "l1d cache": lambda: _size(cache_of_level(1, root)),
        "l2 cache": lambda: _size(cache_of_level(2, root)),
        "l3 cache": lambda: _size(cache_of_level(3, root)),
        "memory": lambda: _size(psutil.virtual_memory().total),
        "swap": lambda: format_bytes(psutil.swap_memory().total),
        "cpu quota": lambda: "none" if (quota := host.cpu_quota()) is None else f"{quota:g}",
        "memory limit": lambda: _size(host.memory_limit()) or "none",
        "governor": lambda: host.read(GOVERNOR),
        "transparent hugepages": host.hugepages,
        "page size": lambda: format_bytes(os.sysconf("SC_PAGE_SIZE")),
        "kernel": platform.release,
        "libc": lambda: " ".join(part for part in platform.libc_ver() if part),
        "python": platform.python_version,
    }
    return {name: str(reader() or UNKNOWN_FACT) for name, reader in readers.items()}


def _size(size: int | None) -> str | None:
    return format_bytes(size) if size else None


def torch_versions() -> dict[str, str]:
    """Versions of torch and what it measures with, from package metadata; absent ones are left out."""
    versions = {}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
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

    `environ` is what it runs in (default: this process's), and its secrets are taken out; `versions` are the
    interpreter's own (default: those of nbbench's interpreter). At the timeout all that it started is killed,
    because it starts pip and vendor tools that can hang.
    """
    done = subprocess.run(
        ["timeout", "--signal=KILL", f"{timeout_s}", python, "-m", "torch.utils.collect_env"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=environ,
        cwd="/",  # a folder without a torch.py that would be imported instead
    )
    text = redact_text(done.stdout.strip(), environ or ())
    if done.returncode == 0 and text:
        return text + "\n"
    late = done.returncode in (-9, 137)
    last = f"no answer within {timeout_s:g} s" if late else last_line(done.stderr, "no output")
    known = torch_versions() if versions is None else versions
    reason = redact_text(last, environ or ())
    lines = [f"# torch.utils.collect_env gave nothing ({reason}); versions from package metadata:"]
    return "\n".join([*lines, *(f"{name}: {version}" for name, version in known.items())]) + "\n"
