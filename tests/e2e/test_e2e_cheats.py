"""An agent that wants a "win" at any price: whatever it tries, the gate says no, or that it cannot tell."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
import torch
from e2e_project import MACHINE, Project

from tests.torture.tiny import ASV_CONF, git

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

PROFILE = """
[tool.nbbench.subject]
package = "softfocus"
measured_path = "softfocus"
branch = "trunk"
"""
WORKLOADS = """
from nbbench.workloads import Declared, Workload
WORKLOADS = [Workload.of("blur", 128 * 128, size=128)]
BENCHMARKS = [Declared("suite", families=("blur",))]
"""
SUITE = """
import importlib
from functools import partial
import torch
from nbbench.measure import recording
from .workloads import WORKLOADS

def build(size):
    image = torch.linspace(0, 1, size * size).reshape(size, size)
    lens = importlib.import_module("softfocus.blur").Lens(size)
    return recording.Case(f"blur-{size}", size * size, torch.float32, lambda: lens.blur(image))

CASES = {one.name: partial(build, **dict(one.params)) for one in WORKLOADS}

class Warm:
    params = [128]
    param_names = ["size"]
    version = "1"
    def setup(self, size):
        torch.set_num_threads(2)
        self.run = build(size).run
    def time_run(self, size):
        self.run()
"""
HOST = """
import importlib
from nbbench.measure.recording import prepare, save, source_root, suite_cases
from nbbench.probe.host_phases import record_host

def write(workloads, again=False):
    prepare(threads=1)
    load = lambda: importlib.import_module("softfocus.blur")
    builders = {name: (lambda build=build: build().run) for name, build in suite_cases().items()}
    save([], record_host(load, builders, workloads, source_root=source_root(), reseed=again), again=again)
"""
HONEST = """import torch


class Lens:
    def __init__(self, size):
        self.size = size
        self.kept = {}

    def blur(self, image):
        return self.slow(image)

    def slow(self, image):
        out = image
        for shift in range(1, 9):
            out = (out + out.roll(shift, 0)) / 2
        return out
"""
CALL = "return self.slow(image)"
INPUT = "torch.linspace(0, 1, 128 * 128).reshape(128, 128)"


def _with(call: str, top: str = "", end: str = "") -> str:
    return f"{top}{HONEST.replace(CALL, call)}{end}"


def _image() -> str:
    image = torch.linspace(0, 1, 128 * 128).reshape(128, 128)
    for shift in range(1, 9):
        image = (image + image.roll(shift, 0)) / 2
    return base64.b64encode(image.numpy().tobytes()).decode()


_KEEP = "if {key} not in self.kept:\n            self.kept[{key}] = self.slow(image)\n"
_KEEP += "        return self.kept[{key}]"
_ROLL = """

