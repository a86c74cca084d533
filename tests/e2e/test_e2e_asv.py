"""Plain asv in a project folder: HASHFILE, ranges, NEW, show, compare, publish; the right subject."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest
from e2e_project import CHEAP, MACHINE, REPOSITORY, SOURCES, WARM, planted

from nbbench.measure.process_env import measuring

pytestmark = pytest.mark.e2e

BASE, UPCAST = planted(5), planted(7)
BROKEN = planted(8)


def hash_file(project, *commits):
    path = project.root / "hashes.txt"
    path.write_text("".join(f"{commit}\n" for commit in commits))
    return f"HASHFILE:{path}"


@pytest.fixture(scope="module")
def measured(project):
    """Three commits by a list of hashes; the second one changes documentation alone."""
    before, trees = set(project.results()), project.root / ".nbbench" / "env" / "trees"
    there = set(trees.iterdir()) if trees.is_dir() else set()
    commits = hash_file(project, BASE, planted(6), UPCAST)
    done = project.run("asv", "run", commits, *CHEAP, "--machine", MACHINE)
    return done, set(project.results()) - before, set(trees.iterdir()) - there


@pytest.fixture(scope="module")
def ranged(project, measured):
    """One commit more by a git range."""
    before = set(project.results())
    span = f"{planted(16)}..{planted(17)}"
    done = project.run("asv", "run", span, *CHEAP, "--machine", MACHINE)
    return done, set(project.results()) - before


class TestRun:
    def test_hash_file(self, project, measured):
        done, commits, _ = measured
        assert commits == {BASE[:8], planted(6)[:8], UPCAST[:8]}
        for commit in (BASE, UPCAST):
            figures = project.figures(commit, WARM)
            assert figures[0] > 0 and all(value is None or math.isnan(value) for value in figures[1:])
            assert project.figures(commit, SOURCES)[0] > 0
        assert "Traceback" not in done.stdout + done.stderr

    def test_every_process_left_telemetry(self, project, measured):
        for commit in (BASE, UPCAST):
            records = [r for r in project.telemetry(commit) if r.kind == "run"]
            assert {(r.benchmark, r.param_index) for r in records} == {(WARM, 0), (SOURCES, 0)}
            assert len(records) == 4  # two rounds each
            assert {r.commit for r in records} == {commit} and {r.machine for r in records} == {MACHINE}
            assert all(r.exit_code == 0 and r.wall_s > 0 and r.minor_faults > 0 for r in records)

    @pytest.mark.thorough
    def test_range(self, project, ranged):
        assert ranged[1] == {planted(17)[:8]}
        assert project.figures(planted(17), WARM)[0] > 0

    @pytest.mark.thorough
    def test_new(self, project, ranged):
        before = set(project.results())
        project.run("asv", "run", "NEW", *CHEAP, "--machine", MACHINE)
        assert set(project.results()) - before == {planted(18)[:8]}

    def test_users_machine_file_is_untouched(self, project, measured):
        assert MACHINE in (project.root.parent / "home" / ".asv-machine.json").read_text()

    def test_equal_trees_are_extracted_once(self, measured):
        assert len(measured[2]) <= 2


def rows():
    """The table of docs/asv.md: command, exit code, what it says (quoted in the last column)."""
    for line in (REPOSITORY / "docs" / "asv.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| `asv"):
            command, code, what = (cell.strip() for cell in line.strip("|").split("|"))
            yield command.strip("`"), int(code), re.findall('"([^"]+)"', what)


WORDS = {"RANGE": "HEAD^!", "BENCHMARK": "vectorisation.Sources.time_generate"}
MORE = {
    "run": ("--bench", "Baseline", "--quick", "--machine", MACHINE),
    "continuous": ("--bench", "Baseline", "--quick", "--machine", MACHINE),
    "find": ("--skip-save", "--machine", MACHINE),
}


# Those that measure as another row does.
LONG = ("-j 2", "forkserver", "--dry-run", "--no-push", "asv find", "asv profile BENCHMARK")


def cases():
    """The rows as a test's parameters."""
    return [
        pytest.param(*row, id=row[0], marks=[pytest.mark.thorough] * any(word in row[0] for word in LONG))
        for row in rows()
    ]


