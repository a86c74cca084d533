"""What nbbench knows of the package that it measures: its profile.

A profile is data (TOML): one that comes with nbbench (`subjects/NAME/profile.toml`), chosen by
`[tool.nbbench] subject = "NAME"`, or a table `[tool.nbbench.subject]` in the project's pyproject.toml.
Its fields that are settings (package, branch, plan …) are read by nbbench/config.py. Everything may be
left out: any package can be measured without a profile.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbbench.config import Settings, read_profile, shipped_profiles
from nbbench.errors import ConfigError
from nbbench.ledger import ImageTolerance

_SUBJECTS = Path(__file__).parent / "subjects"
_PATTERNS = ("gate_workloads", "usual_workloads", "range_workloads")
_SETTINGS = frozenset(
    {"package", "measured_path", "import_root", "branch", "plan", "cluster", "reports_root", "gate_bench"}
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Profile:
    """The subject's own facts; see the comments of a profile.toml below subjects/.

    `gate_workloads`, `usual_workloads` and `range_workloads` are regular expressions for names of
    workloads. `demo` is the module of an embedded history, `plans` and `presets` are tables as in
    `[tool.nbbench]`, `capture` says which workload is tried apart after a capture (presets.py).
    """

    project: str = ""
    preload: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    variables: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    gate_workloads: str = ""
    usual_workloads: str = ""
    range_workloads: str = ""
    image: ImageTolerance = field(default_factory=ImageTolerance)
    plans: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Any] = field(default_factory=dict)
    capture: Mapping[str, Any] = field(default_factory=dict)
    demo: str = ""


def load_profile(settings: Settings) -> Profile:
    """The profile of the settings' subject. Raises ConfigError with the field that is wrong."""
    table = settings.profile
    known = {*Profile.__dataclass_fields__, *_SETTINGS, "plan_criteria"}
    if unknown := sorted(set(table) - known):
        raise ConfigError(f"the subject's profile has an unknown field {unknown[0]!r}")
    return Profile(
        project=_text(table, "project"),
        preload=_words(table, "preload") or ((settings.package,) if settings.package else ()),
        environment=_environment(table),
        variables=_words(table, "variables"),
        programs=_words(table, "programs"),
        **{name: _pattern(table, name) for name in _PATTERNS},
        image=_image(table),
        plans={**_criteria(table), **_table(table, "plans")},
        presets=_table(table, "presets"),
        capture=_table(table, "capture"),
        demo=_text(table, "demo"),
    )


def shipped_variables() -> tuple[str, ...]:
    """Beginnings of the names of environment variables that the subjects known to nbbench have."""
    return tuple(name for one in shipped_profiles() for name in _words(read_profile(one), "variables"))


def _criteria(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The plan items of a shipped profile, which keeps them in a file of their own."""
    name = _text(table, "plan_criteria")
    if not name:
        return {}
    for folder in shipped_profiles():
        path = _SUBJECTS / folder / name
        if read_profile(folder).get("plan_criteria") == name and path.is_file():
            return tomllib.loads(path.read_text(encoding="utf-8"))
    raise ConfigError("plan_criteria is for profiles of nbbench's own", hint="use [tool.nbbench.plans]")


def _image(table: Mapping[str, Any]) -> ImageTolerance:
    given = _table(table, "image")
    if unknown := sorted(set(given) - {"median", "block", "reason"}):
        raise ConfigError(f"the subject's profile: image has no field {unknown[0]!r}")
    for name in ("median", "block"):
        value = given.get(name, 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ConfigError(f"the subject's profile: image.{name} must lie between 0 and 1, got {value!r}")
    return ImageTolerance(**{"reason": "the profile says so", **given}) if given else ImageTolerance()


def _text(table: Mapping[str, Any], name: str) -> str:
    if not isinstance(found := table.get(name, ""), str):
        raise ConfigError(f"the subject's profile: {name} must be text")
    return found


def _pattern(table: Mapping[str, Any], name: str) -> str:
    found = _text(table, name)
    try:
        re.compile(found)
    except re.error as error:
        raise ConfigError(f"the subject's profile: {name} is not a regular expression: {error}") from error
    return found


def _words(table: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise ConfigError(f"the subject's profile: {name} must be a list of texts")
    return tuple(found)


def _table(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if not isinstance(found := table.get(name, {}), dict):
        raise ConfigError(f"the subject's profile: {name} must be a table")
    return found


def _environment(table: Mapping[str, Any]) -> Mapping[str, str]:
    found = _table(table, "environment")
    for name, value in found.items():
        if not isinstance(value, str) or not _VARIABLE.fullmatch(name):
            raise ConfigError(f"the subject's profile: environment.{name} must be a variable with a text")
    return found
