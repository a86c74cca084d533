"""`nbbench run`: limits, repeats, watchdog, kills and what is left after them."""

from __future__ import annotations

import signal

import psutil
import pytest
from e2e_project import CHEAP, MACHINE, SOURCES, WARM, planted, wait_until
from planted_history import plant

from nbbench.subject.subjects.nanobragg.demo import PLANTED

pytestmark = pytest.mark.e2e

MEASURED = [str(event.hash) for event in PLANTED if event.kind != "docs"]
QUICK = ("--bench", r"Sources\.time_generate")


def state(project):
    """Every file that a measurement may write, with its bytes."""
    folder = project.root / "results" / MACHINE
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class TestCommits:
    def test_json(self, project):
        told = project.told("commits")
        assert [c["hash"] for c in told["commits"]] == MEASURED
        assert [c["position"] for c in told["commits"]] == list(range(1, 15))
        assert told["schema"].startswith("nbbench.commits/")

    def test_ranges(self, project):
        assert [c["position"] for c in project.told("commits", "3-5")["commits"]] == [3, 4, 5]
        told = project.told("commits", f"{MEASURED[2]}..{MEASURED[4]}")
        assert [c["hash"] for c in told["commits"]] == MEASURED[3:5]

    @pytest.mark.parametrize("span", ["5-3", "40-50", "nothing", "nothing..HEAD", "18..17", "--all"])
    def test_nothing_to_list(self, project, span):
        done = project.run("nbbench", "commits", span, expect=2)
        assert done.stdout == "" and "Traceback" not in done.stderr


class TestLimit:
    @pytest.fixture(scope="class")
    @classmethod
    def limited(cls, new_project):
        project = new_project("limit", smaller=(512, 1024))
        return project, project.told("run", "--limit", "2", *QUICK)

    def test_newest_and_oldest(self, limited):
        project, told = limited
        assert [c["hash"] for c in told["commits"]] == [MEASURED[-1], MEASURED[0]]
        assert [c["ok"] for c in told["commits"]] == [1, 1] and told["failures"] == []
        assert set(project.results()) == {MEASURED[-1][:8], MEASURED[0][:8]}

    def test_imported_at_once(self, limited):
        project, _ = limited
        assert (project.root / "results" / "nbbench.sqlite").is_file()
        assert project.told("import")["files_unchanged"] == 2

    def test_repeat_does_nothing(self, limited):
        project, told = limited
        before = state(project)
        again = project.told("run", "--limit", "2", *QUICK)
        assert state(project) == before
        assert again["commits"] == told["commits"]

    @pytest.mark.thorough
    def test_more_commits_keep_the_first(self, limited):
        project, _ = limited
        before = state(project)
        project.told("run", "--limit", "3", *QUICK)
        after = state(project)
        assert {name: after[name] for name in before} == before
        assert set(project.results()) == {MEASURED[i][:8] for i in (0, 6, 13)}

    def test_again_appends_samples_and_a_broken_commit_is_no_failure_of_the_run(self, limited):
        project, _ = limited
        commit, broken = MEASURED[-1], planted(8)
        columns = project.results()[commit[:8]]["result_columns"]

        def samples():
            row = project.results()[commit[:8]]["results"][SOURCES]
            return len(row[columns.index("samples")][0])

        before = samples()
        told = project.told("run", "--commits", f"{commit[:8]},{broken}", "--again", *CHEAP)
        assert samples() > before
        runs = [r for r in project.telemetry(commit) if r.kind == "run" and r.benchmark == SOURCES]
        assert len(runs) == 4
        assert [(f["what"].partition("(")[0], f["error"]) for f in told["failures"]] == [
            (WARM, "NameError: name 'n_steps' is not defined")
        ]
        [row] = [c for c in told["commits"] if c["hash"] == broken]
        assert row["failed"] == 1 and row["ok"] == 1

    def test_nothing_measured_is_inconclusive(self, limited):
        project, _ = limited
        bench = ("--bench", r"Warm\.time_run\(1024, 'float64'\)")  # above NBBENCH_MAX_FRAME_MB
        told = project.told("run", "--commits", planted(10), *bench, expect=4)
        assert told["commits"][0]["ok"] == 0 and told["commits"][0]["skipped"] > 0

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("5-3",), "runs backwards"),
            (("40-50",), "no commit in 40-50"),
            (("--commits", "nope"), "unknown commit 'nope'"),
            (("--limit", "1", "--bench", "no such benchmark"), "no benchmark matches --bench"),
        ],
    )
    def test_usage(self, limited, arguments, words):
        done = limited[0].run("nbbench", "run", *arguments, expect=2)
        assert words in done.stderr and "Traceback" not in done.stderr

    def test_half_written_results_do_not_stop_a_run(self, limited):
        """The last of these tests: it measures one of the two commits anew."""
        project, _ = limited
        path = next((project.root / "results" / MACHINE).glob(f"{MEASURED[-1][:8]}-nbbench-*.json"))
        path.write_bytes(path.read_bytes()[:100])
        assert [name for name, _ in project.told("import")["files_bad"]] == [f"{MACHINE}/{path.name}"]
        # asv alone refuses to go on from such a file, for ever.
        done = project.run("nbbench", "run", "--commits", MEASURED[-1], *QUICK)
        assert f"{path.name} is damaged and was set aside" in done.stderr
        assert project.figures(MEASURED[-1], SOURCES)[0] > 0
        assert project.told("import")["files_bad"] == []


