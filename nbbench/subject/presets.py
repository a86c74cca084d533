"""Named guards of a captured run: environment, timeout and a default command.

The subject's profile has some; `[tool.nbbench.presets.NAME]` in pyproject.toml changes fields of one or
adds another, which may start from an existing one with `extends`:

    [tool.nbbench.presets.vec-wide]
    extends = "cpu-perf"
    cluster = "CLUSTER-VEC-002"
    command = ["pytest", "-vv", "tests/test_wide.py"]
    timeout_s = 1800
    environment = { PYTEST_ADDOPTS = "--maxfail=1 --timeout=1800 --durations=0" }
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbbench.config import Settings, configured_table
from nbbench.errors import ConfigError, UsageError
from nbbench.subject.profile import load_profile


@dataclass(frozen=True, slots=True)
class Preset:
    """What a guarded run is started with.

    `environment` is set for the command, `timeout_s` ends it, `command` runs when none is
    given; an empty `cluster` stands for the project's setting. `dtype_audit` adds the dtype audit of the
    commit.
    """

    name: str
    description: str = ""
    cluster: str = ""
    command: tuple[str, ...] = ()
    timeout_s: float = 900.0
    environment: tuple[tuple[str, str], ...] = ()
    dtype_audit: bool = False


@dataclass(frozen=True, slots=True)
class CaptureWorkload:
    """The workload that is tried apart after a capture, from the table `capture` of the subject's profile.

    `legacy_bytes_per_pixel` are the guesses by which the subject's test computes the bandwidth that it
    prints. `trials` are (size, dtype), the worst first, `ledgers` the sizes whose exact work is wanted;
    `name` is the workload's name by size and dtype.
    """

    legacy_bytes_per_pixel: tuple[int, ...]
    name: str
    trials: tuple[tuple[int, str], ...]
    ledgers: tuple[int, ...]


_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def find_preset(settings: Settings, name: str) -> Preset:
    """The preset of this name. Raises UsageError when there is none, ConfigError for a bad table."""
    known = presets(settings)
    if name not in known:
        raise UsageError(f"there is no preset {name!r}", hint=f"known: {', '.join(known)}")
    return known[name]


def capture_workload(settings: Settings) -> CaptureWorkload | None:
    """What is tried apart after a capture; None where the profile names nothing. Raises ConfigError."""
    table = load_profile(settings).capture
    if not table:
        return None
    try:
        return CaptureWorkload(
            legacy_bytes_per_pixel=tuple(int(number) for number in table["legacy_bytes_per_pixel"]),
            name=str(table["workload"]),
            trials=tuple((int(size), str(dtype)) for size, dtype in table["trials"]),
            ledgers=tuple(int(size) for size in table["ledgers"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"the subject's profile: capture is not complete ({error})") from error


def presets(settings: Settings) -> dict[str, Preset]:
    """Every preset by name, the profile's with what the project changes of them.

    Raises ConfigError with the preset's name and the field that is wrong.
    """
    known: dict[str, Preset] = {}
    for tables in (load_profile(settings).presets, configured_table(settings.root, "presets")):
        for name, fields in tables.items():
            known[name] = _preset(name, fields, known)
    return known


def _preset(name: str, fields: Any, known: Mapping[str, Preset]) -> Preset:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"preset {name!r}: a name is lower-case letters, digits and hyphens")
    if not isinstance(fields, dict):
        raise ConfigError(f"preset {name!r} is not a table")
    base = fields.get("extends", name)
    if "extends" in fields and base not in known:
        raise ConfigError(f"preset {name!r} extends {base!r}, which is not defined before it")
    start = dataclasses.replace(known.get(base, Preset(name)), name=name)
    changes = {field: _value(start, field, raw) for field, raw in fields.items() if field != "extends"}
    return dataclasses.replace(start, **changes)


_WANTED = {
    "description": "text",
    "cluster": "text",
    "command": "a list of words",
    "timeout_s": "a positive number of seconds",
    "environment": "a table of texts",
    "dtype_audit": "true or false",
}


def _value(preset: Preset, field: str, raw: Any) -> Any:
    match field, raw:
        case (("description" | "cluster"), str()):
            return raw
        case "command", list() if raw and all(isinstance(word, str) for word in raw):
            return tuple(raw)
        case "timeout_s", int() | float() if not isinstance(raw, bool) and raw > 0:
            return float(raw)
        case "environment", dict() if all(isinstance(value, str) for value in raw.values()):
            return tuple((dict(preset.environment) | raw).items())
        case "dtype_audit", bool():
            return raw
    where = f"preset {preset.name!r}: {field}"
    if field not in _WANTED:
        raise ConfigError(f"{where} is not a field of a preset")
    raise ConfigError(f"{where} must be {_WANTED[field]}")
