"""The warm server: what a job gets, how it ends, and that nothing outlives its client."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch")

from nbbench.errors import HostError
from nbbench.measure import kernel, warm_client
from nbbench.measure.warm_server import KILL_GRACE_S, TIMEOUT_CODE

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux with pidfd_open")

JOBS = '''
import os, resource, signal, subprocess, sys, time

def say(text):
    print(text)

def loud():
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.write(1, b"to descriptor 1\\n")
    subprocess.run(["echo", "from a child"])

def leave(code):
    sys.exit(code)

def leave_with_words():
    sys.exit("words")

def boom():
    raise ValueError("something went wrong")

def kill_self(number):
    os.kill(os.getpid(), number)

def facts():
    import json
    lines = open("/proc/self/status").read().splitlines()
    status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
    print(json.dumps({
        "pid": os.getpid(), "group": os.getpgid(0), "cwd": os.getcwd(), "environment": dict(os.environ),
        "threads": int(status["Threads"]), "input": sys.stdin.read(), "null": os.readlink("/proc/self/fd/0"),
        "torch": "torch" in sys.modules,
        "package": sys.modules["package"].WHERE if "package" in sys.modules else None,
        "core": resource.getrlimit(resource.RLIMIT_CORE), "interrupt": signal.getsignal(signal.SIGINT),
        "sockets": sum(os.readlink("/proc/self/fd/" + fd).startswith("socket:")
                       for fd in os.listdir("/proc/self/fd") if os.path.islink("/proc/self/fd/" + fd)),
    }))

def tell(path):
    """Append this process, then a child and a grandchild that all sleep, to a file of process ids."""
    code = "import os,time; open(%r, 'a').write(str(os.getpid()) + chr(10)); " % path
    subprocess.Popen([sys.executable, "-c", code + "time.sleep(600)"])
    inner = "echo $$ >> %s; sleep 600; true" % path
    subprocess.Popen(["sh", "-c", "echo $$ >> %s; sh -c '%s'; true" % (path, inner)])
    with open(path, "a") as stream:
        stream.write(str(os.getpid()) + chr(10))

def hang(path, deaf=False):
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell(path)
    print("hanging", flush=True)
    while True:
        time.sleep(60)

def leave_children(path):
    tell(path)
    while len(open(path).read().split()) < 4:
        time.sleep(0.01)

def escape(path):
    """Leave a process that forked twice, each time with a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            with open(path, "a") as stream:
                stream.write(str(os.getpid()) + chr(10))
            time.sleep(600)
        os._exit(0)
    while not (os.path.exists(path) and open(path).read().endswith(chr(10))):
        time.sleep(0.01)

def stop_parent():
    os.kill(os.getppid(), signal.SIGSTOP)
    print("done")

def flood():
    block = b"x" * (1 << 20)
    while True:
        os.write(1, block)
        time.sleep(0.01)  # a fast disk would be full before anybody looks

def start_threads():
    import threading
    for _ in range(3):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    print("started")
'''

SUITE = '''
"""A tiny asv suite."""

class Figures:
    params = [[1, 2], ["a", "b"]]

    def setup_cache(self):
        return {"base": 40}

    def track_sum(self, cache, n, letter):
        return cache["base"] + n

def time_nothing():
    pass

def timeraw_nothing():
    return "pass"

def time_broken():
    raise RuntimeError("broken benchmark")

def track_broken():
    raise RuntimeError("broken benchmark")
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("warm")
    (root / "suite").mkdir()
    (root / "suite" / "__init__.py").write_text("")
    (root / "suite" / "jobs.py").write_text(JOBS)
    (root / "suite" / "figures.py").write_text(SUITE)
    for name in ("one", "two", "three"):
        package = root / name / "package"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"WHERE = {name!r}\n")
    return root


@pytest.fixture(scope="module")
def server(folder):
    made = warm_client.WarmServer()
    yield made
    made.close()


@pytest.fixture
def job(server, folder, tmp_path):
    """Run a function of the suite's jobs in a fork."""
    open_suite(server, folder, "one")

    def run(name, *, timeout_s=60.0, environment=None, cwd=None, **arguments):
        return server.run(
            ["call", f"suite.jobs:{name}", json.dumps(arguments)],
            cwd=str(cwd or tmp_path),
            environment={**os.environ, **(environment or {})},
            timeout_s=timeout_s,
        )

    return run


