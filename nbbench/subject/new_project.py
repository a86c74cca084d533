"""A new project for any package: what its repository tells of it, and the files that a project consists of
(docs/other-packages.md).
"""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from nbbench.config import FOLDER
from nbbench.errors import SubjectError, UsageError
from nbbench.subject.dependencies import checked_out
from nbbench.subject.git import git_text, list_tree
from nbbench.subject.profile import Dependency, Package

_NOT_MEASURED = frozenset(
    {"tests", "test", "testing", "docs", "doc", "examples", "example", "scripts", FOLDER}
)
_ROOTS = (".", "src", "python", "lib")  # where packages lie


@dataclass(frozen=True, slots=True)
class NewSubject:
    """What a project is to measure: the package, the folder that has it in the repository, and the branch."""

    package: str
    source: str
    branch: str

    @property
    def import_root(self) -> str:
        """What is put on the import path: the folder above the outermost package."""
        depth = self.package.count(".") + 1
        return PurePosixPath(*PurePosixPath(self.source).parts[:-depth]).as_posix()


def top_level(folder: Path) -> Path:
    """The work tree that a folder lies in, or will when it is made. Raises UsageError where it is none."""
    try:
        near = next(one for one in (folder, *folder.parents) if one.is_dir())
        return Path(git_text(near, ["rev-parse", "--show-toplevel"]))
    except SubjectError as error:
        hint = "run it in the package's repository, or name one: --repo URL|PATH"
        raise UsageError(f"{folder} is in no git repository", hint=hint) from error


def likely_branch(repository: Path) -> str:
    """The branch that a repository is about: its remote's default, else main or master, else what is out."""
    listing = git_text(repository, ["for-each-ref", "--format=%(refname)\t%(symref)", "refs"])
    refs = {name: target for name, _, target in (line.partition("\t") for line in listing.split("\n"))}
    if remote := refs.get("refs/remotes/origin/HEAD"):
        return remote.removeprefix("refs/remotes/origin/")
    for name in ("main", "master"):
        if f"refs/heads/{name}" in refs:
            return name
    try:
        return git_text(repository, ["symbolic-ref", "--short", "HEAD"])
    except SubjectError as error:
        raise UsageError("the repository has no branch to measure", hint="name it: --branch NAME") from error


def packages(repository: Path, branch: str) -> dict[str, str]:
    """The packages at the branch's tip: their folders by name. Raises UsageError for an unknown branch."""
    return _packages_of(path for _, path in _tip(repository, branch))


def _tip(repository: Path, branch: str) -> list[tuple[str, str]]:
    """What lies in the tree of the branch's tip: mode, kind and object, and the path."""
    for ref in (f"refs/heads/{branch}", f"refs/remotes/origin/{branch}"):
        with contextlib.suppress(SubjectError):
            return list_tree(repository, ref)
    raise UsageError(f"the repository has no commit on a branch {branch!r}", hint="name one: --branch NAME")


def submodules(repository: Path, branch: str, root: Path) -> dict[str, Mapping[str, str]]:
    """The submodules at the branch's tip that are checked out and hold a package, by path.

    Each is as the profile of a project in `root` has a dependency, with its name.
    """
    found: dict[str, Mapping[str, str]] = {}
    for said, path in _tip(repository, branch):
        _, kind, pin = said.split()
        if kind != "commit" or (place := checked_out(repository, path)) is None:
            continue
        with contextlib.suppress(SubjectError, StopIteration, msgspec.ValidationError):
            name, folder = next(iter(_packages_of(one for _, one in list_tree(place, pin)).items()))
            source = PurePosixPath(folder).parent.as_posix()
            table = {"repository": os.path.relpath(place, root), "path": path, "source": source}
            msgspec.convert({name: table}, dict[Package, Dependency])
            found[path] = {"name": name, **table}
    return found


def _packages_of(files: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in (PurePosixPath(file) for file in files):
        root, name = path.parent.parent.as_posix(), path.parent.name
        usual = name.isidentifier() and name.lower() not in _NOT_MEASURED
        if path.name == "__init__.py" and root in _ROOTS and usual:
            found.setdefault(name, path.parent.as_posix())
    return found


def likely_package(found: Mapping[str, str], repository: str) -> str:
    """The one package, or the one that is named like the repository; '' where that is open."""
    wanted = repository.rstrip("/").rpartition("/")[2].removesuffix(".git").lower().replace("-", "_")
    named = [name for name in found if name.lower() == wanted] or list(found)
    return named[0] if len(named) == 1 else ""


def chosen_subject(found: Mapping[str, str], package: str, source: str, branch: str) -> NewSubject:
    """What was asked for. Raises UsageError where package and folder do not fit together, or are unknown."""
    source = PurePosixPath(source).as_posix() if source else found.get(package.partition(".")[0], "")
    package = package or PurePosixPath(source).name
    if not source:
        hint = f"packages: {', '.join(found) or 'none'}; or name its folder: --source PATH"
        raise UsageError(f"there is no package {package!r}" if package else "which package?", hint=hint)
    if not all(part.isidentifier() for part in package.split(".")):
        raise UsageError(f"{package!r} is no name of a package", hint="name it: --package NAME")
    inside = not source.startswith("/") and ".." not in source.split("/")
    if not inside or package.partition(".")[0] not in PurePosixPath(source).parts:
        raise UsageError(f"{source} is no folder of the package {package}", hint="it lies in the repository")
    return NewSubject(package, source, branch)


def project_files(
    new: NewSubject,
    root: Path,
    repository: Path | None,
    call: str,
    dependencies: Mapping[str, Mapping[str, str]],
) -> dict[Path, str]:
    """The files of a project by path; `repository` is the work tree that it lies in, `call` what is run, and
    `dependencies` are the profile's."""
    conf = {
        "version": 1,
        "project": new.package,
        "repo": ".nbbench/subject.git",
        "dvcs": "git",
        "branches": [new.branch],
        "plugins": [".nbbench.asv_plugin"],  # the dot: asv imports other names from its own package
        "environment_type": "nbbench",
        "pythons": ["same"],
        "benchmark_dir": "benchmarks",
        "results_dir": "results",
        "html_dir": "html",
        "env_dir": ".nbbench/env",
        "hash_length": 8,
        "default_benchmark_timeout": 300,
    }
    profile = {
        "package": new.package,
        "measured_path": new.source,
        "import_root": new.import_root,
        "branch": new.branch,
        **({"repository": os.path.relpath(repository, root)} if repository else {}),
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in profile.items()]
    for package, table in dependencies.items():
        lines += [f"[tool.nbbench.subject.dependencies.{package}]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in table.items()]
    head = "# What nbbench measures here (docs/subject.md of nbbench has all fields)."
    return {
        root / "asv.conf.json": json.dumps(conf, indent=4) + "\n",
        root / "pyproject.toml": "\n".join([head, "[tool.nbbench.subject]", *lines]) + "\n",
        root / ".gitignore": ".nbbench/\nhtml/\nresults/nbbench.sqlite*\n__pycache__/\n",
        root / "benchmarks" / "__init__.py": "",
        root / "benchmarks" / "workloads.py": _suite(new, call),
    }


def _suite(new: NewSubject, call: str) -> str:
    template = Path(__file__).with_name("workloads.py.txt").read_text(encoding="utf-8")
    todo = 'raise NotImplementedError("say in benchmarks/workloads.py what is to run")'
    run = f"return {call}" if call else todo
    return template.replace("PACKAGE", new.package).replace("RUN", run)
