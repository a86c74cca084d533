"""`@workload`: what one function of the user's declares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nbbench.errors import ConfigError
from nbbench.model import Phase, SeriesKey
from nbbench.workloads import Workloads, suite_workloads

HEAD = "from nbbench.suite import workload\n"
SUITE = """
@workload(
    sizes=[8, 16],
    phases=["construct", "warm run", "memory"],
    pixels=lambda size: size * size,
    dtype="float64",
)
def solve_fast(size):
    return lambda: size

@workload(sizes=[4])
def fit(size):
    return lambda: size
"""


def declared(folder: Path, text: str) -> Workloads:
    (folder / "benchmarks").mkdir(exist_ok=True)
    (folder / "benchmarks" / "workloads.py").write_text(HEAD + text)
    return suite_workloads(folder)


def test_a_function_declares_its_workloads_and_benchmarks(tmp_path: Path) -> None:
    found = declared(tmp_path, SUITE)
    assert list(found.by_name) == ["solve_fast-8", "solve_fast-16", "fit-4"]
    assert (found.by_name["solve_fast-16"].pixels, found.by_name["solve_fast-16"].dtype) == (256, "float64")
    phases = {one.benchmark: one.phase for one in found.benchmarks if "SolveFast" in one.benchmark}
    assert phases == {
        "workloads.SolveFastConstruct": Phase.CONSTRUCT,
        "workloads.SolveFastWarm": Phase.WARM,
        "workloads.SolveFastMemory": Phase.MEMORY,
    }
    warm = SeriesKey("workloads.SolveFastWarm.time_run", "", (("size", "16"),), "", "")
    counts = SeriesKey("workloads.Counts.track_operations", "", (("workload", "'fit-4'"),), "", "")
    assert [one and one.name for one in map(found.workload_of, (warm, counts))] == ["solve_fast-16", "fit-4"]


def test_the_version_follows_the_text_of_the_function(tmp_path: Path) -> None:
    """Else results of another workload of the same name would be compared with it."""
    before = declared(tmp_path, SUITE).by_name
    after = declared(tmp_path, SUITE.replace("lambda: size\n\n", "lambda: 2 * size\n\n")).by_name
    assert before["solve_fast-8"].version != after["solve_fast-8"].version
    assert before["fit-4"].version == after["fit-4"].version


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("sizes=[8], phases=['warm']", "no phase 'warm'"),
        ("sizes=[]", "whole numbers"),
        ("sizes=[8, 8]", "each of them once"),
        ("sizes=[0.5]", "whole numbers"),
    ],
)
def test_what_cannot_be_declared_is_refused(tmp_path: Path, asked: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        declared(tmp_path, f"@workload({asked})\ndef solve(size):\n    return lambda: size\n")


def test_another_file_is_no_place_for_it(tmp_path: Path) -> None:
    """nbbench reads the declaration from one file, and would not know of this workload."""
    from nbbench.suite import workload

    def solve(size):
        return lambda: size

    with pytest.raises(ConfigError, match=r"belongs into benchmarks/workloads\.py"):
        workload(sizes=[8])(solve)


def test_declaring_needs_no_torch() -> None:
    code = "import sys, nbbench.suite; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