def open_suite(server, folder, name, preload=("package",), **options):
    server.open_suite([str(folder / name)], str(folder / "suite"), list(preload), dict(os.environ), **options)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition):
    """What never comes is pytest's timeout."""
    while not condition():
        time.sleep(0.02)


def pids(path):
    return [int(line) for line in path.read_text().split()] if path.exists() else []


class TestOutcome:
    def test_output_of_all_kinds_is_captured(self, job):
        outcome = job("loud")
        assert outcome.exit_code == 0
        assert sorted(outcome.output.splitlines()) == [
            "from a child",
            "to descriptor 1",
            "to stderr",
            "to stdout",
        ]

    def test_output_is_that_of_this_job_alone(self, job):
        job("say", text="a long first answer " * 50)
        assert job("say", text="short").output == "short\n"
        assert job("leave", code=0).output == ""

    def test_only_the_end_of_long_output_is_kept(self, job):
        text = job("say", text="x" * 100_000 + " the end").output
        assert len(text) == 65536 and text.endswith(" the end\n")

    @pytest.mark.parametrize("code", [0, 1, 3, 77])
    def test_exit_codes(self, job, code):
        assert job("leave", code=code).exit_code == code

    def test_exit_with_words(self, job):
        assert job("leave_with_words").exit_code == 1

    def test_exception_is_a_failure_with_its_traceback(self, job):
        outcome = job("boom")
        assert outcome.exit_code == 1
        assert outcome.output.startswith("Traceback (most recent call last)")
        assert outcome.output.rstrip().endswith("ValueError: something went wrong")
        assert "in boom" in outcome.output

    def test_secrets_of_its_environment_are_no_part_of_the_output(self, job):
        """J2: whatever becomes of it, asv's terminal, telemetry, a gate's report."""
        environment = {"MY_API_TOKEN": "correct-horse-battery"}
        outcome = job("say", text="token correct-horse-battery", environment=environment)
        assert outcome.output == "token <redacted>\n"

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
    def test_signal_is_negative(self, job, number):
        outcome = job("kill_self", number=int(number))
        assert (outcome.exit_code, outcome.telemetry["verdict"]) == (-number, "ended")

    def test_unknown_function_and_module(self, job, server, tmp_path):
        assert "AttributeError" in job("nothing").output
        outcome = server.run(
            ["call", "suite.nothing:x", "{}"], cwd=str(tmp_path), environment=dict(os.environ), timeout_s=60
        )
        assert outcome.exit_code == 1 and "ModuleNotFoundError" in outcome.output

    def test_telemetry_has_every_figure(self, job):
        told = job("say", text="x").telemetry
        assert {
            *("exit_code", "verdict", "started", "wall_s", "user_s", "system_s", "minor_faults"),
            *("major_faults", "voluntary_switches", "involuntary_switches", "max_rss_bytes"),
            *("others_cpu_s", "steal_s", "run_delay_s", "load_before", "canary", "gpu"),
        } == set(told)
        assert told.pop("canary") == told.pop("gpu") == {}  # nothing is watched beside what is not timed
        assert told["minor_faults"] > 0 and told["max_rss_bytes"] > 2**20
        assert all(told[name] >= 0 for name in told if name != "verdict")


class TestSurroundings:
    def test_of_a_job(self, job, tmp_path, server):
        told = json.loads(job("facts", environment={"MARK": "ü 1"}, cwd=tmp_path).output)
        assert told["cwd"] == str(tmp_path)
        assert told["environment"].keys() == {*os.environ, "MARK"}  # values may look like secrets
        assert told["environment"]["MARK"] == "ü 1"
        assert told["threads"] == 1  # nothing ran beside it when it was forked
        assert told["torch"] is True and told["package"] == "one"
        assert (told["input"], told["null"]) == ("", "/dev/null")
        assert told["group"] == told["pid"] != os.getpgid(0)
        assert told["core"] == [0, 0]
        assert told["interrupt"] == int(signal.SIG_DFL)
        assert told["sockets"] == 0  # a job cannot talk to the servers, nor keep them alive

    def test_environment_is_replaced_not_merged(self, job, server, tmp_path):
        job("facts", environment={"ONLY_ONCE": "1"})
        outcome = server.run(
            ["call", "suite.jobs:facts", "{}"],
            cwd=str(tmp_path),
            environment={"PATH": os.environ["PATH"]},
            timeout_s=60,
        )
        assert json.loads(outcome.output)["environment"] == {"PATH": os.environ["PATH"]}

    def test_jobs_do_not_see_each_other(self, job):
        job("start_threads")
        assert json.loads(job("facts").output)["threads"] == 1

    def test_folder_that_is_gone(self, job, tmp_path):
        outcome = job("facts", cwd=tmp_path / "gone")
        assert outcome.exit_code == 1 and "FileNotFoundError" in outcome.output


