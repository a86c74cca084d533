"""`nbbench capture`: what it refuses, what it says, and the folder of small commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from cli_project import Project
from stub_torch import stub_torch

import nbbench
from nbbench.config import load_settings
from nbbench.record.evidence_folder import evidence_folders
from nbbench.record.stamp import verify_folder
from tests.docs.schema_check import checked


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(stub_torch(tmp_path_factory.mktemp("stub")))


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, stub: str) -> None:
    """The guards' variables and pytest's own are not the caller's; and there is no torch to wait for."""
    monkeypatch.setenv("PYTHONPATH", stub, prepend=os.pathsep)
    for name in list(os.environ):
        if name.startswith(("PYTEST_", "NBBENCH_")) or name in (
            "CUDA_VISIBLE_DEVICES",
            "KMP_DUPLICATE_LIB_OK",
            "NANOBRAGG_DISABLE_COMPILE",
            "TORCHDYNAMO_DISABLE",
        ):
            monkeypatch.delenv(name)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "subject"
    folder.mkdir()
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.invalid"]
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    (folder / "a.py").write_text("x = 1\n")
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    subprocess.run(["git", *identity, "commit", "-qm", "first"], cwd=folder, check=True)
    return folder


class Runs:
    """`nbbench capture` in a process of its own: exit code, JSON document, stderr."""

    def __init__(self, project: Project, checkout: Path) -> None:
        self.project, self.checkout = project, checkout

    def __call__(self, *arguments: str) -> tuple[int, dict, str]:
        words = [sys.executable, "-m", "nbbench", "capture", "--json", "-q"]
        words += ["--root", str(self.project.root), "--subject", str(self.checkout), *arguments]
        done = subprocess.run(words, capture_output=True, text=True)
        return done.returncode, checked(done.stdout), done.stderr

    @property
    def folders(self) -> list[Path]:
        return sorted(self.checkout.glob("reports/**/cluster_*/*"))


@pytest.fixture
def runs(project: Project, checkout: Path) -> Runs:
    return Runs(project, checkout)


def test_a_command_that_passes(runs: Runs) -> None:
    code, told, _ = runs("--", "sh", "-c", "echo hello")
    assert code == 0, told
    assert told["schema"] == "nbbench.capture/2"
    folder = Path(told["folder"])
    assert runs.folders == [folder]
    # The directive's place, in the subject's own checkout.
    place = "reports/2026-01-test-suite-refresh/phase_d/20251015T113531Z/cluster_CLUSTER-PERF-001"
    assert folder.parent == runs.checkout / place
    assert verify_folder(folder) == []
    assert (folder / "pytest.log").read_text() == "hello\n"
    assert (folder / "exit_code.txt").read_text() == "0\n"
    metadata = json.loads((folder / "run_metadata.json").read_text())
    assert metadata["state"] == "finished"
    assert metadata["dirty_after"] is False  # its own reports do not count
    script = (folder / "commands.txt").read_text()
    pasted = subprocess.run(["bash"], input=script, capture_output=True, text=True)
    assert pasted.returncode == 0, pasted.stderr
    assert "hello\n" in pasted.stdout


@pytest.mark.parametrize(
    ("environ", "words", "rule"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0"}, (), "gpu-enabled"),
        ({"NANOBRAGG_DISABLE_COMPILE": "0"}, (), "compile-enabled"),
        ({"PYTEST_ADDOPTS": "--timeout=5"}, (), "timeout-lowered"),
        ({"KMP_DUPLICATE_LIB_OK": "no"}, (), "environment-conflict"),
        ({}, ("--timeout", "10"), "timeout-lowered"),
    ],
)
def test_a_broken_guard_is_refused_by_name_and_nothing_starts(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], words: tuple[str, ...], rule: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    code, told, errors = runs(*words, "--", "touch", str(runs.checkout / "started"))
    assert code == 2
    assert f"[{rule}]" in told["error"] and "--sign-off" in told["hint"]
    assert errors.startswith("nbbench: the guards of preset cpu-perf do not hold")
    assert not (runs.checkout / "started").exists()
    assert runs.folders == []


