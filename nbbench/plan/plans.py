"""Plan items: exit criteria and thresholds as data.

The built-in ones are in plan_criteria.toml; `[tool.nbbench.plans.ID]` in pyproject.toml adds
another or takes the place of one; docs/plan.md has an example.
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
_STALE_DAYS = 30.0
# The form of every field of a criterion: a kind, or the words that it may hold.
_FIELDS: dict[str, type | tuple[str, ...]] = {
    **dict.fromkeys(("id", "title", "value", "over", "minus", "figure", "test"), str),
    **dict.fromkeys(("document", "unit", "dtype", "note", "missing"), str),
    **dict.fromkeys(("spec", "asserts", "ours", "scale", "per_pixel", "margin"), float),
    **dict.fromkeys(("threads", "cores"), int),
    "op": ("<=", ">="),
    "malloc": ("default", "pinned"),
    "compile": bool,
    "each": list,
}
_EXPRESSIONS = ("figure", "test")
_THRESHOLDS = {"spec", "asserts", "ours"}


@dataclass(frozen=True, slots=True)
class Criterion:
    """One threshold and where its value comes from; without a source `missing` says why there is none.

    `value` names a series as asv writes it, `name(value, …)`. From it `minus` is subtracted; it
    is divided by `over` (less `minus` too) and by `per_pixel` bytes × `pixels`, and multiplied
    by `scale`. `figure` is a regular expression for figures of captured folders, of the tests that
    `test` matches and, where `unit` is given, in a unit that begins so. It may stand beside `value`, for
    a test that measures the same: the newer of the two counts.
    `document` is a pattern of files in the project, one of which must exist. `spec` is the
    specification's threshold, `asserts` what the subject's tests assert, `ours` one of our own; two may
    be absent. `missing` says what would settle a criterion that has no value.

    Conditions under which a value is the criterion's own (0, "" and None ask for nothing): `threads`
    computing, `cores` at least on the machine, `malloc`, `dtype`, and `compile`, whether Dynamo
    compiles. A captured test sets its own threads. `margin` is the relative distance from a threshold
    within which a single figure tells nothing.
    """

    id: str
    title: str
    op: Literal["<=", ">="] = "<="
    spec: float | None = None
    asserts: float | None = None
    ours: float | None = None
    value: str = ""
    over: str = ""
    minus: str = ""
    scale: float = 1.0
    per_pixel: float = 0.0
    pixels: int = 0
    figure: str = ""
    test: str = ""
    document: str = ""
    unit: str = ""
    threads: int = 0
    cores: int = 0
    malloc: Literal["", "default", "pinned"] = ""
    dtype: str = ""
    compile: bool | None = None
    margin: float = 0.1
    note: str = ""
    missing: str = ""

    @property
    def series(self) -> tuple[str, ...]:
        """The series that a value is put together from."""
        return tuple(text for text in (self.value, self.over, self.minus) if text)


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan item; values measured more than `stale_days` ago are stale.

    Benchmarks pin malloc, except those whose name `default_malloc` matches.
    """

    id: str
    title: str
    criteria: tuple[Criterion, ...]
    stale_days: float = _STALE_DAYS
    default_malloc: str = ""


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
    if unknown := sorted(set(raw) - {"title", "criteria", "stale_days", "default_malloc"}):
        raise ConfigError(f"plan {name!r}: {unknown[0]!r} is not a field of a plan")
    stale = raw.get("stale_days", _STALE_DAYS)
    if not _is_a(stale, float) or stale <= 0:
        raise ConfigError(f"plan {name!r}: stale_days must be a positive number")
    default_malloc = str(raw.get("default_malloc", ""))
    _check_expression(f"plan {name!r}", "default_malloc", default_malloc)
    criteria = tuple(one for item in raw.get("criteria", []) for one in _criteria(name, item))
    if not criteria:
        raise ConfigError(f"plan {name!r} has no criteria")
    ids = [criterion.id for criterion in criteria]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise ConfigError(f"plan {name!r} has two criteria with the id {twice[0]!r}")
    return Plan(name, str(raw.get("title", "")), criteria, float(stale), default_malloc)


def _criteria(plan: str, raw: Any) -> list[Criterion]:
    """One criterion, or one for each value of `each`, which stands for `{each}` in its texts."""
    where = f"plan {plan!r}, criterion {raw.get('id') if isinstance(raw, Mapping) else raw!r}"
    if not isinstance(raw, Mapping) or not raw.get("id") or not raw.get("title"):
        raise ConfigError(f"{where}: a criterion is a table with at least an id and a title")
    for field, found in raw.items():
        _check(where, field, found)
    if raw.get("document") and (raw.get("value") or raw.get("figure")):
        raise ConfigError(f"{where}: a document is the only source, or none")
    if not raw.get("document") and not _THRESHOLDS & set(raw):
        raise ConfigError(f"{where}: has neither spec nor asserts nor ours")
    if raw.get("per_pixel") and not all(isinstance(size, int) for size in raw.get("each", [""])):
        raise ConfigError(f"{where}: per_pixel needs each, a list of detector sizes")
    return [_one(raw, value) for value in raw.get("each", [""])]


def _one(raw: Mapping[str, Any], each: str | int) -> Criterion:
    def value(found: Any) -> Any:
        return found.replace("{each}", str(each)) if isinstance(found, str) else found

    fields = {name: value(found) for name, found in raw.items() if name != "each"}
    return Criterion(**fields, pixels=each * each if isinstance(each, int) else 0)


def _check(where: str, field: str, found: Any) -> None:
    """Raise ConfigError unless a field is known and has its form."""
    form = _FIELDS.get(field)
    if form is None:
        raise ConfigError(f"{where}: {field!r} is not a field of a criterion")
    if isinstance(form, tuple):
        if found not in form:
            raise ConfigError(f"{where}: {field} must be {' or '.join(form)}")
    elif not _is_a(found, form):
        kinds = {str: "text", float: "a number", int: "a whole number", bool: "true or false", list: "a list"}
        of = " of texts and whole numbers" if form is list else ""
        raise ConfigError(f"{where}: {field} must be {kinds[form]}{of}")
    if field in _EXPRESSIONS:
        _check_expression(where, field, found)
    if field == "document" and (found.startswith("/") or ".." in found.split("/")):
        raise ConfigError(f"{where}: document must lie inside the project")


def _check_expression(where: str, field: str, text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise ConfigError(f"{where}: {field} is not a regular expression: {error}") from error


def _is_a(value: Any, form: type) -> bool:
    if form is list:
        return isinstance(value, list) and bool(value) and all(_is_a(v, str) or _is_a(v, int) for v in value)
    if form is float:
        form = int | float  # type: ignore[assignment]
    return isinstance(value, form) and (form is bool or not isinstance(value, bool))