class TestWatchdog:
    @staticmethod
    def overdue(job, told, **arguments):
        """A job that hangs with its children, given time enough for all of them to appear."""
        for timeout_s in (1.5, 6.0, 24.0, 96.0):
            told.unlink(missing_ok=True)
            outcome = job("hang", path=str(told), timeout_s=timeout_s, **arguments)
            if len(pids(told)) == 4:
                break
        assert (outcome.exit_code, outcome.telemetry["verdict"]) == (TIMEOUT_CODE, "timeout")
        assert len(pids(told)) == 4
        return outcome

    def test_timeout_ends_the_whole_group(self, job, tmp_path):
        outcome = self.overdue(job, tmp_path / "pids")
        assert outcome.exit_code == -256
        assert "hanging" in outcome.output
        wait_until(lambda: not any(map(alive, pids(tmp_path / "pids"))))

    def test_a_job_that_ignores_sigterm_is_killed(self, job, tmp_path):
        outcome = self.overdue(job, tmp_path / "pids", deaf=True)
        assert outcome.telemetry["wall_s"] >= 1.5 + KILL_GRACE_S  # it was asked politely first
        wait_until(lambda: not any(map(alive, pids(tmp_path / "pids"))))
        assert job("say", text="next").output == "next\n"

    def test_no_time_at_all(self, job, tmp_path):
        for _ in range(5):
            assert job("hang", path=str(tmp_path / "pids"), timeout_s=0.0).exit_code == -256
        assert job("say", text="next").output == "next\n"

    def test_children_that_a_finished_job_left_are_killed(self, job, tmp_path):
        told = tmp_path / "pids"
        assert job("leave_children", path=str(told)).exit_code == 0
        assert len(pids(told)) == 4
        wait_until(lambda: not any(map(alive, pids(told))))

    def test_a_process_that_escaped_into_its_own_session_is_killed(self, job, tmp_path):
        """J10"""
        told = tmp_path / "pids"
        assert job("escape", path=str(told)).exit_code == 0
        assert len(pids(told)) == 1 and not any(map(alive, pids(told)))

    def test_a_job_that_stops_its_server_is_noticed(self, job):
        """J10"""
        outcome = job("stop_parent")
        assert outcome.exit_code == 1 and outcome.stopped
        assert "the benchmark stopped the process that watches it" in outcome.output
        assert job("say", text="next").output == "next\n"

    def test_a_stopped_job_is_killed(self, job):
        """What it measured would hold the pause."""
        assert job("kill_self", number=int(signal.SIGSTOP), timeout_s=600).exit_code == -signal.SIGKILL

    def test_a_first_server_that_somebody_stopped_goes_on(self, folder):
        with contextlib.closing(warm_client.WarmServer()) as server:
            os.kill(server._process.pid, signal.SIGSTOP)
            wait_until(lambda: kernel.is_stopped(server._process.pid))
            open_suite(server, folder, "one")

    def test_a_process_is_kept_awake(self):
        with subprocess.Popen(["sleep", "600"]) as process, kernel.kept_awake(process.pid, 0.01):
            for _ in range(2):
                process.send_signal(signal.SIGSTOP)
                wait_until(lambda: not kernel.is_stopped(process.pid))
            process.kill()

    def test_flood_is_stopped_and_told(self, job):
        outcome = job("flood")
        assert outcome.telemetry["verdict"] == "flood"
        assert outcome.exit_code == -signal.SIGKILL
        assert outcome.output.endswith("the benchmark printed more than 32 MiB and was stopped\n")
        assert job("say", text="next").output == "next\n"


