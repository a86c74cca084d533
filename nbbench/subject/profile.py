"""What nbbench knows of the package that it measures: its profile.

A profile is data (TOML): one that comes with nbbench (`subjects/NAME/profile.toml`), chosen by
`[tool.nbbench] subject = "NAME"`, or a table `[tool.nbbench.subject]` in the project's pyproject.toml.
Its fields that are settings (package, branch, plan …) are read by nbbench/config.py. Everything may be
left out: any package can be measured without a profile.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from nbbench.config import SETTINGS, ImageTolerance, Settings, shipped_profiles, typed

Variable = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class CaptureWorkload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The workload whose exact work stands beside a captured test's bandwidth.

    `legacy_bytes_per_pixel` are the guesses by which the subject's test computes the bandwidth that it
    prints. `workload` is the workload's name by size and dtype; `default_dtype` the file of the checkout, and
    the pattern in it, that tell what the subject computes in when nobody names a dtype.
    """

    legacy_bytes_per_pixel: tuple[int, ...]
    workload: str
    default_dtype: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        check_pattern("default_dtype", self.default_dtype[1])


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


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The subject's own facts; see the comments of a profile.toml below subjects/.

    `gate_workloads`, `usual_workloads` and `range_workloads` are regular expressions for names of
    workloads. `demo` is the module of an embedded history, `plans` and `presets` are tables as in
    `[tool.nbbench]`, `capture` says which workload a captured test of bandwidth runs.
    """

    project: str = ""
    preload: tuple[str, ...] = ()
    environment: Mapping[Variable, str] = {}
    variables: tuple[str, ...] = ()
    gate_workloads: str = ""
    usual_workloads: str = ""
    range_workloads: str = ""
    image: ImageTolerance = ImageTolerance()
    plans: Mapping[str, Any] = {}
    presets: Mapping[str, Any] = {}
    capture: CaptureWorkload | None = None
    reference: Reference | None = None
    demo: str = ""

    def __post_init__(self) -> None:
        for name in ("gate_workloads", "usual_workloads", "range_workloads"):
            check_pattern(name, getattr(self, name))


def load_profile(settings: Settings) -> Profile:
    """The profile of the settings' subject. Raises ConfigError with the field that is wrong."""
    preload = {"preload": [settings.package]} if settings.package else {}
    own = {
        name: found for name, found in settings.profile.items() if name not in SETTINGS or name == "project"
    }
    return typed({**preload, **own}, Profile, "pyproject.toml, the subject's profile")


def shipped_variables() -> tuple[str, ...]:
    """Beginnings of the names of environment variables that the subjects known to nbbench have."""
    return tuple(name for table in shipped_profiles().values() for name in table.get("variables", ()))


def check_pattern(name: str, text: str) -> None:
    """Raise ValueError unless `text` is a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{name} is not a regular expression: {error}") from error
