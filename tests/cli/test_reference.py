"""docs/cli.md is what the commands say; help is there, cheap, and errors keep their form."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from nbbench import __version__
from nbbench.cli.app import COMMANDS, cli, run
from nbbench.errors import EXIT_OK, EXIT_USAGE
from tests.docs.reference import reference

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
HEAVY = ("torch", "numpy", "scipy")

_HELP_OF_EVERYTHING = """
import sys, json
from nbbench.cli.app import COMMANDS, cli, run
import click

calls = [["--help"], ["--version"]]
for name in COMMANDS:
    calls.append([name, "--help"])
    command = cli.get_command(click.Context(cli), name)
    calls += [[name, inner, "--help"] for inner in getattr(command, "commands", ())]
codes = {" ".join(call): run(call) for call in calls}
loaded = [name for name in %r if name in sys.modules]
print(json.dumps({"loaded": loaded, "failed": [call for call, code in codes.items() if code]}))
"""


def walk() -> Iterator[tuple[str, click.Command]]:
    """Every command and subcommand by its full name."""
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())


EVERY = dict(walk())


def python(code: str) -> str:
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return found.stdout


def test_the_reference_is_up_to_date() -> None:
    assert DOCS.read_text(encoding="utf-8") == reference(), (
        "run `python -m tests.docs.reference > docs/cli.md`"
    )


def test_the_reference_names_every_command_option_and_exit_code() -> None:
    text = reference()
    for name, command in EVERY.items():
        assert f"# nbbench {name}\n" in text
        for param in command.params:
            if isinstance(param, click.Option):
                assert all(opt in text for opt in param.opts)
    for code in ("0", "1", "2", "3", "4", "129", "130", "143"):
        assert f"- `{code}`: " in text


def test_the_reference_is_sound_markdown() -> None:
    text = reference()
    assert text.count("```") % 2 == 0
    assert "\b" not in text
    assert "\n\n\n" not in text
    for row in (line for line in text.splitlines() if line.startswith("|")):
        assert row.replace("\\|", "").count("|") == 3


@pytest.mark.parametrize("name", EVERY)
def test_every_command_and_option_has_help(name: str) -> None:
    command = EVERY[name]
    assert (command.help or "").strip().splitlines()[0].endswith(".")
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden:
            assert param.help, f"{name} {param.opts[0]} has no help text"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == EXIT_OK
    shown = capsys.readouterr().out
    for name, text in COMMANDS.items():
        assert f"  {name} " in shown
        assert text.split()[0] in shown
    assert "Exit codes:" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == EXIT_OK
    assert capsys.readouterr().out == f"nbbench, version {__version__}\n"


def test_importing_the_commands_and_all_help_loads_nothing_heavy() -> None:
    loaded = python(f"import sys, nbbench.cli.app; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert loaded.strip() == "[]"
    told = json.loads(python(_HELP_OF_EVERYTHING % (HEAVY,)).splitlines()[-1])
    assert told == {"loaded": [], "failed": []}


def test_writing_the_reference_loads_nothing_heavy() -> None:
    code = "import sys; from tests.docs.reference import reference; reference(); "
    assert python(f"{code}print([m for m in {HEAVY!r} if m in sys.modules])").strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["--no-such-option"],
        ["db", "no-such-command"],
        ["flag"],
        ["gate", "--policy", "x"],
    ]
    + [[*name.split(), "--no-such-option"] for name in EVERY],
    ids=" ".join,
)
def test_wrong_usage_exits_2_without_a_traceback(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == EXIT_USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err
    assert "Traceback" not in shown.err


def test_an_error_is_one_sentence_and_a_hint_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["import", str(tmp_path / "nowhere"), "--root", str(tmp_path)]) == EXIT_USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    sentence, hint = shown.err.splitlines()
    assert sentence == f"nbbench: {tmp_path / 'nowhere'} is not a folder"
    assert hint.startswith("  hint: ")


def test_with_json_an_error_is_a_document_on_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["import", "--json", str(tmp_path / "nowhere"), "--root", str(tmp_path)]) == EXIT_USAGE
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert told["error"].endswith("is not a folder")
    assert told["exit_code"] == EXIT_USAGE
    assert told["hint"]
    assert shown.err.startswith("nbbench: ")


@pytest.mark.parametrize("name", list(EVERY))
def test_help_tells_the_exit_codes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Small: every command's help lists them."""
    assert run([*name.split(), "--help"]) == EXIT_OK
    shown = capsys.readouterr().out
    assert "Exit codes:" in shown and "4    inconclusive" in shown


@pytest.mark.parametrize("place", ["before", "after"])
def test_common_options_stand_before_or_after_the_command(place: str, tmp_path: Path) -> None:
    """I4: `nbbench --root X import` was refused."""
    common = ["--root", str(tmp_path), "--json", "-q"]
    arguments = [*common, "plan"] if place == "before" else ["plan", *common]
    assert run(arguments) == EXIT_USAGE  # no project there: the option was understood
    (tmp_path / "asv.conf.json").write_text("{}")
    assert run(arguments) == EXIT_OK