class TestAsvCommands:
    @pytest.fixture
    def asv(self, job, server, folder, tmp_path):
        def run(*argv):
            return server.run(list(argv), cwd=str(tmp_path), environment=dict(os.environ), timeout_s=60)

        return run

    def test_discover(self, asv, folder, tmp_path):
        outcome = asv("discover", str(folder / "suite"), str(tmp_path / "found.json"))
        assert outcome.exit_code == 0, outcome.output
        found = {entry["name"]: entry for entry in json.loads((tmp_path / "found.json").read_text())}
        assert set(found) == {
            *("figures.Figures.track_sum", "figures.track_broken"),
            *("figures.time_nothing", "figures.timeraw_nothing", "figures.time_broken"),
        }

    def test_run_with_a_cache(self, asv, folder, tmp_path):
        suite = str(folder / "suite")
        assert asv("setup_cache", suite, "figures.Figures.track_sum-0", "{}").exit_code == 0
        outcome = asv("run", suite, "figures.Figures.track_sum-2", "{}", "None", str(tmp_path / "r.json"))
        assert outcome.exit_code == 0, outcome.output
        assert json.loads((tmp_path / "r.json").read_text()) == 42

    def test_a_broken_benchmark(self, asv, folder, tmp_path):
        outcome = asv(
            "run", str(folder / "suite"), "figures.track_broken", "{}", "None", str(tmp_path / "r.json")
        )
        assert outcome.exit_code == 1 and "RuntimeError: broken benchmark" in outcome.output
        assert not (tmp_path / "r.json").exists()

    @pytest.mark.parametrize(
        ("benchmark", "silent", "kernels"),
        [
            ("time_nothing", "", {"frames_s", "arithmetic_s"}),
            ("time_nothing-0", "", {"frames_s", "arithmetic_s"}),
            ("timeraw_nothing", "", {"frames_s", "arithmetic_s"}),
            ("time_nothing", "0", set()),
            ("time_broken", "", set()),
            ("track_broken", "", set()),
        ],
    )
    def test_canaries_run_around_what_is_timed(
        self, server, folder, job, tmp_path, benchmark, silent, kernels
    ):
        arguments = [str(folder / "suite"), f"figures.{benchmark}", "{}", "None", str(tmp_path / "r.json")]
        told = server.run(
            ["run", *arguments],
            cwd=str(tmp_path),
            environment={**os.environ, "NBBENCH_CANARY": silent},
            timeout_s=60,
        ).telemetry["canary"]
        assert set(told) == kernels
        assert all(len(pair) == 2 and min(pair) > 0 for pair in told.values())

    @pytest.mark.parametrize(
        ("command", "device", "clocks"),
        [
            (("run", "figures.time_nothing"), "cuda", [345e6, 1980e6]),
            (("run", "figures.time_nothing"), "cpu", None),
            (("run", "figures.time_broken"), "cuda", None),
            (("setup_cache", "figures.Figures.track_sum-0"), "cuda", [345e6, 1980e6]),
        ],
    )
    def test_the_gpu_s_state_is_read_around_what_measures(
        self, server, folder, job, tmp_path, command, device, clocks
    ):
        (folder / "one" / "pynvml.py").write_text("raise ImportError")
        smi = tmp_path / "nvidia-smi"
        smi.write_text(
            f"#!/bin/sh\nif mkdir {tmp_path}/seen 2>/dev/null; then clock=345; else clock=1980; fi\n"
            'echo "GPU, 580, $clock, 2619, 40, 0x0"\n'
        )
        smi.chmod(0o755)
        mode, name = command
        arguments = [str(folder / "suite"), name, "{}", *(["None", "r.json"] if mode == "run" else [])]
        told = server.run(
            [mode, *arguments],
            cwd=str(tmp_path),
            environment={**os.environ, "NBBENCH_DEVICE": device, "PATH": f"{tmp_path}:/usr/bin:/bin"},
            timeout_s=60,
        ).telemetry
        assert told["gpu"].get("sm_hz") == clocks
        if clocks:
            assert told["gpu"]["throttle"] == [[], []] and told["gpu"]["read_by"] == ["nvidia-smi"] * 2


