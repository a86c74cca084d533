"""A commit's ledgers: from the side files, or recorded now in a warm process."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from nbbench.collect.side_files import LedgerFile, SideFileError, ledger_path, read_ledgers
from nbbench.config import Settings
from nbbench.errors import HostError, InconclusiveError
from nbbench.model import Commit, Ledger
from nbbench.probe.resources import PINNED_ENVIRONMENT
from nbbench.subject.repository import open_subject
from nbbench.subject.tree import extract_tree
from nbbench.warm import client

# Names of the workloads that benchmarks/ledgers.py can record; asked of it once it is imported.
_TIMEOUT_S = 300.0


def torch_version() -> str:
    """The installed torch's version without importing it."""
    try:
        return metadata.version("torch").partition("+")[0]
    except metadata.PackageNotFoundError as error:
        raise HostError("torch is not installed", hint="pip install torch==2.13.0") from error


def measured_environment(settings: Settings, commit: Commit, tree_dir: Path) -> dict[str, str]:
    """Environment of a benchmark process for one extracted tree."""
    return {
        **os.environ,
        **PINNED_ENVIRONMENT,
        "NBBENCH_TREE": str(tree_dir / settings.import_root),
        "NBBENCH_TREE_ID": commit.tree,
        "NBBENCH_THREADS": str(settings.threads),
        "NBBENCH_LEDGER_FILE": str(ledger_path(settings.results_dir, commit.tree, torch_version())),
        "ASV_COMMIT": commit.hash,
    }


def open_tree(settings: Settings, server: client.WarmServer, commit: Commit) -> dict[str, str]:
    """Have the server hold the suite of a commit's tree; returns the environment for its jobs."""
    subject = open_subject(settings)
    if not commit.tree:
        raise InconclusiveError(f"commit {commit.short} has no {settings.measured_path}")
    folder = extract_tree(
        subject.git_dir, commit.hash, commit.tree, settings.measured_path, settings.env_dir / "trees"
    )
    environment = measured_environment(settings, commit, folder)
    preload = [settings.package, f"{settings.package}.simulator"]
    server.open_suite([environment["NBBENCH_TREE"]], str(settings.root / "benchmarks"), preload, environment)
    return environment


def known_ledgers(settings: Settings, commit: Commit) -> Mapping[str, Ledger]:
    """The ledgers kept for a commit's tree under the installed torch (none: empty)."""
    path = ledger_path(settings.results_dir, commit.tree, torch_version())
    try:
        found: LedgerFile = read_ledgers(path)
    except (FileNotFoundError, SideFileError):
        return {}
    return found.workloads


def record_ledgers(
    settings: Settings, server: client.WarmServer, commit: Commit, workloads: list[str]
) -> Mapping[str, Ledger]:
    """Record the named workloads on a commit's tree and return all that are kept for it.

    Raises InconclusiveError when the process fails (a subject that does not import, say).
    """
    environment = open_tree(settings, server, commit)
    outcome = server.run(
        ["call", "benchmarks.ledgers:write", json.dumps({"workloads": workloads})],
        cwd=str(settings.state_dir),
        environment=environment,
        timeout_s=_TIMEOUT_S,
    )
    if outcome.exit_code:
        lines = outcome.output.strip().splitlines()
        raise InconclusiveError(
            f"the ledger of {commit.short} could not be recorded: {lines[-1] if lines else 'no message'}"
        )
    return known_ledgers(settings, commit)


def workload_names(settings: Settings, pattern: re.Pattern[str]) -> list[str]:
    """Names of the workloads of benchmarks/ that match.

    Raises InconclusiveError when none does.
    """
    names = [f"bandwidth-{size}-{dtype}" for size in (512, 1024, 2048) for dtype in ("float32", "float64")]
    names += [f"tricubic-{n}-{dtype}" for n in (1, 1000, 100000) for dtype in ("float32", "float64")]
    names += ["sources-3969"]
    knobs = {"multi_source": (1, 3, 9), "oversample": (1, 2, 3), "phi_steps": (1, 4)}
    knobs |= {"mosaic_domains": (1, 4), "absorption": (1, 4)}
    names += [f"{knob}-{n}" for knob, values in knobs.items() for n in values]
    if chosen := [name for name in names if pattern.search(name)]:
        return chosen
    raise InconclusiveError(f"no workload matches {pattern.pattern!r}", hint=f"workloads: {', '.join(names)}")


def workload_ledgers(
    settings: Settings,
    commit: Commit,
    pattern: re.Pattern[str],
    *,
    say: Callable[[str], None],
    server: client.WarmServer | None = None,
) -> Mapping[str, Ledger]:
    """Ledgers of the matching workloads for one commit, recording those that are missing."""
    wanted = workload_names(settings, pattern)
    found = known_ledgers(settings, commit)
    missing = [name for name in wanted if name not in found]
    if missing:
        say(f"recording {len(missing)} ledgers of {commit.short}")
        own = server or client.start(sys.executable, {**os.environ, **PINNED_ENVIRONMENT})
        try:
            found = record_ledgers(settings, own, commit, missing)
        finally:
            if server is None:
                own.close()
    return {name: found[name] for name in wanted if name in found}
