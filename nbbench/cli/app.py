"""The command group: lazy commands, common options, error reporting."""

import copy
import importlib
import json
import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from nbbench import __version__
from nbbench.cli.signals import interrupt_code
from nbbench.cli.streams import drop, put, suppressed, terminal
from nbbench.config import Settings, load_settings
from nbbench.errors import EXIT_OK, HostError, NbbenchError
from nbbench.probe.device import DEVICE_VARIABLE
from nbbench.report.blocks import Block

MOST_SHOWN = 500  # characters of an error's sentence

EXIT_CODES = {
    0: "pass",
    1: "internal error",
    2: "usage, configuration or environment",
    3: "regression",
    4: "inconclusive: nothing measured, broken, too noisy, budget spent",
    129: "the terminal was closed (SIGHUP); run again to resume",
    130: "interrupted (SIGINT, Ctrl-C); run again to resume",
    143: "asked to end (SIGTERM); run again to resume",
}
EPILOG = "\n\b\nExit codes:\n" + "".join(f"  {code:<4} {text}\n" for code, text in EXIT_CODES.items())

# Each is a file of this folder; in the order in which a newcomer meets them.
COMMANDS: dict[str, str] = {
    "demo": "Run the whole job on the embedded subject.",
    "init": "Begin to measure a PyTorch package: write a project.",
    "doctor": "Name what would disturb a measurement here, with remedies.",
    "subject": "Register the repository that is measured.",
    "commits": "List the commits that differ in the measured paths.",
    "run": "Measure commits with asv, then import.",
    "import": "Load asv results into the regression database.",
    "regressions": "Find what became slower or faster, when and why; list what is flagged.",
    "explain": "Show what work differs between two commits, line by line.",
    "ledger": "Record exact work of commits; show where one commit's bytes go.",
    "roofline": "Hold achieved bandwidth against the machine's ceilings.",
    "dtypes": "Audit one commit's dtypes: outputs, upcasts, warnings.",
    "flag": "Move a flag through its states, with reason and person.",
    "gate": "Decide whether HEAD is slower than BASE.",
    "budget": "Hold a commit's exact work against budgets.json.",
    "capture": "Run a command under guard and keep it as an evidence folder.",
    "bisect": "Find the commit that made a series slower.",
    "export": "Write a run as an evidence folder in the STAMP layout.",
    "plan": "Show a plan item's criteria with the newest measured values.",
    "publish": "Write the site: it opens from disk, without a network.",
    "view": "Look at any project's asv results: import, detect, write the site.",
    "db": "Look after the regression database.",
}


# Other names of commands; they are not listed.
ALIASES = {"detect": "regressions"}


@dataclass
class App:
    """What every command gets: settings, and where output goes.

    Results go to stdout (text, or versioned JSON with --json), progress to stderr. With `aside` results go to
    stderr, too: stdout is for the document of a command that calls this one.
    """

    json: bool = False
    quiet: bool = False
    verbose: int = 0
    root: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    told: bool = False
    aside: bool = False
    _settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """The project's settings, read on first use."""
        if self._settings is None:
            self._settings = load_settings(Path(self.root) if self.root else None, overrides=self.overrides)
        return self._settings

    def override(self, **values: Any) -> None:
        """Settings given by a command's own flags; None means not given.

        A device is no setting of the project: all processes that the command starts are to know it.
        """
        if (device := values.pop("device", None)) is not None:
            os.environ[DEVICE_VARIABLE] = device
        self.overrides |= {name: value for name, value in values.items() if value is not None}
        self._settings = None

    def say(self, text: str = "") -> None:
        """Progress for people, on stderr; silent with --quiet."""
        if not self.quiet:
            put(text, err=True)

    def detail(self, text: str) -> None:
        """What only --verbose shows."""
        if self.verbose:
            self.say(text)

    def emit(self, kind: str, payload: Any, text: str, *, version: int = 1) -> None:
        """The result on stdout: `text`, or the payload as a JSON document of this version."""
        self.told = True
        if self.json:
            from nbbench.documents import document

            put(document(kind, payload, version=version), nl=False)
        elif text:
            put(text.rstrip("\n"), err=self.aside)

    def report(
        self,
        kind: str,
        payload: Any,
        blocks: Sequence[Block],
        *,
        markdown: str | None = None,
        version: int = 1,
    ) -> None:
        """The result as `emit` prints it, its text made of blocks: as Markdown where `markdown` is `-`.

        Another `markdown` names a file that is written besides.
        """
        from nbbench.record.atomic import write_text
        from nbbench.report.markdown import LIMIT_BYTES, as_markdown
        from nbbench.report.text import as_text

        page = as_markdown(blocks, limit=LIMIT_BYTES) if markdown else ""
        if markdown not in (None, "-"):
            write_text(Path(str(markdown)), page)
            self.say(f"wrote {markdown}")
        self.emit(kind, payload, page if markdown == "-" else as_text(blocks, terminal()), version=version)