class TestSuites:
    def package(self, server, tmp_path):
        outcome = server.run(
            ["call", "suite.jobs:facts", "{}"], cwd=str(tmp_path), environment=dict(os.environ), timeout_s=60
        )
        return json.loads(outcome.output)["package"]

    def test_two_are_kept_and_the_one_opened_longest_ago_goes(self, server, folder, tmp_path):
        for name in ("one", "two"):
            open_suite(server, folder, name)
        kept = dict(server._suites)
        for name in ("one", "two", "one"):
            open_suite(server, folder, name)
            assert self.package(server, tmp_path) == name
        assert server._suites == kept  # nothing was forked anew
        open_suite(server, folder, "three")
        assert self.package(server, tmp_path) == "three"
        assert len(server._suites) == 2
        open_suite(server, folder, "one")  # its job may still run
        assert server._suites[server._current] is kept[server._current]
        open_suite(server, folder, "two")
        assert self.package(server, tmp_path) == "two"
        assert server._suites[server._current] not in kept.values()

    def test_servers_of_closed_suites_end(self, server, folder):
        def children():
            return [child for child in psutil.Process(server._process.pid).children() if alive(child.pid)]

        for name in ("one", "two", "three"):
            open_suite(server, folder, name)
        wait_until(lambda: len(children()) == 2)

    def test_import_error_is_told_and_met_again(self, server, folder, tmp_path):
        (tmp_path / "package").mkdir()
        (tmp_path / "package" / "__init__.py").write_text("raise NameError('n_steps is not defined')\n")
        server.open_suite([str(tmp_path)], str(folder / "suite"), ["package"], dict(os.environ))
        assert "NameError: n_steps is not defined" in server.suite_output
        assert self.package(server, tmp_path) is None

    @pytest.mark.parametrize(
        "code",
        [
            "import sys; sys.exit(3)",
            "import os; os._exit(3)",
            "import os; os.kill(os.getpid(), 11)",
            "import time; time.sleep(600)",
            "while True: pass",
            "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
        ],
        ids=["exit", "hard exit", "crash", "sleep", "busy loop", "thread"],
    )
    def test_imports_that_a_server_does_not_survive_are_left_to_the_jobs(
        self, server, folder, tmp_path, code
    ):
        (tmp_path / "package").mkdir()
        (tmp_path / "package" / "__init__.py").write_text(f"{code}\n")
        path = [str(tmp_path)]
        for limit_s in (2.0, 8.0, 32.0, 128.0):  # on a busy machine the suite's own import takes long as well
            with contextlib.suppress(HostError):
                server.open_suite(
                    path, str(folder / "suite"), ["package"], dict(os.environ), import_limit_s=limit_s
                )
                break
        assert self.package(server, tmp_path) is None

    def test_a_suite_that_cannot_be_imported_at_all(self, server, tmp_path):
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad" / "__init__.py").write_text("import os; os._exit(1)\n")
        with pytest.raises(HostError, match="cannot be held warm"):
            server.open_suite([], str(tmp_path / "bad"), [], dict(os.environ))

    def test_a_suite_server_that_is_killed(self, server, folder, tmp_path):
        """J3: its job measures on beside nothing, and the next suite is another server."""
        open_suite(server, folder, "one", preload=("package", "package"))
        told = tmp_path / "pids"
        hanging = server.begin(
            ["call", "suite.jobs:hang", json.dumps({"path": str(told)})],
            cwd=str(tmp_path),
            environment=dict(os.environ),
            timeout_s=600,
            descriptor=0,
        )
        wait_until(lambda: len(pids(told)) == 4)
        os.kill(server._suites[server._current].pid, signal.SIGKILL)
        with pytest.raises(HostError, match="ended unexpectedly"):
            hanging.finish()
        open_suite(server, folder, "one", preload=("package", "package"))
        wait_until(lambda: not any(map(alive, pids(told))))
        assert self.package(server, tmp_path) == "one"

    def test_a_suite_server_that_is_killed_between_jobs(self, server, folder, tmp_path):
        open_suite(server, folder, "one", preload=("package", "package"))
        os.kill(server._suites[server._current].pid, signal.SIGKILL)
        with pytest.raises(HostError, match="ended unexpectedly"):
            self.package(server, tmp_path)


