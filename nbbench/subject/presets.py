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
    given; an empty `cluster` stands for the project's setting.
    """

    name: str
    description: str = ""
    cluster: str = ""
    command: tuple[str, ...] = ()
    timeout_s: float = 900.0
    environment: tuple[tuple[str, str], ...] = ()


_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


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
    return _changed(start, {f: raw for f, raw in fields.items() if f != "extends"})


def _changed(preset: Preset, fields: Mapping[str, Any]) -> Preset:
    changes = {field: _value(preset, field, raw) for field, raw in fields.items()}
    return dataclasses.replace(preset, **changes)


def _value(preset: Preset, field: str, raw: Any) -> Any:
    where = f"preset {preset.name!r}: {field}"
    match field, raw:
        case (("description" | "cluster"), str()):
            return raw
        case "command", list() if raw and all(isinstance(word, str) for word in raw):
            return tuple(raw)
        case "timeout_s", int() | float() if not isinstance(raw, bool) and raw > 0:
            return float(raw)
        case "environment", dict() if all(isinstance(value, str) for value in raw.values()):
            return tuple((dict(preset.environment) | raw).items())
        case (("description" | "cluster"), _):
            raise ConfigError(f"{where} must be text")
        case "command", _:
            raise ConfigError(f"{where} must be a list of words")
        case "timeout_s", _:
            raise ConfigError(f"{where} must be a positive number of seconds")
        case "environment", _:
            raise ConfigError(f"{where} must be a table of texts")
    raise ConfigError(f"{where} is not a field of a preset")