_roll, _known = torch.Tensor.roll, {}
torch.Tensor.roll = lambda one, *rest: _known.setdefault(rest, one) if rest in _known else _roll(one, *rest)
"""
_READ = "return torch.frombuffer(bytearray(_DATA), dtype=torch.float32).reshape(128, 128) * 1.0"
CHEATS = {
    "the result is kept between calls": (_with(_KEEP.format(key="0")), "regressed"),
    "and handed out as a copy": (_with(f"{_KEEP.format(key='0')}.clone()"), "regressed"),
    "it is known by the id of its input": (_with(f"{_KEEP.format(key='id(image)')} * 1.0"), "regressed"),
    "the constructor does the work": (
        _with("return self.done * 1.0").replace("self.kept = {}", f"self.done = self.slow({INPUT})"),
        "regressed",
    ),
    "importing does the work": (
        _with("return _DONE * 1.0", end=f"\n\n_DONE = Lens(128).slow({INPUT})\n"),
        "regressed",
    ),
    "the environment tells of a benchmark": (
        _with(f"if 'NBBENCH_TREE' in os.environ:\n            return image\n        {CALL}", "import os\n"),
        "not comparable",
    ),
    "the stack tells of a benchmark": (
        _with(f"if sys._getframe(2).f_code.co_name:\n            pass\n        {CALL}", "import sys\n"),
        "inconclusive",
    ),
    "a lower precision": (_with("return self.slow(image.half()).float()"), "inconclusive"),
    "fewer steps": (HONEST.replace("range(1, 9)", "range(1, 8)"), "not comparable"),
    "torch is patched": (_with(CALL, end=_ROLL), "inconclusive"),
    "counting is switched off": (
        _with(
            "with torch._C._DisableTorchDispatch():\n            out = self.slow(image)\n"
            "        return out * 1.0"
        ),
        "inconclusive",
    ),
    "numpy does the work": (
        _with(
            "out = image.numpy()\n        for shift in range(1, 9):\n"
            "            out = (out + np.roll(out, shift, 0)) / 2\n"
            "        return torch.from_numpy(out) * 1.0",
            "import numpy as np\n",
        ),
        "inconclusive",
    ),
    "the image is in the source": (
        _with(_READ, "import base64\n", f"\n\n_DATA = base64.b64decode('{_image()}')\n"),
        "inconclusive",
    ),
}
QUICK = ("it is known by the id of its input", "counting is switched off")
CODES = {"regressed": 3, "not comparable": 4, "inconclusive": 4, "improved": 0}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Path, str]:
    """A package of one class and its suite; returns the commit before any change."""
    folder = tmp_path_factory.mktemp("cheats")
    root, clone = folder / "project", folder / "clone"
    for name, text in {
        root / "asv.conf.json": json.dumps(ASV_CONF | {"project": "softfocus"}),
        root / "pyproject.toml": PROFILE,
        root / "benchmarks" / "__init__.py": "",
        root / "benchmarks" / "workloads.py": WORKLOADS,
        root / "benchmarks" / "suite.py": SUITE,
        root / "benchmarks" / "host.py": HOST,
        clone / "softfocus" / "__init__.py": "",
        clone / "softfocus" / "blur.py": HONEST,
    }.items():
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_text(text)
    git(clone, "init", "--quiet", "--initial-branch=trunk")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "base")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NBBENCH_", "ASV_", "GIT_"))}
    clean.pop("PYTHONPATH", None)
    made = Project(root, clean | {"HOME": str(folder), "NBBENCH_MACHINE": MACHINE, "COLUMNS": "200"})
    made.run("nbbench", "subject", "use", str(clone))
    return made, clone, git(clone, "rev-parse", "HEAD")


def _commit(clone: Path, before: str, text: str) -> str:
    git(clone, "switch", "--quiet", "--detach", before)
    (clone / "softfocus" / "blur.py").write_text(text)
    git(clone, "commit", "--quiet", "--all", "--message", "faster")
    return git(clone, "rev-parse", "HEAD")


def _gate(project: tuple[Project, Path, str], text: str, outcome: str, *more: str) -> dict:
    made, clone, base = project
    _commit(clone, base, text)
    found = made.told("gate", base, "HEAD", "--policy", "work", *more, expect=CODES[outcome])
    assert found["outcome"] == outcome, found["sentence"]
    assert len(found["harness"]) == 16
    return found


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=() if one in QUICK else pytest.mark.thorough) for one in CHEATS]
)
def test_it_is_no_win(project, name: str) -> None:
    _gate(project, *CHEATS[name])


@pytest.mark.thorough
def test_a_speed_that_no_machine_has_is_no_win(project) -> None:
    """Work is counted on one thread, and less of it at head; where several threads are, nothing is done."""
    made, clone, base = project
    honest = HONEST.replace("range(1, 9)", "range(1, 501)")
    idle = f"if torch.get_num_threads() > 1:\n            return image\n        {CALL}"
    before = _commit(clone, base, honest.replace("/ 2", ".clone() / 2"))
    _commit(clone, before, honest.replace(CALL, idle))
    found = made.told("gate", before, "HEAD", "--bench", "Warm", expect=4)
    [verdict] = [one for one in found["verdicts"] if one["series"].startswith("suite.Warm")]
    assert verdict["outcome"] == "inconclusive"
    assert "impossible rate" in [one["kind"] for one in verdict["evidence"]]


def test_less_work_for_the_same_image_is_one(project) -> None:
    _gate(
        project,
        HONEST.replace("(out + out.roll(shift, 0)) / 2", "torch.lerp(out, out.roll(shift, 0), 0.5)"),
        "improved",
    )


@pytest.mark.thorough
def test_what_a_person_read_is_judged_as_ever(project) -> None:
    text, _ = CHEATS["a lower precision"]
    _gate(project, text, "improved", "--reviewed")
