"""A project folder of its own for the end-to-end tests: the real suite, asv and git, the embedded subject."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from nbbench.record.side_files import parse_records
from nbbench.subject.subjects.nanobragg.demo import PLANTED
from tests.docs.schema_check import checked

REPOSITORY = Path(__file__).resolve().parents[2]
MACHINE = "e2e"
# Cheap, and all kinds of things are behind it: one frame of 1 MB, one loop that was vectorised.
CHEAP = ("--bench", r"Warm\.time_run\(512, 'float32'\)", "--bench", r"Sources\.time_generate")
# The suite with less of everything that takes time and shows no more: pixels, knobs, laws of growth …
SMALLER = {
    "workloads.py": (
        ("KNOB_SIZE = 256", "KNOB_SIZE = 64"),
        ('"multi_source": [1, 3, 9]', '"multi_source": [1, 3]'),
        ('"oversample": [1, 2, 3]', '"oversample": [3]'),
        ("oversample-2", "oversample-3"),
        ("[1, 4]", "[4]"),
        ("bandwidth-1024-float32", "bandwidth-512-float32"),
        ("SMALL, dtype=d) for d in DTYPES", 'SMALL, dtype=d) for d in ("float32",)'),
        ("size=16) for knob in KNOBS", 'size=16) for knob in ("multi_source",)'),
    ),
    "subject.py": (("size: int = 256", "size: int = 64"),),
}
# … and points and sources, over which there are loops where the embedded history begins.
FEWER = {
    "workloads.py": (
        ("POINTS = [1, 1000, 100_000]", "POINTS = [1, 100, 10_000]"),
        ("tricubic-1000-float32", "tricubic-100-float32"),
        ('"sources-3969", 3969', '"sources-225", 225'),
        ("sources-3969", "sources-225"),
    ),
    "vectorisation.py": (
        ("rows=63, columns=63", "rows=15, columns=15"),
        ("subject.sources(63, 63)", "subject.sources(15, 15)"),
    ),
}
# What the gate judges: a frame, a loop over sources, and their generation.
JUDGED = 'gate_workloads = "bandwidth-512-float32|multi_source-3|sources-3969"'
WARM = "bandwidth.Warm.time_run"
SOURCES = "vectorisation.Sources.time_generate"


def planted(position: int) -> str:
    """Hash of the commit at a position of the embedded history (of 18, documentation included)."""
    return str(PLANTED[position - 1].hash)


@dataclass
class Project:
    """A project folder and the environment in which its commands run."""

    root: Path
    environment: dict[str, str] = field(repr=False)

    def command(self, *arguments: str) -> list[str]:
        """`nbbench …` or `asv …` with this interpreter."""
        return [sys.executable, "-m", *arguments]

    def run(self, *arguments: str, expect: int | None = 0, **environment: str) -> subprocess.CompletedProcess:
        """Run a command to its end; its exit code must be `expect` (None: whatever)."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if expect is not None:
            assert done.returncode == expect, f"{arguments}\n{done.stdout}\n{done.stderr}"
        if "--json" in arguments and 0 <= done.returncode < 128:
            checked(done.stdout)
        return done

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start a command in a session of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def told(self, *arguments: str, expect: int = 0) -> dict:
        """The JSON document that an nbbench command prints."""
        return checked(self.run("nbbench", *arguments, "--json", expect=expect).stdout)

    def results(self) -> dict[str, dict]:
        """asv's result files by the first eight digits of their commit."""
        found = (self.root / "results" / MACHINE).glob("*-nbbench-*.json")
        return {path.name[:8]: json.loads(path.read_text()) for path in found}

    def figures(self, commit: str, benchmark: str) -> list:
        """asv's results of one benchmark at one commit, in the order of its parameters."""
        row = self.results()[commit[:8]]["results"][benchmark]
        return row[0] if isinstance(row, list) else row

    def telemetry(self, commit: str) -> list:
        """What was recorded of the processes of one commit."""
        records = []
        for path in (self.root / "results" / MACHINE / "telemetry").glob(f"{commit[:8]}-*.jsonl"):
            found, bad = parse_records(path.read_bytes())
            assert bad == 0
            records += found
        return records

    def processes(self) -> list[psutil.Process]:
        """Processes that work for this project: started in its folder, or for its environment."""
        mine = []
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                    continue
                words = [process.cwd(), *process.cmdline(), process.environ().get("ASV_ENV_DIR", "")]
            except psutil.Error:
                continue
            if any(word.startswith(str(self.root)) for word in words):
                mine.append(process)
        return mine


def wait_until(condition) -> None:
    """Poll until the condition holds; what never comes is pytest's timeout."""
    while not condition():
        time.sleep(0.05)


def make_project(
    folder: Path,
    *,
    register: bool = True,
    smaller: Sequence[int] = (),
    scales: tuple[str, ...] = (),
    profile: str = JUDGED,
) -> Project:
    """A project in `folder` that measures the embedded subject with the real suite.

    With a `smaller` one where the sizes of its frames are given: with those of its scales whose names begin
    with one of `scales`, and `profile` in place of a line of the subject's. Without `register` the history is
    another's.
    """
    root = folder / "project"
    root.mkdir()
    (folder / "home").mkdir()
    text = (REPOSITORY / "asv.conf.json").read_text(encoding="utf-8")
    suite, name = REPOSITORY / "benchmarks", '"benchmark_dir": "benchmarks"'
    assert name in text
    if smaller:
        suite = root / "benchmarks"
        shutil.copytree(REPOSITORY / "benchmarks", suite, ignore=shutil.ignore_patterns("__pycache__"))
        _change(suite, {"workloads.py": (("SIZES = [512, 1024, 2048]", f"SIZES = {list(smaller)}"),)})
        _change(suite, SMALLER)
        only = f"SCALES = tuple(one for one in SCALES if one.name.startswith({scales}))"
        _change(suite, {"workloads.py": (("\nBENCHMARKS = (", f"\n{only}\nBENCHMARKS = ("),)})
        profile = f'[tool.nbbench.subject]\nextends = "nanobragg"\n{profile}\n'
        (root / "pyproject.toml").write_text(profile, encoding="utf-8")
        _change(suite, FEWER if register else {})
    else:
        (root / "benchmarks").symlink_to(suite, target_is_directory=True)
    text = text.replace(name, f'"benchmark_dir": {json.dumps(str(suite))}')
    (root / "asv.conf.json").write_text(text, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NBBENCH_", "ASV_", "GIT_"))}
    environment |= {
        "HOME": str(folder / "home"),
        "NBBENCH_MACHINE": MACHINE,
        "NBBENCH_MAX_FRAME_MB": "3",
        "COLUMNS": "200",
    }
    environment.pop("PYTHONPATH", None)
    project = Project(root, environment)
    if register:
        project.run("nbbench", "subject", "demo")
        project.run("asv", "machine", "--yes", "--machine", MACHINE)
    return project


def _change(suite: Path, changes: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Replace texts of the suite's files; each has to be there."""
    for name, pairs in changes.items():
        source = (suite / name).read_text(encoding="utf-8")
        for old, new in pairs:
            assert old in source, old
            source = source.replace(old, new)
        (suite / name).write_text(source, encoding="utf-8")
