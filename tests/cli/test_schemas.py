"""docs/schemas: a schema for each document of `--json`, and what commands print is what it says.

`Project.run` of the samples and of the end-to-end tests holds every document that any test asks for against
its schema, with no room for other keys. Here is what no other test prints, and that no document is forgotten.
"""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import click
import pytest
from cli_project import ROOT, Project

from nbbench.cli.app import cli
from nbbench.model import Commit
from nbbench.verdicts import SeriesNoise
from tests.docs.documents import COMMANDS, DOCUMENTS
from tests.docs.schema_check import FOLDER, checked, closed, file_of
from tests.docs.schemas import broken, readme, schema_of

TESTS = ROOT / "tests"
# Documents that cost more than this file may: the test that prints them for real, and a part of its command.
PRINTED = {
    "bisect/1": ("e2e/test_e2e_bisect.py", 'search(bench, *ends, "--json")'),
    "budget/1": ("e2e/test_e2e_proof.py", 'told("budget", "set"'),
    "budget-check/1": ("e2e/test_e2e_proof.py", 'told("budget", "check"'),
    "c-reference/1": ("measure/test_reference_program.py", '"use", str(mine), "--json"'),
    "capture/2": ("cli/test_capture.py", "checked(done.stdout)"),
    "compiled/1": ("e2e/test_e2e_compiled.py", '*ASKED, "--json"'),
    "dtype-snapshot/1": ("e2e/test_e2e_figures.py", 'told("dtypes"'),
    "explain/2": ("cli/test_work.py", '"explain", HASHES[5], HASHES[6], *BENCH, "--json"'),
    "gate/1": ("e2e/test_e2e_gate.py", 'told("gate"'),
    "init/1": ("e2e/test_e2e_init.py", 'told("init"'),
    "ledger/1": ("cli/test_work.py", '"ledger", "7-8", *BENCH, "--json"'),
    "ledger-scaling/1": ("e2e/test_e2e_scaling.py", 'told("ledger", commits["back"]'),
    "ledger-steps/2": ("cli/test_work.py", '"ledger", "1-12", *BENCH, "--json"'),
    "roofline/1": ("e2e/test_e2e_figures.py", '"roofline", planted(17)'),
    "run/1": ("e2e/test_e2e_run.py", 'told("run"'),
    "view/1": ("cli/test_view.py", "checked(out)"),
}


def leaves(command: click.Command, name: str = "") -> Iterator[str]:
    """The commands that do something, by their full names."""
    if not isinstance(command, click.Group):
        yield name.strip()
        return
    context = click.Context(command)
    for inner in command.list_commands(context):
        found = command.get_command(context, inner)
        assert found is not None
        yield from leaves(found, f"{name} {inner}")


