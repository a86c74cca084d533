"""The environment of every process that measures: one builder, so that all share their settings; and
one measuring process at a time: two would spoil each other's figures.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from nbbench import __version__
from nbbench.config import Settings
from nbbench.errors import ConfigError, HostError
from nbbench.probe.device import marked, on_cuda
from nbbench.probe.resources import COMPILE_SWITCH, pinned_environment
from nbbench.record.atomic import write_text
from nbbench.record.side_files import ledger_path
from nbbench.subject.profile import load_profile
from nbbench.workloads import WORKLOADS_FILE, read_workloads, suite_workloads, use_workloads

# What a user sets for torch.compile, and what we set: no threads or processes of its own, no old caches.
_COMPILE_VARIABLE = re.compile(
    r"TORCH(?:INDUCTOR|DYNAMO|_COMPILE|_DYNAMO|_LOGS|_TRACE).*|ATEN_CPU_CAPABILITY"
)
_COMPILING = {
    "TORCHDYNAMO_DISABLE": "0",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "TORCHINDUCTOR_FX_GRAPH_CACHE": "0",
    "TORCHINDUCTOR_AUTOGRAD_CACHE": "0",
    "TORCH_DYNAMO_AUTOMATIC_DYNAMIC_LOCAL_PGO": "0",
}


def installed_torch() -> str:
    """The installed torch's version without its build tag and without importing it; '' for none.

    Where a GPU is measured it has a mark: ledgers, environments and series of the two devices never mix.
    """
    return marked(_unmarked_torch())


@cache
def _unmarked_torch() -> str:
    from importlib import metadata  # a fifth of a command that finds nothing new

    try:
        return metadata.version("torch").partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""


def torch_version() -> str:
    """The installed torch's version. Raises HostError where there is none."""
    if version := installed_torch():
        return version
    raise HostError("torch is not installed", hint="pip install torch")


def asv_process_environment(settings: Settings) -> dict[str, str]:
    """What asv itself is started in: the plugin reads settings by itself, so flags of nbbench must reach it.

    asv runs under the measuring lock that the command holds.
    """
    return {
        **os.environ,
        "NBBENCH_BRANCH": settings.branch,
        "NBBENCH_THREADS": str(settings.threads),
        "PYTHONUNBUFFERED": "1",
        LOCK_HELD: "1",
    }


def server_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a warm server starts in: `base` (default: this process's environment) with the pinned flags.

    Raises HostError where a GPU is to be measured and none can be found.
    """
    environ = os.environ if base is None else base
    if on_cuda(environ):
        require_gpu()
    return {**environ, **pinned_environment(environ)}


def tree_environment(
    settings: Settings,
    tree: str,
    folder: Path | None,
    *,
    commit: str = "",
    results_dir: Path | None = None,
    base: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What a process that measures one extracted source tree runs in.

    `tree` is the tree's id and `folder` where it lies ('' and None: none is extracted); ledgers go below
    `results_dir` (default: the settings'). asv names the commit by itself; elsewhere `commit` does.
    """
    from nbbench.measure.reference import reference_environment  # git, which few processes need

    place = settings.results_dir if results_dir is None else results_dir
    started, profile = server_environment(base), load_profile(settings)
    seen_from = "." if profile.dependencies else settings.import_root  # the paths of what is counted
    return {
        **started,
        **reference_environment(settings, started),
        **profile.environment,
        "NBBENCH_TREE": str(folder / seen_from) if folder else "",
        "NBBENCH_TREE_ID": tree,
        "NBBENCH_GIT_DIR": str(settings.subject_git),
        "NBBENCH_THREADS": str(settings.threads),
        "NBBENCH_LEDGER_FILE": str(ledger_path(place, tree, installed_torch())) if tree else "",
        **({"ASV_COMMIT": commit} if commit else {}),
    }


def compiled_environment(base: Mapping[str, str], scratch: Path | None = None) -> dict[str, str]:
    """`base` for a process in which torch.compile takes effect; what compiles writes below `scratch` only."""
    kept = {
        name: value
        for name, value in base.items()
        if not COMPILE_SWITCH.fullmatch(name) and not _COMPILE_VARIABLE.fullmatch(name)
    }
    if scratch is not None:
        kept |= {"TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"), "TMPDIR": str(scratch)}
    return {**kept, **_COMPILING}


def require_compiler() -> None:
    """Raise HostError where Inductor would find no C++ compiler, or no headers of this Python."""
    name = os.environ.get("CXX", "g++")
    if shutil.which(name) is None:
        said = f"torch.compile needs a C++ compiler, and there is no program {name!r}"
        raise HostError(said, hint="install g++ (`apt-get install g++`), or name another in CXX")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        raise HostError(f"torch.compile needs {header}", hint="install the headers of Python (python3-dev)")


@cache
def require_gpu() -> None:
    """Raise HostError where there is no GPU."""
    from nbbench.probe.device import read_gpu

    if why := read_gpu().get("unknown"):
        hint = "--device cpu, or NBBENCH_DEVICE=cpu, measures the processor"
        raise HostError(f"no GPU is found here ({why})", hint=hint)


def export_workloads(settings: Settings) -> None:
    """Write the suite's declaration to results/, where it changed; a suite without one leaves no file.

    Raises ConfigError when the declaration is wrong. A folder that cannot be written keeps what it has:
    what is measured fails there for itself.
    """
    declared = suite_workloads(settings.root)
    use_workloads(declared)
    if not declared.benchmarks:
        return
    path, text = settings.results_dir / WORKLOADS_FILE, declared.to_text()
    for name, before in read_workloads(path).by_name.items():
        now = declared.by_name.get(name, before)
        if now.version != before.version and (settings.results_dir / "ledger").is_dir():
            raise ConfigError(
                f"{name} of benchmarks/workloads.py is another workload than the one on record",
                hint=f"give it another name, or record exact work anew: remove {path} and results/ledger",
            )
    with contextlib.suppress(OSError, HostError):
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)


def harness_mark(settings: Settings) -> str:
    """The checksum of what decides what is counted: the suite's files, asv.conf.json, the subject's profile,
    the units' directions, and nbbench's version. Equal marks, equal measures."""
    suite = settings.root / "benchmarks"
    files = [settings.root / "asv.conf.json", *sorted(suite.rglob("*"))]
    table = json.dumps([__version__, settings.profile, settings.directions], default=str)
    mark = hashlib.sha256(table.encode())
    for path in (one for one in files if one.is_file() and "__pycache__" not in one.parts):
        data = path.read_bytes()
        name = f"{path.relative_to(settings.root)} {len(data)} "
        mark.update(name.encode("utf-8", "replace") + data)
    return mark.hexdigest()[:16]


LOCK_HELD = "NBBENCH_MEASURING"
"""Set to 1 for an asv that a holder of the lock started."""


@contextmanager
def measuring(state_dir: Path) -> Iterator[None]:
    """Hold the project's measuring lock. Raises HostError when another process holds it."""
    from filelock import FileLock, Timeout  # a command that measures nothing needs no lock

    state_dir.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(state_dir / "measuring.lock").acquire(timeout=0)
    except Timeout as error:
        raise HostError(
            "another nbbench is measuring in this project",
            hint="wait for it: two measurements at once spoil each other",
        ) from error
    with lock:
        yield
