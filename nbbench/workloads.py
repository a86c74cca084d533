"""The suite's own declaration of its workloads: which workload a series runs, and in which phase; read from
`results/workloads.jsonl`, so that results can be judged without the suite (docs/subject.md).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from nbbench.errors import ConfigError
from nbbench.model import Phase, SeriesKey

# Not *.json: asv takes every such file below results/ for one of its own and warns.
WORKLOADS_FILE = "workloads.jsonl"
_SCHEMA, _KIND = 2, "nbbench-workloads"
UNDECLARED = ("",)  # any workload
_FEWEST = 4  # a law of degree 1, and two points to check it


@dataclass(frozen=True)
class Workload:
    """One workload: `params` choose it, its work is divided by `pixels`, `dtype` is what is asked for.

    Its family is its name up to the first hyphen. `pixels` counts pixels, points or sources. `version` tells
    what runs under the name ('': nobody said).
    """

    name: str
    pixels: int
    dtype: str = "float32"
    params: tuple[tuple[str, int | float | str], ...] = ()
    version: str = ""

    @property
    def family(self) -> str:
        """The name's part that workloads of one kind share."""
        return self.name.partition("-")[0]

    @classmethod
    def of(cls, family: str, pixels: int, **params: int | float | str) -> "Workload":
        """The workload that is named after its family and the values of its parameters.

        A parameter `dtype` is the dtype asked for.
        """
        name = "-".join([family, *(str(value) for value in params.values())])
        return cls(name, pixels, str(params.get("dtype", "float32")), tuple(params.items()))


@dataclass(frozen=True)
class Declared:
    """What asv benchmarks measure whose names begin with `benchmark`: the phase, and of which workloads.

    Without `families` no ledger belongs to them. `fixed` are parameters that the benchmarks do not have
    but run with. `named_by` is the parameter whose value is a workload's or a family's name.
    """

    benchmark: str
    phase: Phase = Phase.WARM
    families: tuple[str, ...] = ()
    fixed: tuple[tuple[str, int | float | str], ...] = ()
    named_by: str = ""


@dataclass(frozen=True)
class Scale:
    """A family of workloads over one parameter: what `nbbench ledger --scaling` finds its laws from.

    `values` are those that `parameter` takes: small ones, so that they run at once. `fixed` are the other
    parameters. The family's builder takes the value, then those. Raises ConfigError for too few values.
    """

    family: str
    parameter: str
    values: tuple[int, ...]
    fixed: tuple[tuple[str, int | float | str], ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.values)) < _FEWEST or list(self.values) != sorted(set(self.values)):
            raise ConfigError(f"benchmarks/workloads.py: {self.name} needs {_FEWEST} values that rise")

    @classmethod
    def of(cls, family: str, parameter: str, values: Iterable[int], **fixed: int | float | str) -> "Scale":
        """The scale of a family over `values` of a parameter."""
        return cls(family, parameter, tuple(values), tuple(fixed.items()))

    @property
    def name(self) -> str:
        """A workload's name with N in the place of the value."""
        return "-".join([self.family, "N", *(str(value) for _, value in self.fixed)])

    def value_of(self, workload: Workload) -> int | None:
        """The value with which a workload lies on this scale; None where it does not."""
        params = dict(workload.params)
        value = params.pop(self.parameter, None)
        same = workload.family == self.family and params == dict(self.fixed)
        return value if same and isinstance(value, int) else None

    def larger(self, workloads: Iterable[Workload]) -> list[tuple[int, Workload]]:
        """The workloads that lie on it above what it records, each with its value."""
        placed = [(value, one) for one in workloads if (value := self.value_of(one)) is not None]
        return [(value, one) for value, one in placed if value > self.values[-1]]


