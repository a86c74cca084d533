"""`nbbench init [DIR]`."""

import ast
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbbench.cli.app import App
from nbbench.errors import UsageError
from nbbench.words import escaped

if TYPE_CHECKING:
    from nbbench.subject.new_project import NewSubject


CI = {"github": ".github/workflows/nbbench.yml", "gitlab": ".gitlab/nbbench.yml"}
"""Where the job of a CI system lies in a repository."""


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--repo", metavar="URL|PATH", help="The package's repository (default: the one around here).")
@click.option(
    "--package", default="", metavar="NAME", help="The package that is measured, as it is imported."
)
@click.option("--source", default="", metavar="PATH", help="Its folder in the repository.")
@click.option("--branch", default="", metavar="NAME", help="The branch whose commits are measured.")
@click.option(
    "--call", default="", metavar="EXPR", help="What the first workload runs: an expression of `size`."
)
@click.option(
    "--ci", type=click.Choice(list(CI)), multiple=True, help="Write its job that gates changes, too."
)
@click.option(
    "--dependency", multiple=True, metavar="PATH", help="A submodule whose package is measured with it."
)
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@click.pass_obj
def init(
    app: App,
    folder: Path | None,
    repo: str | None,
    package: str,
    source: str,
    branch: str,
    call: str,
    ci: tuple[str, ...],
    dependency: tuple[str, ...],
    force: bool,
) -> None:
    """Begin to measure a PyTorch package: write a project and register the repository.

    The project goes to DIR: benchmarks/ of the repository, or the present folder with --repo. It has
    asv.conf.json, a profile in pyproject.toml and a suite with one workload. A terminal is asked what is not
    given; elsewhere the repository tells. No file is overwritten without --force, and none of the
    repository's own is changed. Nothing of the package runs.
    """
    from nbbench.cli.subject import clone_of
    from nbbench.config import FOLDER, Settings
    from nbbench.record.atomic import write_text
    from nbbench.subject.new_project import likely_branch, packages, project_files, submodules
    from nbbench.subject.repository import list_commits, register

    _check_call(call)
    inside = None if repo else _repository(folder)
    root = (folder or (inside / FOLDER if inside else Path.cwd())).resolve()
    ours = inside if inside and root.is_relative_to(inside) else None
    if ci and ours is None:
        raise UsageError("--ci is for a project inside of the package's repository")
    with _whole_or_nothing([Settings(root=root).subject_git]):
        place = inside or clone_of(app, Settings(root=root), str(repo))
        branch = branch or _asked("branch", likely_branch(place))
        new = _chosen(packages(place, branch), package, source, branch, str(repo or place))
        found = submodules(place, branch, root)
        needed = {
            table["name"]: {name: value for name, value in table.items() if name != "name"}
            for table in (_submodule(found, path) for path in dependency)
        }
        files = project_files(new, root, ours, call, needed)
        files |= {ours / CI[name]: _job(name, root.relative_to(ours)) for name in ci if ours}
        if (there := [path for path in files if path.exists()]) and not force:
            names = ", ".join(os.path.relpath(path, root) for path in there)
            hint = "another folder: nbbench init DIR; or overwrite them with --force"
            raise UsageError(f"{root} has {names} already", hint=hint)
        settings = Settings(
            root=root,
            branch=branch,
            measured_path=new.source,
            import_root=new.import_root,
            profile={"dependencies": needed},
        )
        with _whole_or_nothing(files):
            subject = register(settings, place)
            for path, text in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_text(path, text)
    payload = {
        "root": str(root),
        "written": [os.path.relpath(path, root) for path in files],
        "source": subject.source,
        "branch": branch,
        "package": new.package,
        "measured_path": new.source,
        "commits": len(list_commits(subject)),
        "dependencies": list(needed),
        "submodules": [path for path in found if path not in dependency],
    }
    app.emit("init", payload, _text(payload, call))


def _repository(folder: Path | None) -> Path:
    """The repository around here, or else around DIR."""
    from nbbench.subject.new_project import top_level

    try:
        return top_level(Path.cwd())
    except UsageError:
        if folder is None:
            raise
        return top_level(folder.absolute())


def _job(name: str, project: Path) -> str:
    """The job of a CI system for a project in this folder of the repository."""
    text = Path(__file__).with_name("templates").joinpath(f"{name}.yml").read_text(encoding="utf-8")
    return text.replace("PROJECT: .", f"PROJECT: {project.as_posix()}")


@contextmanager
def _whole_or_nothing(paths: Iterable[Path]) -> Iterator[None]:
    """Where the block fails or is interrupted, put back the files that stood there and remove what is new."""
    before = {path: path.read_bytes() if path.is_file() else None for path in paths}
    made = {folder for path in before for folder in path.parents if not folder.exists()}
    try:
        yield
    except BaseException:
        for path, content in before.items():
            if content is not None:
                path.write_bytes(content)
            elif path.is_file():
                path.unlink()
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _check_call(call: str) -> None:
    try:
        if call:
            ast.parse(call, mode="eval")
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"--call is no Python expression: {error}") from error
    if len(call.splitlines()) > 1:
        raise UsageError("--call is more than one line", hint="write it into benchmarks/workloads.py")


def _asked(what: str, usual: str, known: Mapping[str, str] | None = None) -> str:
    """What a terminal says; elsewhere the usual answer."""
    if not sys.stdin.isatty():
        return usual
    said = f"{what} ({', '.join(known)})" if known else what
    return str(click.prompt(said, default=usual or None, err=True))


def _chosen(
    found: Mapping[str, str], package: str, source: str, branch: str, repository: str
) -> "NewSubject":
    from nbbench.subject.new_project import chosen_subject, likely_package

    if not package and not source:
        package = _asked("package", likely_package(found, repository), found)
    if not source and package.partition(".")[0] in found:
        source = _asked("its folder in the repository", found[package.partition(".")[0]])
    return chosen_subject(found, package, source, branch)


def _submodule(found: Mapping[str, Mapping[str, str]], path: str) -> Mapping[str, str]:
    if table := found.get(path.rstrip("/")):
        return table
    known = f"there are: {', '.join(found)}" if found else "git submodule update --init checks it out"
    raise UsageError(f"{path} is no submodule that is checked out and holds a package", hint=known)


def _text(payload: Mapping[str, Any], call: str) -> str:
    here, root = Path.cwd(), Path(payload["root"])
    shown = root.relative_to(here) if root.is_relative_to(here) else root
    fill = f"edit {shown / 'benchmarks' / 'workloads.py'}: what do your users wait for?"
    steps = [
        f"install what {payload['package']} needs into this environment (the package itself need not be)",
        *([] if call else [fill]),
        *([] if here in (root, root.parent) else [f"cd {shown}"]),
        "nbbench run --limit 5, then nbbench run; nbbench regressions",
        "nbbench gate HEAD~1 HEAD; nbbench publish",
    ]
    lines = [
        f"subject   {payload['source']}, branch {payload['branch']}",
        f"measured  {payload['package']} in {payload['measured_path']}: {payload['commits']} commits differ",
        *(f"with      the package {name}" for name in payload["dependencies"]),
        *(f"beside    {path} has a package: --dependency {path}" for path in payload["submodules"]),
        *(
            f"{'wrote' if not number else '':<10}{os.path.normpath(shown / name)}"
            for number, name in enumerate(payload["written"])
        ),
        *(
            f"{'next' if number == 1 else '':<10}{number}. {step}"
            for number, step in enumerate(steps, start=1)
        ),
    ]
    return "\n".join(escaped(line) for line in lines)