def documents_in_code() -> set[str]:
    """What the commands' code prints: every `emit` and `report` with its kind and version."""
    found = set()
    for path in (ROOT / "nbbench" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            kind = node.args[0] if node.args else None
            if node.func.attr in ("emit", "report") and isinstance(kind, ast.Constant):
                version = [ast.literal_eval(one.value) for one in node.keywords if one.arg == "version"]
                found.add(f"{kind.value}/{version[0] if version else 1}")
    return found


def test_every_command_and_every_document_is_listed() -> None:
    assert set(COMMANDS) == set(leaves(cli))
    assert documents_in_code() | {"error/1"} == set(DOCUMENTS)
    kinds = {kind for some in COMMANDS.values() for kind in some} | {"error"}
    assert kinds == {name.partition("/")[0] for name in DOCUMENTS}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_schemas_are_up_to_date(name: str) -> None:
    """But for descriptions, which are the nouns' docstrings: `make docs` brings them along."""
    kept, made = json.loads(file_of(name).read_text(encoding="utf-8")), schema_of(name)
    assert broken(kept, made) + broken(made, kept) == [], "run `python -m tests.docs.schemas`"


def test_no_other_file_lies_there() -> None:
    """Of a kind only older versions stand beside the one that is printed; README lists these."""
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == readme()
    versions = dict(name.split("/") for name in DOCUMENTS)
    for path in FOLDER.glob("*.json"):
        kind, _, version = path.stem.rpartition("-")
        assert 1 <= int(version) <= int(versions[kind]), path


def test_every_document_is_printed_by_some_test(stepped: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {checked(text)["schema"].removeprefix("nbbench.") for text in printed(stepped, monkeypatch)}
    assert found | set(PRINTED) == set(DOCUMENTS)
    for file, call in PRINTED.values():
        assert call in " ".join((TESTS / file).read_text(encoding="utf-8").split()), file


def printed(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What cheap commands print."""

    def run(*arguments: str) -> str:
        return project.run(*arguments, "--json").stdout

    yield run("subject", "show")  # an error: none is registered
    yield run("import")
    regressions = run("regressions")
    yield regressions
    event = json.loads(regressions)["flags"][0]["event"]["id"]
    yield run("flag", event, "confirmed", "--reason", "seen twice")
    for words in ("db info", "db rebuild", "doctor --sample 0.05", "plan", "plan PERF-PYTORCH-004", "export"):
        yield run(*words.split())
    yield run("publish", "--page-only")
    yield calibrated(project, monkeypatch)
    (project.root / "results").rename(project.root / "others")
    yield run("subject", "demo")
    yield run("commits", "1-3")
    yield from demo(project, monkeypatch)


def calibrated(project: Project, monkeypatch: pytest.MonkeyPatch) -> str:
    from nbbench.gate import calibration
    from nbbench.gate.rounds import Tally
    from nbbench.subject import repository

    when = datetime(2025, 12, 12, tzinfo=UTC)
    commit, noise = Commit("a" * 40, "b" * 40, when, "subject"), {"suite.time_a": SeriesNoise(0.1, 0.2, 8)}
    made = calibration.Calibration("m", "2.13.0", 1, commit.hash, when, noise)
    subject = repository.Subject(project.root, "clone", "branch", "src")
    monkeypatch.setattr(repository, "open_subject", lambda settings: subject)
    monkeypatch.setattr(repository, "describe", lambda subject, name: commit)
    note = Tally().record
    monkeypatch.setattr(calibration, "calibrate", lambda *given: (made, note))
    text = project.run("gate", "--calibrate", "--json").stdout
    monkeypatch.undo()
    return text


def demo(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The demo without its steps; their text would go to stderr."""
    from nbbench.cli import demo as module

    monkeypatch.setenv("NBBENCH_MAX_FRAME_MB", module.MAX_FRAME_MB)  # what the demo sets ends with the test
    (project.root / "benchmarks").mkdir()
    for step in ("_call", "_capture", "_detect"):
        monkeypatch.setattr(module, step, lambda *given, **more: ())
    done = project.run("demo", "--json")
    assert done.exit_code == 4 and "not what was planted" in done.stderr
    yield done.stdout


def test_a_key_that_no_schema_names_is_found() -> None:
    told = {"schema": "nbbench.publish/1", "wrote": []}
    assert checked(json.dumps(told))
    for wrong in ({"more": 1}, {"wrote": None}, {"wrote": [1]}):
        with pytest.raises(AssertionError, match=r"of publish/1"):
            checked(json.dumps(told | wrong))


def test_what_breaks_a_reader_needs_another_version() -> None:
    old = schema_of("budget-check/1")
    new = copy.deepcopy(old)
    row = new["$defs"]["BudgetRow"]
    new["properties"]["note"] = {"type": "string"}
    new["required"].append("note")
    row["description"] = "Other words."
    assert broken(old, new) == []
    row["properties"]["most"] = {"type": "string"}
    del row["properties"]["unit"]
    row["required"].remove("workload")
    assert sorted(broken(old, new)) == [
        "/$defs/BudgetRow/properties/most/type: ['number', 'null'] became 'string'",
        "/$defs/BudgetRow/properties: unit is gone",
        "/$defs/BudgetRow: 'workload' is gone",
    ]


def test_published_schemas_leave_room_and_checks_do_not() -> None:
    for name in DOCUMENTS:
        schema = schema_of(name)
        assert "additionalProperties" not in schema
        assert closed(schema)["additionalProperties"] is False
