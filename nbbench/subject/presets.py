"""What captures know of the subject: named guards, and the workload that is tried apart.

Presets come with the subject (`subjects/*/capture.toml`); `[tool.nbbench.presets.NAME]` in pyproject.toml
changes fields of one or adds another, which may start from an existing one with `extends`:

    [tool.nbbench.presets.vec-wide]
    extends = "cpu-perf"
    cluster = "CLUSTER-VEC-002"
    command = ["pytest", "-vv", "tests/test_wide.py"]
    timeout_s = 1800
    environment = { PYTEST_ADDOPTS = "--maxfail=1 --timeout=1800 --durations=0" }
"""

from __future__ import annotations

import dataclasses
import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbbench.config import Settings, configured_table
from nbbench.errors import ConfigError, UsageError

_FILE = Path(__file__).parent / "subjects" / "nanobragg" / "capture.toml"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True)
class Preset:
    """What a guarded run is started with.

    `environment` is set for the command, `timeout_s` ends it, `command` runs when none is given; an empty
    `cluster` stands for the project's setting. `dtype_audit` adds the dtype audit of the commit.
    """

    name: str
    description: str = ""
    cluster: str = ""
    command: tuple[str, ...] = ()
    timeout_s: float = 900.0
    environment: tuple[tuple[str, str], ...] = ()
    dtype_audit: bool = False


@dataclass(frozen=True, slots=True)
class CaptureSubject:
    """What is particular to the subject in a capture.

    `trials` are (size, dtype) of the workload tried apart, the worst first, `ledgers` the sizes whose exact
    work is wanted; `series` is the benchmark that times the workload, `workload` the ledger's name for it.
    """

    environment_prefixes: tuple[str, ...]
    compile_switches: tuple[str, ...]
    legacy_bytes_per_pixel: tuple[int, ...]
    workload: str
    series: str
    trials: tuple[tuple[int, str], ...]
    ledgers: tuple[int, ...]


@functools.cache
def _told() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


def capture_subject() -> CaptureSubject:
    """The subject's own part of captures."""
    told, bandwidth = _told(), _told()["bandwidth"]
    return CaptureSubject(
        environment_prefixes=tuple(told["environment_prefixes"]),
        compile_switches=tuple(told["compile_switches"]),
        legacy_bytes_per_pixel=tuple(bandwidth["legacy_bytes_per_pixel"]),
        workload=bandwidth["workload"],
        series=bandwidth["series"],
        trials=tuple((size, dtype) for size, dtype in bandwidth["trials"]),
        ledgers=tuple(bandwidth["ledgers"]),
    )


def find_preset(settings: Settings, name: str) -> Preset:
    """The preset of this name. Raises UsageError when there is none, ConfigError for a bad table."""
    known = presets(settings)
    if name not in known:
        raise UsageError(f"there is no preset {name!r}", hint=f"known: {', '.join(known)}")
    return known[name]


def presets(settings: Settings) -> dict[str, Preset]:
    """Every preset by name, the subject's with what the project changes of them.

    Raises ConfigError with the preset's name and the field that is wrong.
    """
    known: dict[str, Preset] = {}
    for table in (_told()["presets"], configured_table(settings.root, "presets")):
        for name, fields in table.items():
            if not _NAME.fullmatch(name):
                raise ConfigError(f"preset {name!r}: a name is lower-case letters, digits and hyphens")
            if not isinstance(fields, dict):
                raise ConfigError(f"preset {name!r} in pyproject.toml is not a table")
            base = fields.get("extends", name)
            if "extends" in fields and base not in known:
                raise ConfigError(f"preset {name!r} extends {base!r}, which is not defined before it")
            start = dataclasses.replace(known.get(base, Preset(name)), name=name)
            known[name] = _changed(start, {f: raw for f, raw in fields.items() if f != "extends"})
    return known


def _changed(preset: Preset, fields: Mapping[str, Any]) -> Preset:
    return dataclasses.replace(preset, **{field: _value(preset, field, raw) for field, raw in fields.items()})


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
