"""Plan items: exit criteria and thresholds as data.

The built-in ones are in plan_criteria.toml; `[tool.nbbench.plans.ID]` in pyproject.toml adds
another or takes the place of one (docs/plan.md):

    [tool.nbbench.plans.PERF-PYTORCH-005]
    title = "Batch the sources"

    [[tool.nbbench.plans.PERF-PYTORCH-005.criteria]]
    id = "nine sources"
    title = "nine sources over one"
    value = "vectorisation.MultiSource.time_run(9)"
    over = "vectorisation.MultiSource.time_run(1)"
    op = "<="
    spec = 4.0
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nbbench.config import Settings, configured_table
from nbbench.errors import ConfigError, UsageError
from nbbench.subject.profile import load_profile

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_TEXTS = (
    *("id", "title", "value", "over", "minus", "figure", "captured", "test", "document", "unit", "note"),
    "missing",
)
_NUMBERS = ("spec", "asserts", "scale", "per_pixel")
_FIELDS = frozenset((*_TEXTS, *_NUMBERS, "op", "statistic", "each"))
_STALE_DAYS = 30.0


@dataclass(frozen=True, slots=True)
class Criterion:
    """One threshold and where its value comes from; exactly one source, or none (`missing` says why).

    `value` names a series as asv writes it, `name(value, …)`. From it `minus` is subtracted; it
    is divided by `over` (less `minus` too) and by `per_pixel` bytes × `pixels`, and multiplied
    by `scale`. `statistic` is `value` or `cv`, the variation of its samples. `figure` is a
    regular expression for figures of captured folders, of the tests that `test` matches and,
    where `unit` is given, in a unit that begins so; `captured` is one beside `value`, for a test that
    measures the same: the newer of the two counts.
    `document` is a pattern of files in the project, one of which must exist. `spec` is the
    specification's threshold, `asserts` what the subject's tests assert; one may be absent.
    """

    id: str
    title: str
    op: Literal["<=", ">="] = "<="
    spec: float | None = None
    asserts: float | None = None
    value: str = ""
    over: str = ""
    minus: str = ""
    scale: float = 1.0
    per_pixel: float = 0.0
    pixels: int = 0
    statistic: Literal["value", "cv"] = "value"
    figure: str = ""
    captured: str = ""
    test: str = ""
    document: str = ""
    unit: str = ""
    note: str = ""
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan item; values measured more than `stale_days` ago are stale."""

    id: str
    title: str
    criteria: tuple[Criterion, ...]
    stale_days: float = _STALE_DAYS


def find_plan(settings: Settings, name: str) -> Plan:
    """The plan of this name. Raises UsageError when there is none, ConfigError for a bad table."""
    known = plans(settings)
    if name not in known:
        raise UsageError(f"there is no plan {name!r}", hint=f"known: {', '.join(known)}")
    return known[name]


def plans(settings: Settings) -> dict[str, Plan]:
    """Every plan by name, the built-in ones first. Raises ConfigError with what is wrong where."""
    known = {**load_profile(settings).plans, **configured_table(settings.root, "plans")}
    return {name: _plan(name, raw) for name, raw in known.items()}


def _plan(name: str, raw: Any) -> Plan:
    if not _ID.fullmatch(name):
        raise ConfigError(f"plan {name!r}: a name is letters, digits, '.', '_' and '-'")
    if not isinstance(raw, Mapping) or not isinstance(raw.get("criteria", []), list):
        raise ConfigError(f"plan {name!r} is not a table with a list of criteria")
    if unknown := sorted(set(raw) - {"title", "criteria", "stale_days"}):
        raise ConfigError(f"plan {name!r}: {unknown[0]!r} is not a field of a plan")
    stale = raw.get("stale_days", _STALE_DAYS)
    if not _is_number(stale) or stale <= 0:
        raise ConfigError(f"plan {name!r}: stale_days must be a positive number")
    criteria = tuple(one for item in raw.get("criteria", []) for one in _criteria(name, item))
    if not criteria:
        raise ConfigError(f"plan {name!r} has no criteria")
    ids = [criterion.id for criterion in criteria]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise ConfigError(f"plan {name!r} has two criteria with the id {twice[0]!r}")
    return Plan(name, str(raw.get("title", "")), criteria, float(stale))


def _criteria(plan: str, raw: Any) -> list[Criterion]:
    """One criterion, or one for each value of `each`, which stands for `{each}` in its texts."""
    where = f"plan {plan!r}, criterion {raw.get('id') if isinstance(raw, Mapping) else raw!r}"
    if not isinstance(raw, Mapping) or not raw.get("id") or not raw.get("title"):
        raise ConfigError(f"{where}: a criterion is a table with at least an id and a title")
    for field, found in raw.items():
        _check(where, field, found)
    sources = [field for field in ("value", "figure", "document") if raw.get(field)]
    if len(sources) > 1:
        raise ConfigError(f"{where}: has {' and '.join(sources)}, only one source is possible")
    if sources != ["document"] and not {"spec", "asserts"} & set(raw):
        raise ConfigError(f"{where}: has neither spec nor asserts")
    if raw.get("captured") and sources != ["value"]:
        raise ConfigError(f"{where}: captured stands beside value")
    if raw.get("per_pixel") and not all(isinstance(size, int) for size in raw.get("each", [""])):
        raise ConfigError(f"{where}: per_pixel needs each, a list of detector sizes")
    return [_one(raw, value) for value in raw.get("each", [""])]


def _one(raw: Mapping[str, Any], each: str | int) -> Criterion:
    fields: dict[str, Any] = {name: raw[name] for name in ("op", "statistic") if name in raw}
    fields |= {name: float(raw[name]) for name in _NUMBERS if name in raw}
    fields |= {name: raw[name].replace("{each}", str(each)) for name in _TEXTS if name in raw}
    return Criterion(**fields, pixels=each * each if isinstance(each, int) else 0)


def _check(where: str, field: str, found: Any) -> None:
    if field not in _FIELDS:
        raise ConfigError(f"{where}: {field!r} is not a field of a criterion")
    if field in _TEXTS and not isinstance(found, str):
        raise ConfigError(f"{where}: {field} must be text")
    if field in _NUMBERS and not _is_number(found):
        raise ConfigError(f"{where}: {field} must be a number")
    if field == "op" and found not in ("<=", ">="):
        raise ConfigError(f"{where}: op must be <= or >=")
    if field == "statistic" and found not in ("value", "cv"):
        raise ConfigError(f"{where}: statistic must be value or cv")
    if field == "each" and (not isinstance(found, list) or not found or not all(map(_is_each, found))):
        raise ConfigError(f"{where}: each must be a list of texts and whole numbers")
    if field in ("figure", "captured", "test"):
        try:
            re.compile(found)
        except re.error as error:
            raise ConfigError(f"{where}: {field} is not a regular expression: {error}") from error
    if field == "document" and (found.startswith("/") or ".." in found.split("/")):
        raise ConfigError(f"{where}: document must lie inside the project")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_each(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)
