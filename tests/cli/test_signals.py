"""Exit codes and signals: each row of the table in docs/cli.md (J13)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nbbench.cli.app import EXIT_CODES

# Any command: what it does is replaced, the way in and out is not.
CODE = """
import sys, time
from nbbench import errors
from nbbench.cli import app, main

def work(*arguments, **options):
    try:
        print("at work", flush=True)
        {body}
    finally:
        print("cleaned up", flush=True)

app.cli.main = work
sys.argv = ["nbbench", "plan"]
main()
"""
WAIT = "while True: time.sleep(0.05)"
WAIT_SLOWLY = """
        try:
            print("waiting", flush=True)
            while True: time.sleep(0.05)
        finally:
            print("cleaning", flush=True)
            time.sleep(1)
"""


def start(body: str, **options) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([sys.executable, "-c", CODE.format(body=body)], text=True, **pipes)


def default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return 0", 0),
        ("raise ValueError('odd')", 1),
        ("raise errors.UsageError('no such thing')", 2),
        ("raise errors.HostError('the disk is full')", 2),
        ("return errors.EXIT_REGRESSION", 3),
        ("raise errors.InconclusiveError('nothing was measured')", 4),
        ("raise KeyboardInterrupt", 130),
    ],
)
@pytest.mark.parametrize("full", [False, True], ids=["", "stderr on a full disk"])
def test_how_a_command_ends_is_its_exit_code(body: str, code: int, full: bool) -> None:
    """Also where the sentence cannot be written."""
    assert code in EXIT_CODES
    if full and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full" if full else "/dev/null").open("w") as stderr:
        process = start(body, stderr=stderr)
        told, _ = process.communicate()
    assert (process.returncode, told) == (code, "at work\ncleaned up\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_ends_a_command_with_its_cleaning_up(number: signal.Signals) -> None:
    process = start(WAIT, preexec_fn=default_signals)
    assert process.stdout is not None and process.stdout.readline() == "at work\n"
    process.send_signal(number)
    told, errors = process.communicate()
    assert (process.returncode, told) == (128 + number, "cleaned up\n")
    assert process.returncode in EXIT_CODES
    assert errors == "nbbench: interrupted; run the same command again to resume\n"


@pytest.mark.parametrize(("body", "code"), [("raise KeyboardInterrupt", 130), ("raise ValueError('odd')", 1)])
@pytest.mark.parametrize("told", [False, True], ids=["", "after its result"])
def test_with_json_each_end_is_one_document(body: str, code: int, told: bool) -> None:
    show = "options['obj'].json = True; "
    show += "options['obj'].emit('plan', {'a': 1}, ''); " if told else ""
    shown, _ = start(show + body).communicate()
    document = json.loads(
        shown.removeprefix("at work\n").removesuffix("cleaned up\n") if told else shown[19:]
    )
    assert document.get("exit_code") == (None if told else code)


EARLY = """
import os, sys
from nbbench.cli import main

class Finder:
    def find_spec(self, name, *rest):
        if name == "nbbench.cli.app":
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Finder())
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_while_the_program_is_being_loaded(number: signal.Signals) -> None:
    """SIGTERM right after the start gave 1 and a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", EARLY.format(number=int(number))],
        capture_output=True,
        text=True,
        preexec_fn=default_signals,
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


def test_the_same_signal_again_does_not_break_the_cleaning_up() -> None:
    process = start(WAIT_SLOWLY, preexec_fn=default_signals)
    assert process.stdout is not None and process.stdout.readline() == "at work\n"
    assert process.stdout.readline() == "waiting\n"
    process.terminate()
    assert process.stdout.readline() == "cleaning\n"
    process.terminate()
    told, _ = process.communicate()
    assert (process.returncode, told) == (143, "cleaned up\n")


def test_what_nohup_ignores_stays_ignored() -> None:
    def nohup() -> None:
        default_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = start(WAIT, preexec_fn=nohup)
    assert process.stdout is not None and process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGHUP)
    process.terminate()
    process.communicate()
    assert process.returncode == 143


@pytest.mark.parametrize("kind", ["ValueError", "errors.UsageError", "OSError"])
def test_no_error_shows_a_secret(kind: str) -> None:
    """J2"""
    environment = {**os.environ, "MY_API_TOKEN": "correct-horse-battery"}
    process = start(f"raise {kind}('not correct-horse-battery')", env=environment)
    _, errors = process.communicate()
    assert "<redacted>" in errors and "correct-horse" not in errors


def test_wrong_usage_on_a_full_disk() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    for arguments in (["nothing"], ["plan", "--nothing"], ["--nothing"]):
        with Path("/dev/full").open("w") as stderr:
            done = subprocess.run([sys.executable, "-m", "nbbench", *arguments], stderr=stderr)
        assert done.returncode == 2
