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

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from nbbench.config import Settings, configured_table, typed
from nbbench.errors import ConfigError, UsageError
from nbbench.subject.profile import load_profile

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a guarded run is started with.

    `environment` is set for the command, `timeout_s` ends it, `command` runs when none is
    given; an empty `cluster` stands for the project's setting. `dtype_audit` adds the dtype audit of the
    commit. `extends` names the preset whose fields are those that a table does not give.
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
    known: dict[str, dict[str, Any]] = {}
    for tables in (load_profile(settings).presets, configured_table(settings.root, "presets")):
        for name, raw in tables.items():
            fields = typed(raw, dict[str, Any], f"pyproject.toml, preset {name!r}")
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"pyproject.toml, preset {name!r}: a name is lower-case letters, digits and hyphens"
                )
            typed({**fields, "name": name}, Preset, f"pyproject.toml, preset {name!r}")
            if "extends" in fields and fields["extends"] not in known:
                raise ConfigError(
                    f"pyproject.toml, preset {name!r}: extends {fields['extends']!r} is not defined before it"
                )
            start = known.get(fields.get("extends", name), {})
            environment = start.get("environment", {}) | fields.get("environment", {})
            known[name] = {**start, **fields, "name": name, "environment": environment}
    return {name: typed(fields, Preset, f"pyproject.toml, preset {name!r}") for name, fields in known.items()}