@dataclass(frozen=True)
class Workloads:
    """All that a suite declares.

    Raises ConfigError for a name that stands twice, and for a family without workloads.
    """

    workloads: tuple[Workload, ...] = ()
    benchmarks: tuple[Declared, ...] = ()
    scales: tuple[Scale, ...] = ()

    def __post_init__(self) -> None:
        names = {*self.by_name, *(one.name for one in self.scales)}
        if len(names) < len(self.workloads) + len(self.scales):
            raise ConfigError("a workload of benchmarks/workloads.py is declared twice")
        families = {one.family for one in self.workloads}
        for one in self.benchmarks:
            if missing := sorted(set(one.families) - families):
                raise ConfigError(
                    f"benchmarks/workloads.py: {one.benchmark} names {missing[0]!r}, no workload"
                )

    @cached_property
    def by_name(self) -> Mapping[str, Workload]:
        """The workloads by name, in the order in which they are declared."""
        return {one.name: one for one in self.workloads}

    @cached_property
    def _by_beginning(self) -> Mapping[str, Declared]:
        return {one.benchmark: one for one in self.benchmarks}

    def declared(self, benchmark: str) -> Declared | None:
        """What is declared of a benchmark: by its name, its class or its module, the nearest first."""
        while benchmark and benchmark not in self._by_beginning:
            benchmark = benchmark.rpartition(".")[0]
        return self._by_beginning.get(benchmark)

    def workload_of(self, key: SeriesKey) -> Workload | None:
        """The workload that a series runs; None where it runs none, several, or an undeclared one."""
        if (found := self.declared(key.benchmark)) is None:
            return None
        params = dict(key.params)
        if found.named_by:
            return self.by_name.get(params.get(found.named_by, "").strip("'\""))
        params |= {name: repr(value) for name, value in found.fixed}
        chosen = [
            one
            for one in self.workloads
            if one.family in found.families and all(params.get(name) == repr(v) for name, v in one.params)
        ]
        return chosen[0] if len(chosen) == 1 else None

    def families_of(self, key: SeriesKey) -> tuple[str, ...]:
        """Beginnings of the names of the workloads whose ledgers belong to a series.

        Empty where none does (imports, construction); `("",)`, any, for an undeclared benchmark.
        """
        if (found := self.declared(key.benchmark)) is None:
            return UNDECLARED
        if found.named_by:
            named = dict(key.params).get(found.named_by, "").strip("'\"")
            return (f"{named.partition('-')[0]}-",) if named else UNDECLARED
        return tuple(f"{family}-" for family in found.families)

    def to_text(self) -> str:
        """The declaration as lines of JSON; see `read_workloads`."""
        lines = [_Line(schema=_SCHEMA, kind=_KIND)]
        lines += [_Line(workload=one) for one in self.workloads]
        lines += [_Line(benchmark=one) for one in self.benchmarks]
        lines += [_Line(scale=one) for one in self.scales]
        return msgspec.json.Encoder().encode_lines(lines).decode()


class _Line(msgspec.Struct, omit_defaults=True):
    """A line of the file: what it is, a workload, a benchmark, or a scale."""

    schema: int = 0
    kind: str = ""
    workload: Workload | None = None
    benchmark: Declared | None = None
    scale: Scale | None = None


def read_workloads(path: Path) -> Workloads:
    """The declaration kept at `path`; an empty one where there is no file.

    Raises ConfigError when it cannot be read.
    """
    try:
        head, *lines = msgspec.json.Decoder(_Line).decode_lines(path.read_bytes())
        if (head.kind, head.schema) != (_KIND, _SCHEMA):
            raise ValueError("it is of another kind or of another version of nbbench")
    except (FileNotFoundError, NotADirectoryError):
        return Workloads()
    except (OSError, ValueError) as error:
        hint = "delete it: measuring writes it again"
        raise ConfigError(f"{path} cannot be read: {error}", hint=hint) from error
    return Workloads(
        tuple(line.workload for line in lines if line.workload),
        tuple(line.benchmark for line in lines if line.benchmark),
        tuple(line.scale for line in lines if line.scale),
    )


def suite_workloads(root: Path) -> Workloads:
    """What the suite of the project at `root` declares; what is on record where it has no such file.

    Raises ConfigError when `benchmarks/workloads.py` fails or contradicts itself.
    """
    import runpy

    path = root / "benchmarks" / "workloads.py"
    if not path.is_file():
        return read_workloads(root / "results" / WORKLOADS_FILE)
    try:
        found = runpy.run_path(str(path))
        scales = tuple(found.get("SCALES", ()))
        return Workloads(tuple(found["WORKLOADS"]), tuple(found["BENCHMARKS"]), scales)
    except ConfigError:
        raise
    except KeyError as error:
        raise ConfigError(f"{path} does not define {error}") from error
    except Exception as error:
        raise ConfigError(f"{path} fails: {type(error).__name__}: {error}") from error


class _Current:
    """The declaration of the project whose settings were loaded last; read when it is first asked for."""

    root: Path | None = None
    found: Workloads | None = None


def use_workloads(source: Path | Workloads | None) -> None:
    """Let the functions below answer from the project at this path, or from a given declaration.

    Of a project what was measured counts, and before anything was, what the suite declares.
    """
    _Current.root = source if isinstance(source, Path) else None
    _Current.found = source if isinstance(source, Workloads) else None


def current_workloads() -> Workloads:
    """The declaration in use."""
    if _Current.found is None and (root := _Current.root):
        path = root / "results" / WORKLOADS_FILE
        _Current.found = read_workloads(path) if path.is_file() else suite_workloads(root)
    return _Current.found or Workloads()


def workload_of(key: SeriesKey) -> str | None:
    """The name of the workload (and so of the ledger) that a series runs; None where there is none."""
    if (named := _own_ledger(key)) is not None:
        return named
    found = current_workloads().workload_of(key)
    return found.name if found else None


def phase_of(key: SeriesKey) -> Phase | None:
    """The phase that a series measures; None where the suite does not say."""
    found = current_workloads().declared(key.benchmark)
    return found.phase if found else None


def ledger_families(key: SeriesKey) -> tuple[str, ...]:
    """Beginnings of the names of the workloads whose ledgers belong to a series; see `families_of`."""
    if (named := _own_ledger(key)) is not None:
        return (f"{named.partition('-')[0]}-",)
    return current_workloads().families_of(key)


def _own_ledger(key: SeriesKey) -> str | None:
    """The workload of a ledger's own series, which names it whatever the suite declares."""
    if not key.benchmark.startswith("ledger."):
        return None
    return dict(key.params).get("workload", "").strip("'\"") or None
