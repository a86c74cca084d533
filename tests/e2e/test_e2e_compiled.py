"""`nbbench ledger --compiled` through the command line: what is recorded, refused, kept, and left behind."""

from __future__ import annotations

import json
import shutil
import signal
from math import isnan

import pytest
from compiled_sample import compiler_missing
from e2e_project import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(compiler_missing()), reason=compiler_missing()),
]

WORKLOAD = "sources-3969"  # the cheapest to compile: one graph
ASKED = ("ledger", "HEAD", "--compiled", "--bench", WORKLOAD)


@pytest.fixture(scope="module")
def project(new_project):
    return new_project("compiled")


@pytest.fixture(scope="module")
def told(project, tmp_path_factory):
    """The document, recorded with a folder for temporary files that must be empty afterwards."""
    folder = tmp_path_factory.mktemp("temporary")
    done = project.run("nbbench", *ASKED, "--json", TMPDIR=str(folder))
    assert list(folder.iterdir()) == [] and project.processes() == []
    return json.loads(done.stdout)


class TestCompiled:
    def test_no_compiler_is_said_with_exit_code_2(self, project, tmp_path):
        """Before anything is measured; git alone is in the way of programs."""
        (tmp_path / "git").symlink_to(str(shutil.which("git")))
        done = project.run("nbbench", *ASKED, expect=2, PATH=str(tmp_path))
        assert "torch.compile needs a C++ compiler, and there is no program 'g++'" in done.stderr
        assert "hint: install g++" in done.stderr

    @pytest.mark.parametrize(
        "number", [pytest.param(signal.SIGINT, marks=pytest.mark.thorough), signal.SIGKILL]
    )
    def test_interrupted_it_leaves_nothing(self, project, tmp_path, number):
        project.environment["TMPDIR"] = str(tmp_path)
        running = project.start("nbbench", *ASKED)
        del project.environment["TMPDIR"]
        wait_until(lambda: list(tmp_path.glob("nbbench-warm-*/inductor/*/*")))
        running.send_signal(number)
        assert running.wait() == (130 if number == signal.SIGINT else -signal.SIGKILL)
        wait_until(lambda: not project.processes() and not list(tmp_path.iterdir()))

    def test_bytes_lines_and_kernels(self, told):
        (work,) = told["compiled"]
        assert (work["workload"], work["error"]) == (WORKLOAD, "")
        (program,) = work["programs"]
        assert program["scope"] == "the whole run"
        assert 0 < work["fused_bytes"] <= program["bytes_per_pixel"] * work["pixels"] < work["eager_bytes"]
        assert program["graphs"] and all(graph["kernels"] for graph in program["graphs"])
        assert {graph["path"] for graph in program["graphs"]} == {"nanobrag_torch/utils/auto_selection.py"}

    def test_the_eager_bytes_are_those_of_the_ledger(self, project, told):
        """The program that is compiled is the one whose ledger is recorded with compilation switched off."""
        (ledger,) = project.told("ledger", "HEAD", "--bench", WORKLOAD)["ledgers"]
        (work,) = told["compiled"]
        assert [work[name] for name in ("eager_bytes", "fused_bytes")] == [
            ledger["bytes"],
            ledger["fused_bytes"],
        ]

    def test_a_second_call_needs_no_compiler(self, project, told, tmp_path):
        (tmp_path / "git").symlink_to(str(shutil.which("git")))
        done = project.run("nbbench", *ASKED, PATH=str(tmp_path))
        assert "B/pixel → compiled " in done.stdout and "one fused kernel" in done.stdout

    def test_a_range_is_refused(self, project):
        done = project.run("nbbench", "ledger", "HEAD~1..HEAD", "--compiled", expect=2)
        assert "--compiled is for a single commit" in done.stderr


@pytest.mark.thorough
class TestTimes:
    def test_asv_times_what_it_is_asked_for_alone(self, project):
        """Without NBBENCH_COMPILED everything is skipped."""
        ask = ("nbbench", "run", "--limit", "1", "--bench", "compiled")
        project.run(*ask, expect=None)
        (head,) = project.results()
        assert all(map(isnan, project.figures(head, "compiled.Compile.track_compile_time")))
        project.run(*ask, "--again", expect=None, NBBENCH_COMPILED=WORKLOAD)
        for name in ("track_compile_time", "track_first_run"):
            other, asked = project.figures(head, f"compiled.Compile.{name}")
            assert isnan(other) and asked > 0