def _store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    app = ctx.find_root().ensure_object(App)
    if value and param.name == "db":
        app.overrides["db"] = value
    elif value and param.name:
        setattr(app, param.name, value)


def common_options() -> list[click.Option]:
    """Options that every command takes, before its name or after it."""

    def option(*names: str, **kwargs: Any) -> click.Option:
        return click.Option(list(names), expose_value=False, callback=_store, **kwargs)

    return [
        option("--json", is_flag=True, help="Print a versioned JSON document."),
        option("-q", "--quiet", is_flag=True, help="No progress on stderr."),
        option("-v", "--verbose", count=True, help="More detail; tracebacks."),
        option("--db", metavar="URL", help="Database (default: SQLite beside the results)."),
        option("--root", metavar="DIR", help="Project folder (default: found upwards)."),
    ]


def _with_common_options(command: click.Command) -> click.Command:
    """A copy of the command (of a group: of its commands) with the common options and the exit codes."""
    made = copy.copy(command)
    made.epilog = made.epilog or EPILOG
    if isinstance(made, click.Group):
        made.commands = {name: _with_common_options(sub) for name, sub in made.commands.items()}
    else:
        have = {name for param in made.params for name in param.opts}
        made.params = [*made.params, *(o for o in common_options() if not have & set(o.opts))]
    return made


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, by either of its names, and give it the common options."""
        cmd_name = ALIASES.get(cmd_name, cmd_name)
        if cmd_name not in COMMANDS:
            return None
        name = "import_" if cmd_name == "import" else cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"nbbench.cli.{name}"), name)
        return _with_common_options(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the table of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    params=common_options(),
)
@click.version_option(__version__, prog_name="nbbench")
def cli() -> None:
    """Measure a PyTorch simulator over its commits and tell what became slower, where and why."""


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit code; every error is one sentence on stderr."""
    app = App()
    try:
        code = cli.main(arguments, prog_name="nbbench", standalone_mode=False, obj=app)
        return code if isinstance(code, int) else EXIT_OK
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        app.json |= "--json" in arguments
        _put_json(app, error.format_message(), "see `nbbench COMMAND --help`", error.exit_code)
        with suppressed(err=True):
            error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        again, code = "run the same command again to resume", interrupt_code(error)
        put(f"nbbench: interrupted; {again}", err=True)
        _put_json(app, "interrupted", again, code)
        return code
    except NbbenchError as error:
        return _report(app, error)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _report(app, HostError(f"{error.strerror or error}{where}"))
    except Exception as error:
        hint = "run again with -v for the traceback"
        return _report(app, NbbenchError(f"internal error: {type(error).__name__}: {error}", hint=hint))


def _put_json(app: App, sentence: str, hint: str, exit_code: int) -> None:
    """An error as the document that --json asks for, unless the result is there already."""
    if not app.json or app.told:
        return
    app.told = True
    shown = {"schema": "nbbench.error/1", "error": sentence, "hint": hint, "exit_code": exit_code}
    try:
        put(json.dumps(shown))
    except OSError:  # the error is that stdout cannot be written
        drop(err=False)


def _report(app: App, error: NbbenchError) -> int:
    from nbbench.record.redact import redact_text
    from nbbench.words import clean

    sentence = clean(redact_text(str(error), os.environ))  # who raised it may not have looked
    if len(sentence) > MOST_SHOWN:  # it quotes something long that the user gave
        sentence = f"{sentence[: MOST_SHOWN - 100]} … {sentence[-100:]}"
    _put_json(app, sentence, error.hint, error.exit_code)
    put(f"nbbench: {sentence}", err=True)
    if error.hint:
        put(f"  hint: {clean(error.hint)}", err=True)
    if app.verbose:
        put(redact_text(traceback.format_exc(), os.environ), err=True)
    return error.exit_code