def test_watchdog(new_project):
    """The first commit's scalar loop takes a second; its limit here is a twentieth of that."""
    project = new_project("watchdog")
    told = project.told("run", "--commits", planted(1), *QUICK, "--timeout", "0.05", expect=4)
    assert told["commits"][0]["failed"] == 1 and "timed out" in told["failures"][0]["error"]
    records = [r for r in project.telemetry(planted(1)) if r.kind == "run"]
    assert records and all(r.timed_out and r.exit_code == -256 for r in records)


class TestKilled:
    """Five commits, of which the fourth waits; stopped when two are there, then repeated."""

    @pytest.fixture
    def held(self, new_project, tmp_path):
        history = plant(tmp_path / "subject")
        begun = tmp_path / "begun"
        begun.mkdir()
        commits = [history.held(f"held {i}", begun) for i in range(5)]
        project = new_project("held", register=False)
        project.run("nbbench", "subject", "use", str(history.folder))
        span = f"{commits[0]}~1..{commits[-1]}"
        return project, span, {commit[:8] for commit in commits}, tmp_path / "go"

    def start(self, held):
        project, span, _, _ = held
        process = project.start("nbbench", "run", span, *QUICK)
        try:
            wait_until(lambda: process.poll() is not None or len(self.finished(project)) >= 2)
            assert process.poll() is None, process.stdout.read()
        except BaseException:
            process.kill()
            raise
        return process

    @staticmethod
    def finished(project):
        return {path.name[:8] for path in (project.root / "results" / MACHINE).glob("*-nbbench-*.json")}

    def resumes(self, held):
        """Nothing is left running, files are whole, and a repeat measures only what is missing."""
        project, span, commits, go = held
        wait_until(lambda: project.processes() == [])
        kept = self.finished(project)
        assert 2 <= len(kept) <= 3
        go.touch()
        before = project.results()
        processes = {commit: len(project.telemetry(commit)) for commit in kept}
        told = project.told("run", span, *QUICK)
        assert {c["hash"][:8] for c in told["commits"]} == set(project.results()) == commits
        assert all(c["ok"] == 1 for c in told["commits"])
        for commit in kept:
            assert project.results()[commit]["results"] == before[commit]["results"]
            assert len(project.telemetry(commit)) == processes[commit]

    def test_nbbench_killed(self, held):
        project = held[0]
        process = self.start(held)
        # Meanwhile nobody else may measure here.
        done = project.run("nbbench", "run", "--limit", "1", *QUICK, expect=2)
        assert "another nbbench is measuring" in done.stderr
        process.kill()
        process.wait()
        self.resumes(held)

    def test_asv_killed(self, held):
        project = held[0]
        process = self.start(held)
        (asv,) = [
            child
            for child in psutil.Process(process.pid).children()
            if "asv" in child.cmdline() and "run" in child.cmdline()
        ]
        asv.kill()
        told, _ = process.communicate()
        assert process.returncode == 2
        assert "asv was ended by signal 9" in told
        assert project.told("import")["files_unchanged"] >= 2  # imported on the way out
        self.resumes(held)

    @pytest.mark.parametrize(
        "number",
        [
            pytest.param(signal.SIGINT, id="interrupt"),
            pytest.param(signal.SIGTERM, id="terminate", marks=pytest.mark.thorough),
            pytest.param(signal.SIGHUP, id="hang up", marks=pytest.mark.thorough),
        ],
    )
    def test_asked_to_stop(self, held, number):
        project = held[0]
        process = self.start(held)
        process.send_signal(number)
        told, _ = process.communicate()
        assert process.returncode == 128 + number, told
        assert "interrupted" in told and "Traceback" not in told
        assert project.told("import")["files_unchanged"] >= 2
        self.resumes(held)