def test_variables_that_matter_are_in_the_commands(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NB_SKIP_INFRA_GATE", "1")
    monkeypatch.setenv("NB_UPLOAD_TOKEN", "hidden-value-1234")
    _, told, _ = runs("--", "sh", "-c", 'test "$NB_SKIP_INFRA_GATE" = 1')
    script = (Path(told["folder"]) / "commands.txt").read_text()
    assert "export NB_SKIP_INFRA_GATE=1\n" in script
    assert "# NB_UPLOAD_TOKEN was set" in script and "hidden-value" not in script
    monkeypatch.delenv("NB_SKIP_INFRA_GATE")
    pasted = subprocess.run(["bash"], input=script, capture_output=True, text=True)
    assert pasted.returncode == 0, pasted.stderr
    assert "evidence_plugin" not in script  # what nbbench adds itself is not the user's


def test_an_error_before_the_tests_own_code_is_blocked(runs: Runs) -> None:
    (runs.checkout / "test_gate.py").write_text(
        "import pytest\n\n@pytest.fixture(autouse=True)\ndef gate():\n"
        "    pytest.fail('\\n=====\\nGate check FAILED: no C program\\n=====', pytrace=False)\n\n"
        "def test_speed():\n    raise RuntimeError('the fixture failed, so this is never reached')\n"
    )
    code, told, _ = runs("--", sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_gate.py")
    folder = Path(told["folder"])
    assert (code, told["outcome"], told["verdict"]) == (4, "setup error", "blocked")
    assert (folder / "exit_code.txt").read_text() == "1\n"
    assert told["status"].startswith("BLOCKED (exit code 1): an error before the test's own code ran: ")
    assert told["status"].endswith("Failed: Gate check FAILED: no C program")
    summary = (folder / "summary.md").read_text()
    assert "nbbench run" not in summary and "Remove what blocked the run" in summary


@pytest.mark.parametrize(
    "launcher", [("-mpytest",), ("-m", "pytest"), ("-c", "import pytest; exit(pytest.main())")]
)
def test_nothing_collected_is_blocked_by_whatever_launcher(runs: Runs, launcher: tuple[str, ...]) -> None:
    """pytest's exit code 5 is no failed test; the record tells it where the command's words do not."""
    code, told, _ = runs("--", sys.executable, *launcher)
    assert (code, told["outcome"], told["command_exit_code"]) == (4, "no tests", 5)
    assert (Path(told["folder"]) / "torch_env.txt").read_text() == "stub of collect_env\n"
    assert told["status"] == "BLOCKED (exit code 5): nothing was collected"


def test_nothing_of_the_checkouts_configuration_runs(runs: Runs) -> None:
    """J13: `capture -- true` looked at the checkout through its own fsmonitor and filters."""
    trace = runs.checkout / ".git" / "ran"
    program = runs.checkout / ".git" / "program"
    program.write_text(f"#!/bin/sh\necho $0 >> {trace}\ncat\n")
    program.chmod(0o755)
    for name in ("core.fsmonitor", "filter.x.clean", "filter.x.smudge"):
        subprocess.run(["git", "config", name, str(program)], cwd=runs.checkout, check=True)
    (runs.checkout / ".gitattributes").write_text("*.py filter=x\n")
    (runs.checkout / "a.py").write_text("x = 2\n")
    code, told, _ = runs("--", "true")
    assert code == 0 and not trace.exists()
    metadata = json.loads((Path(told["folder"]) / "run_metadata.json").read_text())
    assert set(metadata["changes_before"]) == {".gitattributes", "a.py"}


def test_the_environment_is_told_as_far_as_it_is_harmless(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H15: LANG and HOME stay; J5: a database's password does not, whatever it holds."""
    password = "a/b@c?d" + "Zq8" * 4
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("LANG", "en_GB.UTF-8")
    monkeypatch.setenv("NBBENCH_DB", f"postgresql://bench:{password}@db.example/nb")
    _, told, _ = runs(
        "--db", f"sqlite:///{runs.project.root}/x.sqlite", "--", "sh", "-c", "echo got $NBBENCH_DB"
    )
    folder = Path(told["folder"])
    lines = (folder / "env.txt").read_text().splitlines()
    assert {"HOME=/home/ada", "LANG=en_GB.UTF-8", "NBBENCH_DB=<redacted>"} <= set(lines)
    for path in folder.iterdir():
        assert "Zq8" not in path.read_text(), path.name


def test_a_sign_off_is_recorded_and_its_value_kept(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--timeout=5")
    code, told, _ = runs(
        "--sign-off", "Ada, 2026-01-05: a quick look", "--", "sh", "-c", "echo $PYTEST_ADDOPTS"
    )
    assert code == 0
    folder = Path(told["folder"])
    assert (folder / "pytest.log").read_text() == "--timeout=5\n"
    for name in ("commands.txt", "summary.md", "run_metadata.json"):
        assert "Ada, 2026-01-05: a quick look" in (folder / name).read_text(), name
    assert json.loads((folder / "run_metadata.json").read_text())["waived"] == ["timeout-lowered"]
    assert "PYTEST_ADDOPTS=--timeout=5" in (folder / "env.txt").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--preset", "gpu", "--", "true"), "there is no preset 'gpu'"),
        (("--cluster", "../evil", "--", "true"), "not a cluster's name"),
        (("--subject", "nowhere", "--", "true"), "nowhere is not a folder"),
        (("--cluster", "", "--", "true"), "not a cluster's name"),
    ],
)
def test_bad_input_is_one_sentence(runs: Runs, words: tuple[str, ...], said: str) -> None:
    code, told, errors = runs(*words)
    assert code == 2
    assert said in told["error"]
    assert "Traceback" not in errors
    assert runs.folders == []


def test_options_of_the_command_need_no_separator(runs: Runs) -> None:
    code, told, _ = runs("echo", "--timeout", "-q", "--json")
    assert code == 0
    assert (Path(told["folder"]) / "pytest.log").read_text() == "--timeout -q --json\n"


def test_a_secret_in_the_command_is_not_kept(runs: Runs) -> None:
    secret = "gh" + "p_" + "a1B2" * 9
    code, told, _ = runs("--", "echo", "--token", secret, f"MY_PASSWORD={secret}x")
    assert code == 0
    for path in Path(told["folder"]).iterdir():
        assert secret not in path.read_text(), path.name
    assert "<redacted>" in (Path(told["folder"]) / "commands.txt").read_text()


def test_a_folder_outside_of_git_is_said_so(runs: Runs, tmp_path: Path) -> None:
    runs.checkout = tmp_path / "plain"
    runs.checkout.mkdir()
    code, told, _ = runs("--", "true")
    assert code == 0
    assert "not a git checkout" in " ".join(told["notes"])
    assert "commit: not a git checkout" in (Path(told["folder"]) / "commands.txt").read_text()


def test_outside_of_a_project_only_the_folder_is_written(checkout: Path, tmp_path: Path) -> None:
    """nbbench installed as a wheel would be: nothing above it is a project either."""
    place = tmp_path / "site"
    shutil.copytree(Path(nbbench.__file__).parent, place / "nbbench", ignore=_no_caches)
    found = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])
    environ = {**os.environ, "PYTHONPATH": found}
    words = [sys.executable, "-m", "nbbench", "capture", "--preset", "vec-dtype", "--", "true"]
    done = subprocess.run(words, cwd=checkout, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "note: there is no nbbench project here" in done.stdout
    assert sorted(path.name for path in checkout.iterdir()) == [".git", "a.py", "reports"]


def _no_caches(_: str, names: list[str]) -> set[str]:
    return {name for name in names if name == "__pycache__"}


def test_the_place_of_a_capture_is_remembered(runs: Runs) -> None:
    _, told, _ = runs("--", "true")
    (known,) = evidence_folders(load_settings(runs.project.root))
    assert (runs.project.root / known.path, known.damage) == (Path(told["folder"]), ())
    (runs.project.root / ".nbbench" / "evidence_places.txt").write_bytes(b"\xff")  # damaged: no error
    assert evidence_folders(load_settings(runs.project.root)) == []


def test_a_command_that_is_no_pytest_has_no_tests(runs: Runs) -> None:
    code, told, _ = runs("--", "sh", "-c", "echo bandwidth: 0.4 GB/s; exit 1")
    assert code == 3
    page = (Path(told["folder"]) / "summary.md").read_text()
    assert "no test was recorded" in page and "1 failed" not in page
    metrics = json.loads((Path(told["folder"]) / "metrics.json").read_text())
    assert metrics["tests"] == []
    assert [figure["value"] for figure in metrics["figures"]] == [0.4]


def test_an_earlier_folder_in_the_usual_place_is_no_change_of_the_subject(runs: Runs, tmp_path: Path) -> None:
    runs("--", "true")
    _, told, _ = runs("--out", str(tmp_path / "other"), "--", "true")
    metadata = json.loads((Path(told["folder"]) / "run_metadata.json").read_text())
    assert metadata["dirty_before"] is False


def test_a_presets_own_command_and_cluster(runs: Runs) -> None:
    (runs.project.root / "pyproject.toml").write_text(
        '[tool.nbbench.presets.tiny]\ncluster = "CLUSTER-TINY"\ncommand = ["echo", "tiny"]\ntimeout_s = 30\n'
        'environment = { TINY = "1" }\n'
    )
    code, told, _ = runs("--preset", "tiny")
    assert code == 0
    folder = Path(told["folder"])
    assert folder.parent.name == "cluster_CLUSTER-TINY"
    assert "timeout 30 env TINY=1 echo tiny" in (folder / "commands.txt").read_text()


def test_without_pytest_no_session_begins_and_that_is_blocked(runs: Runs, tmp_path: Path) -> None:
    """Nothing was judged, so it is never a failed test."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    code, told, _ = runs("--", str(tmp_path / "venv" / "bin" / "python"), "-m", "pytest")
    assert (code, told["outcome"], told["command_exit_code"]) == (4, "pytest error", 1)
    assert told["status"] == "BLOCKED (exit code 1): no test session began; see stderr.log"
    folder = Path(told["folder"])
    assert "No module named pytest" in (folder / "stderr.log").read_text()
    assert "no test session told its interpreter" in (folder / "torch_env.txt").read_text()


def test_an_option_that_pytest_does_not_know_is_blocked(runs: Runs) -> None:
    _, told, _ = runs("--", sys.executable, "-m", "pytest", "--no-such-option")
    assert told["status"].startswith("BLOCKED (exit code 4): pytest found no such test, or does not know an")


FIND = "cd reports/*/*/*/cluster_*/*"


def test_a_command_that_removes_its_evidence_folder_loses_nothing(runs: Runs) -> None:
    _, told, _ = runs("--", "sh", "-c", f'echo before; {FIND}; rm -r "$PWD"; echo after')
    folder = Path(told["folder"])
    assert verify_folder(folder) == []
    assert (folder / "pytest.log").read_text() == "before\nafter\n"
    assert (folder / "exit_code.txt").read_text() == "0\n"
    assert "echo before" in (folder / "commands.txt").read_text()
    assert "LANG" in (folder / "env.txt").read_text()


def test_what_a_command_puts_into_its_folder_is_looked_through(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter2-hunter2")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    script = (
        f"{FIND}; echo $MY_TOKEN > notes.txt; printf '\\211PNG' > image.png; echo x > tool.exe; mkdir sub;"
        f" ln -s {victim} link.txt; echo 0 > exit_code.txt; echo $MY_TOKEN >> pytest.log;"
        f" rm commands.txt stderr.log; ln -s {victim} commands.txt; ln -s {victim} stderr.log;"
        f" echo x > $MY_TOKEN.txt; ln -s {victim} metrics.json; ln -s {victim} test_records.log; exit 7"
    )
    code, told, _ = runs("--", "sh", "-c", script)
    assert code == 3
    folder, said = Path(told["folder"]), "; ".join(told["anomalies"])
    assert verify_folder(folder) == []
    assert victim.read_text() == "precious"
    assert (folder / "exit_code.txt").read_text() == "7\n"
    assert (folder / "pytest.log").read_text() == ""
    for name in ("notes.txt", "image.png", "tool.exe", "sub", "link.txt", "<redacted>.txt"):
        assert f"put {name} into the evidence folder; it is removed" in said
        assert not (folder / name).exists()
    assert "cluster: " not in said and "echo $MY_TOKEN" in (folder / "commands.txt").read_text()
    for path in folder.iterdir():
        assert not path.is_symlink()
        assert "hunter2-hunter2" not in path.read_text(), path.name


def test_packages_that_change_during_the_run_are_an_anomaly(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    (tmp_path / "site").mkdir()
    (runs.checkout / "test_install.py").write_text(
        "import pathlib\n\ndef test_install():\n"
        f"    new = pathlib.Path({str(tmp_path)!r}, 'site', 'surprise-1.0.dist-info')\n"
        "    new.mkdir()\n    (new / 'METADATA').write_text('Name: surprise\\nVersion: 1.0\\n')\n"
    )
    code, told, _ = runs("--", sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_install.py")
    assert (code, told["command_exit_code"]) == (4, 0)
    assert "packages changed during the run: surprise absent → 1.0" in told["anomalies"]
    page = (Path(told["folder"]) / "summary.md").read_text()
    assert f"interpreter | {sys.executable}".replace("_", "\\_") in page