class TestCommands:
    """J4: each command of asv works or refuses in a sentence."""

    @pytest.mark.parametrize(("command", "code", "said"), cases())
    def test_a_row_of_the_table(self, project, request, command, code, said):
        words = [WORDS.get(word, word) for word in command.split()]
        if words[1] == "find":
            words[2] = "HEAD~2..HEAD"
        if words[1] in ("gh-pages", "show"):
            request.getfixturevalue({"gh-pages": "repository", "show": "measured"}[words[1]])
        before = set(project.results())
        done = project.run(*words, *MORE.get(words[1], ()), expect=code)
        printed = done.stdout + done.stderr
        assert "Traceback" not in printed
        assert all(sentence in printed for sentence in said), printed
        if code or "--dry-run" in words:
            assert set(project.results()) == before
        assert not list((project.root / "results" / MACHINE).glob("*-py2.7-*"))

    @pytest.fixture
    def repository(self, project, measured):
        """The project's folder as a git repository of its own, for as long as a test runs."""
        subprocess.run(["git", "init", "--quiet", str(project.root)], check=True)
        (Path(project.environment["HOME"]) / ".gitconfig").write_text(
            "[user]\nname = Ada\nemail = ada@example.org\n", encoding="utf-8"
        )
        yield
        shutil.rmtree(project.root / ".git")
        (Path(project.environment["HOME"]) / ".gitconfig").unlink()

    def test_measuring_waits_for_nobody(self, project):
        with measuring(project.root / ".nbbench"):
            done = project.run("asv", "run", "HEAD^!", *MORE["run"], expect=1)
        assert "another nbbench is measuring in this project" in done.stdout + done.stderr


class TestReading:
    def test_show(self, project, measured):
        assert WARM in project.run("asv", "show", BASE[:8]).stdout

    def test_compare(self, project, measured):
        told = project.run("asv", "compare", BASE[:8], UPCAST[:8], "--machine", MACHINE).stdout
        assert f"{WARM}(512, 'float32')" in told

    def test_publish(self, project, measured):
        project.run("asv", "publish")
        html = project.root / "html"
        index = (html / "index.json").read_text()
        assert SOURCES in index
        page, theirs = html / "index.html", html / "asv.html"
        assert page.is_file() and "feature/spec-based-2" in page.read_text()
        assert page.name in theirs.read_text()
        assert '"asv":true' in (html / "nbbench/data/start.js").read_text()
        # A5: where asv's pages fail to load their libraries they go to error.html, which leads on to ours.
        assert "error.html" in theirs.read_text()
        assert f"url={page.name}#asv-offline" in (html / "error.html").read_text()
        assert 'id="asv-offline"' in page.read_text()


class TestBroken:
    @pytest.fixture(scope="class")
    @classmethod
    def broken(cls, project):
        return project.run("asv", "run", hash_file(project, BROKEN), *CHEAP, "--machine", MACHINE, expect=2)

    def test_is_recorded_as_failed_with_its_reason(self, project, broken):
        assert project.figures(BROKEN, WARM)[0] is None
        told = {r.stderr_tail.strip().splitlines()[-1] for r in project.telemetry(BROKEN) if r.exit_code}
        assert told == {"NameError: name 'n_steps' is not defined"}
        assert {r.benchmark for r in project.telemetry(BROKEN) if r.exit_code} == {WARM}

    def test_what_still_works_is_measured(self, project, broken):
        assert project.figures(BROKEN, SOURCES)[0] > 0

    def test_a_tree_that_is_not_there(self, project):
        """Before the measured path existed, or with objects missing: a failed build, told in telemetry."""
        commit = planted(12)
        environment = {"NBBENCH_MEASURED_PATH": "src/nowhere"}
        project.run(
            "asv", "run", hash_file(project, commit), *CHEAP, "--machine", MACHINE, expect=None, **environment
        )
        records = [r for r in project.telemetry(commit) if r.kind == "install"]
        assert records and "has no src/nowhere" in records[0].stderr_tail


SABOTAGE = """
from pathlib import Path
Path({marker!r}).touch()
raise ImportError("the wrong nanobrag_torch was imported")
"""


class TestSubject:
    """Benchmarks run the commit's own code, whatever else could be imported."""

    def test_another_package_of_that_name_is_not_imported(self, new_project, tmp_path):
        project = new_project("sabotage")
        marker = tmp_path / "imported"
        package = tmp_path / "path" / "nanobrag_torch"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(SABOTAGE.format(marker=str(marker)))
        project.run(
            *("asv", "run", hash_file(project, BASE), "--machine", MACHINE, "--quick"),
            *("--bench", r"Warm\.time_run\(512, 'float32'\)"),
            PYTHONPATH=str(package.parent),
        )
        assert project.figures(BASE, WARM)[0] > 0
        assert not marker.exists()

    def test_the_assertion_itself(self, project, measured, tmp_path):
        """A subject from elsewhere fails the benchmark instead of being measured."""
        trees = list((project.root / ".nbbench" / "env" / "trees").iterdir())
        code = (
            f"import sys; sys.path[:0] = [{str(trees[0] / 'src')!r}, {str(REPOSITORY)!r}]\n"
            "from benchmarks import subject\n"
            "subject.load()\n"
        )
        environment = project.environment | {"NBBENCH_TREE": str(tmp_path)}
        done = _python(["-c", code], environment, project.root)
        assert done.returncode and "AssertionError: nanobrag_torch was imported from" in done.stderr


def _python(arguments, environment, folder):
    import subprocess
    import sys

    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


