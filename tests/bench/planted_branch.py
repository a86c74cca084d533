"""A project whose subject has branches with planted work, for recordings and runs of the gate.

`make_project` takes the registered subject's tip as "base" and puts commits upon it, in a bare repository
of its own that borrows the subject's objects: "same" adds a comment; "p3", "p5" and "p10" add a module that
wraps the functions which the gate's series time, so that each call is followed by elementwise passes over
its result: as many as take about 3, 5 and 10 % of the call on this machine.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from nbbench.config import Settings, load_settings
from nbbench.model import Commit
from nbbench.probe.resources import PINNED_ENVIRONMENT
from nbbench.subject.git import git, git_text
from nbbench.subject.repository import describe, open_subject, register
from nbbench.subject.tree import extract_tree

REPOSITORY = Path(__file__).resolve().parents[2]
PERCENTS = {"p3": 3, "p5": 5, "p10": 10}
SIDES = ("base", "same", *PERCENTS)
PASSES = 20  # timed in a row beside each call, REPEATS times; the median ratio counts
REPEATS = 8

MODULE = '''"""Planted work: each call of some functions is followed by passes over what it returned."""

import functools

from . import simulator
from .models import crystal
from .utils import auto_selection

PASSES = {passes!r}


def _wrap(holder, name, pick):
    function = getattr(holder, name)

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        result = function(*args, **kwargs)
        values = pick(result)
        work = values
        for _ in range(PASSES.get(f"{{name}}-{{values.numel()}}-{{values.dtype}}", 0)):
            work = work * 1.0000001
        return result

    setattr(holder, name, wrapped)


_wrap(simulator.Simulator, "run", lambda result: result)
_wrap(crystal.Crystal, "_tricubic_interpolation", lambda result: result)
_wrap(auto_selection, "generate_sources_from_divergence_dispersion", lambda result: result[0])
'''
_RUN, _TRICUBIC = "run", "_tricubic_interpolation"
_SOURCES = "generate_sources_from_divergence_dispersion"


def make_project(folder: Path) -> Settings:
    """The project in `folder`, made with its planted subject if it is not there; one thread."""
    if not (folder / "asv.conf.json").exists():
        own = load_settings(REPOSITORY)
        subject = open_subject(own)
        base = describe(subject, subject.branch)
        folder.mkdir(parents=True, exist_ok=True)
        passes = _measured_passes(own, base)
        (folder / "passes.json").write_text(json.dumps(passes), encoding="utf-8")
        _plant(own, base, folder / "planted.git", passes)
        (folder / "benchmarks").symlink_to(REPOSITORY / "benchmarks", target_is_directory=True)
        register(dataclasses.replace(own, root=folder), folder / "planted.git")
        shutil.copy(REPOSITORY / "asv.conf.json", folder / "asv.conf.json")  # last: the project is whole
    return load_settings(folder, overrides={"threads": 1})


def planted_commits(settings: Settings) -> dict[str, Commit]:
    """The commits of a planted project by side."""
    subject = open_subject(settings)
    return {side: describe(subject, subject.branch if side == "base" else side) for side in SIDES}


def _plant(own: Settings, base: Commit, target: Path, passes: Mapping[str, float]) -> None:
    """Make the bare repository `target` with one branch for each side."""
    source = own.subject_git
    git(None, ["init", "--quiet", "--bare", str(target)])
    (target / "objects" / "info" / "alternates").write_text(f"{source / 'objects'}\n", encoding="utf-8")
    git(target, ["update-ref", f"refs/heads/{own.branch}", base.hash])
    package = f"{own.measured_path}/__init__.py"
    text = git(target, ["show", f"{base.hash}:{package}"]).decode()
    _commit(target, base, "same", {package: f"{text}\n# The same code.\n"})
    for side, percent in PERCENTS.items():
        counts = {key: round(value * percent) for key, value in passes.items()}
        module = {f"{own.measured_path}/_planted.py": MODULE.format(passes=counts)}
        _commit(target, base, side, {package: f"{text}\nfrom . import _planted  # noqa\n"} | module)


def _commit(target: Path, base: Commit, side: str, files: Mapping[str, str]) -> None:
    git(target, ["read-tree", base.hash])
    for path, text in files.items():
        blob = git(target, ["hash-object", "-w", "--stdin"], stdin=text.encode()).decode().strip()
        git(target, ["update-index", "--add", "--cacheinfo", f"100644,{blob},{path}"])
    tree = git_text(target, ["write-tree", "--missing-ok"])
    person = ["-c", "user.name=nbbench", "-c", "user.email=nbbench@nbbench.invalid"]
    made = git_text(target, [*person, "commit-tree", tree, "-p", base.hash, "-m", f"Planted: {side}"])
    git(target, ["update-ref", f"refs/heads/{side}", made])


def _measured_passes(own: Settings, base: Commit) -> dict[str, float]:
    """Passes that take a hundredth of a call, by the planted module's keys; in a process of its own."""
    subject = open_subject(own)
    folder = extract_tree(subject.git_dir, base.hash, base.tree, own.measured_path, own.env_dir / "trees")
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.planted_branch", str(folder / own.import_root)],
        cwd=REPOSITORY,
        env=os.environ | PINNED_ENVIRONMENT | {"NBBENCH_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout))


def _passes_here(import_root: str) -> dict[str, float]:
    """What `_measured_passes` asks of a process that may import the subject."""
    import torch

    sys.path.insert(0, import_root)
    from benchmarks import subject as build

    def both(case: build.Case) -> tuple[float, float]:
        """Seconds of a call and of a pass over its result."""
        start = time.perf_counter()
        work = case.run()
        middle = time.perf_counter()
        for _ in range(PASSES):
            work = work * 1.0000001
        return middle - start, (time.perf_counter() - middle) / PASSES

    told = sys.stdout
    build.prepare()
    cases: list[tuple[str, Callable[[], build.Case]]] = [
        (_RUN, lambda: build.bandwidth(512, "float32")),
        (_RUN, lambda: build.bandwidth(512, "float64")),
        (_RUN, lambda: build.bandwidth(1024, "float32")),
        (_RUN, lambda: build.bandwidth(1024, "float64")),
        (_RUN, lambda: build.multi_source(3)),
        (_TRICUBIC, lambda: build.tricubic(1000, "float32")),
        (_TRICUBIC, lambda: build.tricubic(100_000, "float32")),
        (_SOURCES, lambda: build.sources(63, 63)),
    ]
    found: dict[str, float] = {}
    for name, make in cases:
        case = make()
        result = case.run()
        assert isinstance(result, torch.Tensor)
        ratios = [call / each for call, each in (both(case) for _ in range(REPEATS))]
        found[f"{name}-{result.numel()}-{result.dtype}"] = median(ratios) / 100
    sys.stdout = told
    return found


if __name__ == "__main__":
    print(json.dumps(_passes_here(sys.argv[1])))
