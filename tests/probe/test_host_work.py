"""Host work: what is counted, on which line, the same in every process and from both sources of events."""

from __future__ import annotations

import gc
import importlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import tracemalloc
import warnings
from collections import Counter
from pathlib import Path

import pytest
from host_sample import PACKAGE, SOURCE, write_subject

from nbbench.host import (
    HOST_KINDS,
    IMPORT_WORKLOAD,
    MEMORY_UNIT,
    OF_TENSORS,
    HostCount,
    HostKind,
    HostPhase,
    HostWork,
)
from nbbench.model import Phase
from nbbench.probe import forked as forks
from nbbench.probe import host_work
from nbbench.probe.host_events import TraceEvents, c_name
from nbbench.probe.host_work import HostRecorder, memory_peaks

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tests" / "samples" / "host_sample.py"


def line_of(text: str) -> int:
    """The line of the subject that begins with a text."""
    return next(i for i, line in enumerate(SOURCE.splitlines(), 1) if line.strip().startswith(text))


def recorded(folder: Path, python: str = sys.executable, source: str = "event_source", **environment: str):
    """What a fresh process counts, by phase."""
    if not folder.exists():
        write_subject(folder)
    done = subprocess.run(
        [python, str(SAMPLE), str(folder), source],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Counts by phase, then by kind, line and name."""
    found = recorded(tmp_path_factory.mktemp("subject") / "root")
    return {
        phase: {(kind, path, line, name): n for kind, path, line, _, name, n in counts}
        for phase, counts in found.items()
    }


@pytest.fixture
def here(counted):
    """The count of something on the line that begins with a text, in the warm run."""

    def count(kind: str, text: str, name: str = "", phase: str = "warm run") -> int:
        return counted[phase].get((kind, f"{PACKAGE}/work.py", line_of(text), name), 0)

    return count


class TestCounts:
    def test_calls(self, here):
        assert here("call", "def loop") == 2  # once in a thread
        assert here("call", "def total") == 1
        assert here("call", "def steps") == 6  # each time that it goes on
        assert here("call", "self.values = [") == 0  # a comprehension is no call

    def test_lines(self, here):
        assert here("line", "x = 0") == 2
        # Jumps back within the line, as this Python compiles them, for n = 5 and 7.
        assert here("line", "while x < n") in (12, 14)
        assert here("line", "for i in range(n): x") in (12, 14)
        assert here("line", "raise ValueError") == 1
        assert here("line", "pass") == 5

    def test_calls_to_the_outside(self, here):
        assert here("outside", "self.names =", "str") == 0  # a class, not a C function
        assert here("outside", 'len("abc")', "len") == 1
        assert here("outside", 'Text("q")', "Text.upper") == 1
        assert here("outside", 'Text("q")', "str.join") == 1
        assert here("outside", 'Text("q")', "dict.fromkeys") == 1
        assert here("outside", "sorted([3", "sorted") == 1
        assert here("outside", "max(*", "max") == 1
        assert here("outside", "with open", c_name(open, None)) == 1

    def test_modules_have_the_line_that_imported_them(self, here):
        assert here("module", "import wave", "wave", "first run") == 1
        assert here("module", "import wave", "wave") == 0

    def test_the_subjects_own_modules(self, counted):
        own = {key[3] for key in counted["import"] if key[0] == "module"}
        assert {PACKAGE, f"{PACKAGE}.work"} <= own

    def test_output(self, here, counted):
        assert here("output", "print(", "stdout") == len("hello 5\n")
        assert here("output", "sys.stderr", "stderr") == 7
        assert here("output", "sys.stdout.buffer", "stdout") == 3
        assert counted["warm run"]["output", "", 0, "stdout"] == 2  # past Python's streams: of no line

    def test_warnings_and_files(self, here):
        assert here("warning", "warnings.warn", "DeprecationWarning") == 1
        assert here("file", "with open", f"read {PACKAGE}/work.py") == 1

    def test_code_in_memory_counts_on_its_line(self, here):
        assert here("line", "exec(") >= 12  # its own, and those that it executes
        assert here("call", "def in_memory") == 1
        assert here("line", "return eval(") == 2

    def test_threads_processes_and_waits(self, here):
        assert here("launch", "worker.start", "thread") == 1
        assert here("launch", "subprocess.run", "Popen") == 1
        assert here("launch", "if not (child", "fork") == 1
        assert here("wait", "time.sleep", "time.sleep") == 1
        assert here("line", "while x < n") in (12, 14)  # in the thread as well

    def test_a_setting_of_the_process(self, here):
        name = "default dtype float"
        assert here("setting", "torch.set_default_dtype", f"{name}32") == 1
        assert here("setting", "torch.set_default_dtype", f"{name}64", "first run") == 1

    def test_memory(self, here):
        """A large object, and many small ones."""
        assert here("memory", "big = bytes") == 3 * MEMORY_UNIT
        assert 4 * MEMORY_UNIT <= here("memory", "many = [") <= 10 * MEMORY_UNIT


class TestRepeatable:
    def test_whatever_the_hash_seed(self, tmp_path):
        found = [recorded(tmp_path / "root", PYTHONHASHSEED=str(seed)) for seed in (0, 1, 2)]
        assert found[0] == found[1] == found[2]

    def test_with_and_without_bytecode(self, tmp_path):
        fresh = [
            recorded(tmp_path / name, PYTHONDONTWRITEBYTECODE=flag) for name, flag in (("a", "1"), ("b", ""))
        ]
        again = recorded(tmp_path / "b")
        assert fresh[0] == fresh[1] == again


def _monitoring_python() -> str | None:
    """An interpreter that has sys.monitoring, wherever this machine keeps one."""
    names = [shutil.which(f"python3.{minor}") for minor in (14, 13, 12)]
    kept = sorted(Path(pwd.getpwuid(os.getuid()).pw_dir).glob(".pyenv/versions/3.1[2-9]*/bin/python"))
    for python in (sys.executable, *filter(None, names), *map(str, kept)):
        if not subprocess.run([python, "-c", "import sys; sys.monitoring"], capture_output=True).returncode:
            return python
    return None


class TestTwoSources:
    def test_they_count_the_same(self, tmp_path):
        """sys.monitoring against settrace with setprofile in one interpreter (memory holds their objects)."""
        if (python := _monitoring_python()) is None:
            pytest.skip("no Python with sys.monitoring here")
        found = []
        for source in ("TraceEvents", "MonitoringEvents"):
            told = recorded(tmp_path / "root", python, source)
            found.append({phase: [c for c in counts if c[0] != "memory"] for phase, counts in told.items()})
        assert found[0] == found[1]
        assert len(found[0]["warm run"]) > 60

    @pytest.mark.parametrize(
        ("function", "owner", "name"),
        [
            (len, len.__self__, "len"),
            (os.getpid, os.getpid.__self__, "posix.getpid"),
            ([].append, [], "list.append"),
            (list.append, [], "list.append"),
            (dict.fromkeys, dict, "dict.fromkeys"),
        ],
    )
    def test_names_of_c_functions(self, function, owner, name):
        assert c_name(function, owner) == name


class TestRecorder:
    def test_a_subject_that_takes_the_trace_function_is_not_counted(self, tmp_path):
        """What ran after that would count as nothing."""
        before = sys.gettrace()
        recorder = HostRecorder(str(tmp_path), source=TraceEvents)
        with pytest.raises(NotImplementedError, match="trace or profile"), recorder.phase(Phase.WARM):
            sys.settrace(None)
        assert recorder.phases == [] and sys.gettrace() is before

    def test_everything_is_given_back(self, tmp_path):
        before = (sys.stdout, sys.stderr, list(sys.meta_path), list(warnings.filters), warnings.showwarning)
        hooks, collecting = (sys.gettrace(), sys.getprofile()), gc.isenabled()
        recorder = HostRecorder(str(tmp_path))
        with pytest.raises(ZeroDivisionError), recorder.phase(Phase.WARM):
            print(1 / 0)
        after = (sys.stdout, sys.stderr, list(sys.meta_path), list(warnings.filters), warnings.showwarning)
        assert after == before
        assert ((sys.gettrace(), sys.getprofile()), gc.isenabled()) == (hooks, collecting)
        assert not tracemalloc.is_tracing() and not recorder.phases

    def test_peak(self):
        def program(phase):
            with phase(Phase.WARM):
                bytes(2_000_000)

        assert memory_peaks(program)[Phase.WARM] >= 2_000_000

    def test_memory_of_a_long_loop_is_followed_for_a_while(self, tmp_path, monkeypatch):
        """What the peak rises by afterwards belongs to the line that was raising it."""
        monkeypatch.setattr(host_work, "_LOOKS", 1000)
        (tmp_path / "long.py").write_text(
            "def run(n):\n    x = []\n    for i in range(n):\n        x.append('%d' % i)\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        run = importlib.import_module("long").run

        def program(phase):
            with phase(Phase.WARM):
                run(50_000)

        peaks = memory_peaks(program)
        recorder = HostRecorder(str(tmp_path), peaks=peaks)
        program(recorder.phase)
        (held,) = (one for one in recorder.phases[0].counts if one.kind is HostKind.MEMORY)
        assert (held.line, held.amount) == (4, round(peaks[Phase.WARM] / MEMORY_UNIT) * MEMORY_UNIT)


TREE = """
import sys
sys.path.insert(0, {folder!r})
from nbbench.probe.host_phases import record_host
def load():
    import hostsubject.work
def build(n, fails=False):
    import hostsubject.work as work
    if fails:
        raise KeyError("secret")
    return lambda: work.loop(n)
builders = {{"pilot": lambda: build(1), "nine": lambda: build(9), "bad": lambda: build(1, True), "off": None}}
def clean(text):
    return text.replace("secret", "***")
found = record_host(load, builders, ["nine", "bad"], source_root={folder!r}, clean=clean)
for one in found:
    lines = [[str(p.phase), sum(c.amount for c in p.counts if c.kind == "line")] for p in one.phases]
    print(one.workload, lines, one.error, sep="|")
"""


class TestTree:
    @pytest.fixture
    def told(self, tmp_path):
        write_subject(tmp_path / "root")
        script = tmp_path / "script.py"
        script.write_text(TREE.format(folder=str(tmp_path / "root")))
        done = subprocess.run(
            [sys.executable, str(script)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        rows = [line.split("|") for line in done.stdout.splitlines()]
        return {name: (phases, error) for name, phases, error in rows}

    def test_import_the_pilot_and_what_was_asked(self, told):
        assert list(told) == [IMPORT_WORKLOAD, "pilot", "nine", "bad"]

    def test_one_phase_after_the_other(self, told):
        phases = json.loads(told["nine"][0].replace("'", '"'))
        assert [phase for phase, _ in phases] == ["construct", "first run", "warm run"]
        assert phases[1][1] == phases[2][1] > 20 > phases[0][1]

    def test_a_failure_is_of_its_workload(self, told):
        assert told["bad"] == ("[]", "KeyError: '***'")


def test_kinds_are_all_met(counted):
    met = Counter(key[0] for phase in counted.values() for key in phase)
    of_tensors = {kind for metric in OF_TENSORS for kind in HOST_KINDS[metric]}
    assert set(met) == {str(kind) for kind in HostKind if kind not in of_tensors}


@pytest.mark.parametrize("written", [b"\x80\x04N.", b"[1", b'{"a": 1}', b"[]", b"1.5", b"[" * 100_000])
def test_what_a_subject_writes_into_the_answer_is_data_and_never_code(monkeypatch, written):
    """The child runs the subject, which may write into any open file: a pickle would run what it says."""

    def child(_function, writing, *_more):
        os.write(writing, written[:60_000])
        os._exit(0)

    monkeypatch.setattr(forks, "_become_child", child)
    assert forks.forked(lambda: 1, int) == "the process wrote something else than its counts"


def test_answers_come_back_whole():
    """Names of files may hold bytes that are no text."""
    counts = (HostCount(HostKind.FILE, "a.py", 3, "run", "odd\udcff.txt", 2),)
    whole = HostWork("w", "3.11", (HostPhase(Phase.WARM, counts),)), ["json"]
    for answer in (7, "an error", whole):
        assert forks.forked(lambda answer=answer: answer, int | tuple[HostWork, list[str]]) == answer


def test_a_process_that_never_ends_says_where(monkeypatch, tmp_path):
    """Processor time decides, not the clock: a busy machine is no reason."""
    monkeypatch.setattr(forks, "LIMIT_S", 1)
    (tmp_path / "endless.py").write_text("def run():\n    while True:\n        pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = importlib.import_module("endless").run
    said = forks.forked(run, int, root=str(tmp_path))
    assert said.startswith("the process took more than 1 s of processor time at endless.py:")
    assert said.endswith(" run")


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("os._exit(5)", "the process ended with 5"),
        ("os.kill(os.getpid(), 11)", "the process ended by signal 11"),
    ],
)
def test_a_process_that_ends_says_where(monkeypatch, tmp_path, body, how):
    name = f"ends{len(body)}"
    (tmp_path / f"{name}.py").write_text(f"import os\n\ndef run():\n    {body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    said = forks.forked(importlib.import_module(name).run, int, root=str(tmp_path))
    assert said.startswith(how) and said.endswith(f" at {name}.py:4 run")


def test_a_process_that_the_subject_forks_and_lets_go_on_answers_nothing():
    assert forks.forked(lambda: os.fork() and 7, int) == 7