ODD = """
import os, signal, time

def track_fine():
    if "ODD_LATER" in os.environ:
        exec(os.environ["ODD_LATER"])
    return 1.0

def track_killed():
    os.kill(os.getpid(), signal.SIGKILL)

def track_crashes():
    os.abort()

def track_secret():
    raise ValueError("not " + os.environ["MY_API_TOKEN"])

def track_stops_its_server():
    os.kill(os.getppid(), signal.SIGSTOP)
    return 1.0

def track_escapes():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open(os.environ["ODD_PIDS"], "w").write("%d\\n" % os.getpid())
            time.sleep(600)
        os._exit(0)
    while not (os.path.exists(os.environ["ODD_PIDS"]) and open(os.environ["ODD_PIDS"]).read()):
        time.sleep(0.01)
    return 1.0
"""
SECRET = "correct-horse-battery"


class TestOddBenchmarks:
    """J2, J3, J10: what processes do that end unasked, leave something behind, or say too much."""

    @pytest.fixture(scope="class")
    @classmethod
    def measured(cls, new_project, tmp_path_factory):
        project = new_project("odd")
        suite = tmp_path_factory.mktemp("odd") / "suite"
        suite.mkdir()
        (suite / "__init__.py").write_text("")
        (suite / "odd.py").write_text(ODD)
        conf = project.root / "asv.conf.json"
        text = re.sub(r'"benchmark_dir": ".*?"', f'"benchmark_dir": "{suite}"', conf.read_text())
        conf.write_text(text)
        pids = suite.parent / "pids"
        project.environment |= {"MY_API_TOKEN": SECRET, "ODD_PIDS": str(pids)}
        shown = project.run("asv", "run", "HEAD^!", "--show-stderr", "--machine", MACHINE, expect=2)
        (commit,) = project.results()
        return project, commit, shown.stdout + shown.stderr, pids

    def test_what_is_killed_from_outside_is_not_stored(self, measured):
        project, commit, shown, _ = measured
        stored = project.results()[commit]["results"]
        assert set(stored) == {f"odd.track_{name}" for name in
                               ("fine", "crashes", "secret", "stops_its_server", "escapes")}  # fmt: skip
        assert project.figures(commit, "odd.track_fine") == [1.0]
        assert project.figures(commit, "odd.track_crashes") is None
        assert "killed from outside (SIGKILL" in shown
        tries = [r for r in project.telemetry(commit) if r.benchmark == "odd.track_killed"]
        assert len(tries) == 2

    def test_what_stops_its_server_is_tried_once_more_and_has_failed(self, measured):
        project, commit, _, _ = measured
        assert project.figures(commit, "odd.track_stops_its_server") is None
        tries = [r for r in project.telemetry(commit) if r.benchmark == "odd.track_stops_its_server"]
        assert len(tries) == 2

    def test_the_next_run_measures_it_again_and_nothing_else(self, measured):
        project, commit, _, _ = measured
        before = len(project.telemetry(commit))
        project.run("asv", "run", "HEAD^!", "--skip-existing", "--machine", MACHINE, expect=2)
        again = project.telemetry(commit)[before:]
        assert {r.benchmark for r in again if r.kind == "run"} == {"odd.track_killed"}

    @pytest.mark.parametrize(
        "later",
        [
            "os.kill(os.getpid(), signal.SIGKILL)",
            pytest.param("raise ValueError('once')", marks=pytest.mark.thorough),
        ],
    )
    def test_appending_takes_nothing_away(self, measured, later):
        """J3: `nbbench run --again` while memory is short costs no figure that was there."""
        project, commit, _, _ = measured
        options = ("--append-samples", "--record-samples", "--bench", "track_fine", "--machine", MACHINE)
        project.run("asv", "run", "HEAD^!", *options, expect=2, ODD_LATER=later)
        assert project.figures(commit, "odd.track_fine") == [1.0]

    def test_a_secret_reaches_no_file_and_no_terminal(self, measured):
        project, _, shown, _ = measured
        assert "ValueError: not <redacted>" in shown
        imported = project.run("nbbench", "import")
        assert SECRET not in shown + imported.stdout + imported.stderr
        for path in (project.root / "results").rglob("*"):
            assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path

    def test_nothing_hangs_and_nothing_is_left(self, measured):
        project, commit, shown, pids = measured
        assert project.figures(commit, "odd.track_stops_its_server") is None
        assert "stopped the process that watches it" in shown
        assert project.figures(commit, "odd.track_escapes") == [1.0]
        with contextlib.suppress(psutil.NoSuchProcess):  # a container's init may leave it as a zombie
            assert psutil.Process(int(pids.read_text())).status() == psutil.STATUS_ZOMBIE


class TestWithoutSubject:
    def test_asv_says_so_in_one_line(self, new_project):
        project = new_project("bare", register=False)
        done = project.run("asv", "run", "--machine", MACHINE, expect=None)
        assert done.returncode != 0
        assert (
            "no subject is registered (register one with `nbbench subject demo`" in done.stdout + done.stderr
        )
        assert "Traceback" not in done.stdout + done.stderr
