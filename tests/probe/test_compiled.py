"""Compiled work against counts made by hand: bytes, kernels, graph breaks and recompilations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from compiled_sample import SOURCE, compiler_missing, write_subject

from nbbench.measure.process_env import compiled_environment

pytestmark = pytest.mark.skipif(bool(compiler_missing()), reason=compiler_missing())

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tests" / "samples" / "compiled_sample.py"
F32 = 4 * 1000  # bytes of one of the tensors
PROGRAMS = "chain,reduction,printing,item,own,sizes,each_run,forged"


def line_of(text: str) -> int:
    return next(i for i, line in enumerate(SOURCE.splitlines(), 1) if text in line)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    """Where compilers leave what they made: headers and tests of the processor take longer than programs."""
    return tmp_path_factory.mktemp("scratch")


def recorded(folder: Path, scratch: Path, programs: str = PROGRAMS, **environment: str):
    """What a fresh process records, by program."""
    write_subject(folder / "root")
    made = compiled_environment(os.environ, scratch)
    done = subprocess.run(
        [sys.executable, str(SAMPLE), str(folder / "root"), programs],
        env=made | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found(tmp_path_factory, scratch):
    """Compiled work by program."""
    return recorded(tmp_path_factory.mktemp("compiled"), scratch)


def program(work, scope: str = "the whole run"):
    """One of a workload's programs: compiled graphs, graphs that run, breaks, recompilations."""
    (one,) = (one for one in work["programs"] if one[0] == scope)
    return one[1:]


def sizes(graphs):
    """Runs, kernels, bytes and bytes when run eager, of each graph."""
    return [tuple(graph[2:]) for graph in graphs]


class TestBytes:
    def test_a_chain_of_pointwise_operations_is_one_kernel(self, found):
        """Eager: 2 + 3 + 2 + 3 + 2 tensors; fused: X and Y read, one written."""
        compiled, graphs, breaks, again = program(found["chain"])
        assert (found["chain"]["eager_bytes"], found["chain"]["fused_bytes"]) == (12 * F32, 3 * F32)
        assert (compiled, sizes(graphs), breaks, again) == (1, [(1, 1, 3 * F32, 12 * F32)], [], [])
        line = line_of("(X * 2 + Y)")
        assert graphs[0][:2] == ["compiledsubject.py", [line, line]]

    def test_a_reduction_writes_one_value(self, found):
        _, graphs, _, _ = program(found["reduction"])
        assert sizes(graphs) == [(1, 1, F32 + 4, 3 * F32 + 4)]

    def test_what_is_not_compiled_stays_eager(self, found):
        """The subject compiles two operations; the third reads and writes a tensor by itself."""
        own = found["own"]
        assert own["eager_bytes"] == 6 * F32
        assert sizes(program(own, "what the subject compiles")[1]) == [(1, 1, 2 * F32, 4 * F32)]
        assert sizes(program(own)[1]) == [(1, 1, 2 * F32, 6 * F32)]

    def test_nothing_of_its_own_is_no_program(self, found):
        assert [one[0] for one in found["chain"]["programs"]] == ["the whole run"]


class TestBreaks:
    @pytest.mark.parametrize(("name", "line"), [("printing", "print("), ("item", ".item()")])
    def test_a_break_has_its_line_and_reason(self, found, name, line):
        compiled, graphs, breaks, again = program(found[name])
        assert (compiled, len(graphs), again) == (2, 2, [])
        ((path, where, reason, times),) = breaks
        assert (path, where, times) == ("compiledsubject.py", line_of(line), 1)
        assert line.strip(".()") in reason

    def test_each_part_is_a_kernel(self, found):
        """Where nothing is broken the doubled tensor would be neither written nor read."""
        assert sizes(program(found["printing"])[1]) == [(1, 1, 2 * F32, 2 * F32)] * 2

    def test_what_the_subject_writes_into_the_logs_is_cleaned(self, found):
        reasons = {reason: path for path, _, reason, _ in program(found["forged"])[2]}
        assert reasons["place … no"] == ""


class TestRecompilations:
    def test_another_size_is_told_with_the_function(self, found):
        _, graphs, _, again = program(found["sizes"], "what the subject compiles")
        ((path, line, reason, times),) = again
        assert (path, times) == ("compiledsubject.py", 1)
        assert line in (line_of("@torch.compile"), line_of("def twice"))
        assert "size" in reason and "1000" in reason and "500" in reason
        assert sizes(graphs) == [(2, 1, 2 * F32, 6 * F32)]  # one graph serves both sizes: hence the note
        assert any(note.startswith("sizes vary") for note in found["sizes"]["notes"])

    def test_a_program_that_always_compiles_says_so(self, found):
        assert any(note.startswith("each run compiles again") for note in found["each_run"]["notes"])
        assert len(program(found["each_run"])[3]) >= 4


def test_counts_repeat_whatever_the_process_and_its_vectors(found, scratch, tmp_path):
    """Other hash seed, other order, vectors switched off, compiled before: the same to the last digit."""
    names = "own,item,chain"
    again = recorded(tmp_path, scratch, names, PYTHONHASHSEED="7", ATEN_CPU_CAPABILITY="default")
    assert all(again[name] == found[name] for name in names.split(","))


def test_a_torch_without_the_names_is_told_as_such(found):
    assert "does not tell what it compiles" in found["missing"] and "num_bytes_accessed" in found["missing"]


def test_the_environment_lets_torch_compile_and_leaves_nothing_behind(tmp_path):
    user = {"TORCHDYNAMO_DISABLE": "1", "MINE_DISABLE_COMPILE": "1", "TORCH_LOGS": "all", "OTHER": "1"}
    made = compiled_environment(user | {"TORCHINDUCTOR_MAX_AUTOTUNE": "1"}, tmp_path)
    assert not {"MINE_DISABLE_COMPILE", "TORCH_LOGS", "TORCHINDUCTOR_MAX_AUTOTUNE"} & made.keys()
    assert (made["TORCHDYNAMO_DISABLE"], made["OTHER"], made["TMPDIR"]) == ("0", "1", str(tmp_path))
