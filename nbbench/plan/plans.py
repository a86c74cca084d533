"""Plan items: exit criteria and thresholds as data, and what they are judged by.

Those of the subject are in its profile; `[tool.nbbench.plans.ID]` in pyproject.toml adds
another or takes the place of one; docs/plan.md has an example.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, structs

from nbbench.captured import Folder
from nbbench.config import Settings, configured_table, typed
from nbbench.errors import ConfigError, UsageError
from nbbench.history.telemetry import Disturbed
from nbbench.model import Commit, Result
from nbbench.subject.profile import check_pattern, load_profile

Text = Annotated[str, Meta(min_length=1)]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class Criterion(Struct, frozen=True, forbid_unknown_fields=True):
    """One threshold and where its value comes from; docs/plan.md has the fields.

    The value is divided by `over` (less `minus` too) and by `per_pixel` bytes × `pixels`; a whole number of
    `each` is the edge of a detector too. Conditions that are 0, "" or None ask for nothing.
    """

    id: Text
    title: Text
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
    device: Literal["cpu", "cuda"] = "cpu"
    reference: bool = False
    margin: float = 0.1
    note: str = ""
    missing: str = ""
    each: Annotated[tuple[int | str, ...], Meta(min_length=1)] = ()

    def __post_init__(self) -> None:
        for name in ("figure", "test"):
            check_pattern(name, getattr(self, name))
        if self.document.startswith("/") or ".." in self.document.split("/"):
            raise ValueError("document must lie inside the project")
        if self.document and (self.value or self.figure):
            raise ValueError("a document is the only source, or none")
        if not self.document and self.spec is None and self.asserts is None and self.ours is None:
            raise ValueError("neither spec nor asserts nor ours is given")
        sized = self.pixels or all(isinstance(size, int) for size in self.each or ("",))
        if self.per_pixel and not sized:
            raise ValueError("per_pixel needs each, a list of detector sizes")

    @property
    def series(self) -> tuple[str, ...]:
        """The series that a value is put together from."""
        return tuple(text for text in (self.value, self.over, self.minus) if text)


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """A plan item; values measured more than `stale_days` ago are stale.

    Benchmarks pin malloc, except those whose name `default_malloc` matches. `environment` has variables that
    its benchmarks are measured with.
    """

    id: str
    title: str
    criteria: Annotated[tuple[Criterion, ...], Meta(min_length=1)]
    stale_days: Annotated[float, Meta(gt=0)] = 30.0
    default_malloc: str = ""
    environment: dict[str, str] = {}

    def __post_init__(self) -> None:
        check_pattern("default_malloc", self.default_malloc)


@dataclass(frozen=True, slots=True)
class PlanInput:
    """Everything that a judgement looks at, of one machine.

    `results` are by benchmark name, `commits` in the branch's order (oldest first);
    `documents` are files found by pattern. `threads` says how many computed, by commit, environment and
    benchmark, `disturbed` which results others disturbed. `cores` is None where the machine's are not known.
    """

    machine: str
    results: Mapping[str, Sequence[Result]]
    commits: Sequence[Commit]
    folders: Sequence[Folder] = ()
    documents: Mapping[str, str] = field(default_factory=dict)
    threads: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    disturbed: Disturbed = frozenset()
    cores: int | None = None

    def within(self, commits: Sequence[Commit]) -> "PlanInput":
        """The same without what belongs to other commits than these."""
        names = {commit.hash for commit in commits}
        results = {name: [r for r in rows if r.commit in names] for name, rows in self.results.items()}
        folders = [folder for folder in self.folders if folder.commit in names]
        return replace(self, commits=commits, results=results, folders=folders)


@dataclass(frozen=True, slots=True)
class PlanInputs:
    """What a plan is judged by: a machine's figures, those of the machine whose GPU counts, and of machines
    with more cores, the one that measured last first."""

    own: PlanInput
    gpu: PlanInput
    larger: tuple[PlanInput, ...] = ()

    def within(self, commits: Sequence[Commit]) -> "PlanInputs":
        """The same without what belongs to other commits than these."""
        larger = tuple(one.within(commits) for one in self.larger)
        return PlanInputs(self.own.within(commits), self.gpu.within(commits), larger)


@dataclass(frozen=True, slots=True)
class Measured:
    """A criterion's value; the true one lies within `lo` … `hi`.

    `doubts` say why it gives no verdict. `folder` is an evidence folder that holds the value,
    `damaged` where its files no longer match its checksums; `source` is the file of asv's results
    that a benchmark's value stands in.
    """

    value: float
    lo: float
    hi: float
    commit: str
    machine: str
    measured_at: datetime | None = None
    derived: str = ""
    folder: str = ""
    damaged: bool = False
    source: str = ""
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_plan(settings: Settings, name: str) -> Plan:
    """The plan of this name. Raises UsageError when there is none, ConfigError for a bad table."""
    known = plans(settings)
    if name not in known:
        raise UsageError(f"there is no plan {name!r}", hint=f"known: {', '.join(known) or 'none'}")
    return known[name]


def plans(settings: Settings) -> dict[str, Plan]:
    """Every plan by name, the built-in ones first. Raises ConfigError with what is wrong where."""
    known = {**load_profile(settings).plans, **configured_table(settings.root, "plans")}
    return {name: _plan(name, raw) for name, raw in known.items()}


def _plan(name: str, raw: Any) -> Plan:
    where = f"pyproject.toml, plan {name!r}"
    if not _ID.fullmatch(name):
        raise ConfigError(f"{where}: a name is letters, digits, '.', '_' and '-'")
    found = typed({"title": "", **typed(raw, dict[str, Any], where), "id": name}, Plan, where)
    criteria = tuple(one for criterion in found.criteria for one in _each(criterion))
    ids = [criterion.id for criterion in criteria]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise ConfigError(f"{where} has two criteria with the id {twice[0]!r}")
    return structs.replace(found, criteria=criteria)


def _each(criterion: Criterion) -> Iterator[Criterion]:
    """The criterion, or one for each value of its `each`."""
    texts = {name: text for name, text in structs.asdict(criterion).items() if isinstance(text, str)}
    for value in criterion.each or ("",):
        named = {name: text.replace("{each}", str(value)) for name, text in texts.items()}
        yield structs.replace(
            criterion, **named, each=(), pixels=value * value if isinstance(value, int) else 0
        )