CLIENT = """
import json, os, sys
import psutil
from nbbench.measure import warm_client
suite, told = sys.argv[1:]
server = warm_client.WarmServer()
server.open_suite([], suite, [], dict(os.environ))
with open(told, "a") as stream:
    stream.write(f"{server._process.pid}\\n")
    stream.writelines(f"{child.pid}\\n" for child in psutil.Process(server._process.pid).children())
server.run(
    ["call", "suite.jobs:hang", json.dumps({"path": told})],
    cwd="/", environment=dict(os.environ), timeout_s=600,
)
"""


class TestEnd:
    @pytest.mark.parametrize("stopped, killed", [((), ()), ((0,), ()), ((1,), (0,)), ((0, 1), ())])
    def test_killing_the_client_ends_servers_and_job(self, folder, tmp_path, stopped, killed):
        """Also where somebody stopped the first server (0) or the suite's (1), or killed the first one."""
        told, scratch = tmp_path / "pids", tmp_path / "scratch"
        scratch.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(folder / "suite"), str(told)],
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        try:
            # two servers, the job, its child, its grandchildren
            wait_until(lambda: len(pids(told)) == 6)
            assert all(map(alive, pids(told)))
            assert list(scratch.iterdir()) != []
            for number in stopped:
                os.kill(pids(told)[number], signal.SIGSTOP)
            for number in killed:
                os.kill(pids(told)[number], signal.SIGKILL)
        finally:
            process.kill()
            process.wait()
        wait_until(lambda: not any(map(alive, pids(told))))
        assert list(scratch.iterdir()) == [] or killed

    @pytest.mark.parametrize(
        "when", ["before the server is ready", "while a suite starts", "while one hangs"]
    )
    def test_killing_the_client_early_leaves_nothing_either(self, tmp_path, when):
        scratch, suite, told, go = (tmp_path / name for name in ("scratch", "suite", "pids", "go"))
        scratch.mkdir()
        suite.mkdir()
        tell = f"open({str(told)!r}, 'a').write(f'{{os.getpid()}} {{os.getppid()}} ')"
        wait = f"while not os.path.exists({str(go)!r}):\n    pass\n"
        (suite / "__init__.py").write_text(f"import os\n{tell}\n{wait}")
        with (tmp_path / "errors").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-c", CLIENT, str(suite), str(tmp_path / "unused")],
                env={**os.environ, "TMPDIR": str(scratch)},
                stderr=errors,
            )
            try:
                early = when == "before the server is ready"
                started = psutil.Process(process.pid).children
                wait_until(lambda: started() if early else len(pids(told)) == 2)
            finally:
                process.kill()
                process.wait()
        if when == "while a suite starts":
            go.touch()
        wait_until(lambda: list(scratch.iterdir()) == [] and not any(map(alive, pids(told))))
        assert b"Traceback" not in (tmp_path / "errors").read_bytes()

    def test_closing_ends_everything_and_leaves_no_files(self, folder):
        made = warm_client.WarmServer()
        open_suite(made, folder, "one")
        process, scratch = made._process, Path(made._folder.name)
        assert scratch.is_dir()
        made.close()
        assert process.returncode == 0
        assert not scratch.exists()

    def test_a_server_that_does_not_start(self, tmp_path, monkeypatch):
        for code in ("import sys; sys.exit(1)", "import os; os.abort()"):
            python = tmp_path / "python"
            python.write_text(f"#!{sys.executable}\n{code}\n")
            python.chmod(0o755)
            monkeypatch.setattr(warm_client.sys, "executable", str(python))
            with pytest.raises(HostError, match="did not start"):
                warm_client.WarmServer()
            monkeypatch.undo()

    def test_a_server_with_threads_is_refused(self, tmp_path, monkeypatch):
        """As when numpy's BLAS starts its threads on import."""
        python = tmp_path / "python"
        code = (
            "import sys\n"
            "from multiprocessing.connection import Connection\n"
            "line = Connection(int(sys.argv[4]))\n"
            "line.send(9)\n"
            "line.recv()\n"
        )
        python.write_text(f"#!{sys.executable}\n{code}")
        python.chmod(0o755)
        monkeypatch.setattr(warm_client.sys, "executable", str(python))
        with pytest.raises(HostError, match="has 9 threads, so it cannot fork safely"):
            warm_client.WarmServer()


def test_the_machine_was_busy_for_some_time():
    busy, steal = kernel.machine_times()
    assert busy > 0 and steal >= 0
