"""What nbbench knows of the package that it measures: its profile, presets among it (docs/subject.md). Fields
that are settings (package, branch, plan …) are read by nbbench/config.py.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec

from nbbench.config import SETTINGS, ImageTolerance, Settings, configured_table, shipped_profiles, typed
from nbbench.errors import ConfigError, UsageError

Variable = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Package = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
# A path inside of a repository that git takes in any place, its own folder excepted.
Within = Annotated[str, msgspec.Meta(pattern=r"^(?![/-])(?!(.*/)?\.(\.|git)(/|$))[^\x00-\x1f\"]*$")]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program that criteria compare with: its source in the subject's tree, how it is compiled, and the
    environment variable that names it to the suite."""

    variable: Variable
    source: str
    flags: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.source.startswith(("/", "-")) or ".." in self.source.split("/"):
            raise ValueError("source must lie inside the subject")


class Dependency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A package in another repository, of which a commit of the subject pins a commit (docs/subject.md).

    The pin is the submodule at `path`, or the hash in the file `pin`. `repository` is a clone as seen from
    the project, or a URL. Its folder `source` goes on the import path; it is laid out below `path`.
    """

    repository: str
    path: Within = ""
    pin: Within = ""
    source: Within = "."
    name: str = ""

    @property
    def place(self) -> str:
        """Where the source lies in a tree."""
        return PurePosixPath(self.path, self.source).as_posix()


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The subject's own facts; docs/subject.md has the fields.

    Those that choose benchmarks and workloads are regular expressions; `demo` is the module of an embedded
    history.
    """

    project: str = ""
    repository: str = ""
    preload: tuple[str, ...] = ()
    environment: Mapping[Variable, str] = {}
    variables: tuple[str, ...] = ()
    run_bench: str = ""
    bisect_series: str = ""
    gate_workloads: str = ""
    usual_workloads: str = ""
    range_workloads: str = ""
    image: ImageTolerance = ImageTolerance()
    plans: Mapping[str, Any] = {}
    presets: Mapping[str, Any] = {}
    default_dtype: tuple[str, str] = ("", "")
    reference: Reference | None = None
    demo: str = ""
    dependencies: Mapping[Package, Dependency] = {}

    def __post_init__(self) -> None:
        for name in ("run_bench", "bisect_series", "gate_workloads", "usual_workloads", "range_workloads"):
            check_pattern(name, getattr(self, name))
        check_pattern("default_dtype", self.default_dtype[1])


def load_profile(settings: Settings) -> Profile:
    """The profile of the settings' subject. Raises ConfigError with the field that is wrong."""
    preload = {"preload": [settings.package]} if settings.package else {}
    own = {
        name: found for name, found in settings.profile.items() if name not in SETTINGS or name == "project"
    }
    return typed({**preload, **own}, Profile, "pyproject.toml, the subject's profile")


def dependencies(settings: Settings) -> tuple[Dependency, ...]:
    """The repositories beside the subject's own, by the profile.

    Raises ConfigError where one has no place, or one that would hide the measured path.
    """
    found = []
    for name, one in load_profile(settings).dependencies.items():
        path = PurePosixPath(one.path or (f"dependencies/{name}" if one.pin else "")).as_posix()
        if PurePosixPath(settings.measured_path).is_relative_to(path):
            said = f"pyproject.toml, dependency {name!r}: no folder for its source"
            raise ConfigError(said, hint="path = the submodule's folder, or pin = a file with its hash")
        found.append(msgspec.structs.replace(one, name=name, path=path))
    return tuple(found)


def import_path(settings: Settings, root: str) -> list[str]:
    """The folders of a tree that go on the import path; its paths are seen from `root`."""
    places = [settings.import_root, *(one.place for one in dependencies(settings))]
    return [str(Path(root, place)) for place in places] if places[1:] else [root]


def shipped_variables() -> tuple[str, ...]:
    """Beginnings of the names of environment variables that the subjects known to nbbench have."""
    return tuple(name for table in shipped_profiles().values() for name in table.get("variables", ()))


def check_pattern(name: str, text: str) -> None:
    """Raise ValueError unless `text` is a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{name} is not a regular expression: {error}") from error


_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a guarded run is started with (docs/evidence.md, "Guards").

    `command` runs when none is given; an empty `cluster` stands for the project's setting. `extends` names
    the preset whose fields are those that a table does not give.
    """

    name: str
    description: str = ""
    cluster: str = ""
    command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ()
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 900.0
    environment: Mapping[str, str] = {}
    dtype_audit: bool = False
    extends: str = ""


def find_preset(settings: Settings, name: str) -> Preset:
    """The preset of this name. Raises UsageError when there is none, ConfigError for a bad table."""
    known = presets(settings)
    if name not in known:
        raise UsageError(f"there is no preset {name!r}", hint=f"known: {', '.join(known)}")
    return known[name]


def presets(settings: Settings) -> dict[str, Preset]:
    """Every preset by name, the profile's with what the project changes of them.

    Raises ConfigError with the preset's name and the field that is wrong.
    """
    known: dict[str, Preset] = {}
    for tables in (load_profile(settings).presets, configured_table(settings.root, "presets")):
        for name, raw in tables.items():
            label = f"pyproject.toml, preset {name!r}"
            if not _NAME.fullmatch(name):
                raise ConfigError(f"{label}: a name is lower-case letters, digits and hyphens")
            fields = typed(raw, dict[str, Any], label)
            made = typed({**fields, "name": name}, Preset, label)
            if made.extends and made.extends not in known:
                raise ConfigError(f"{label}: extends {made.extends!r} is not defined before it")
            if start := known.get(made.extends or name):
                given = {field: getattr(made, field) for field in ("name", *fields)}
                given["environment"] = {**start.environment, **made.environment}
                made = msgspec.structs.replace(start, **given)
            known[name] = made
    return known
