"""nbbench's own files beside asv's: telemetry as JSON lines, ledgers as compressed JSON; which of
them speak: under which torch they were recorded, and which tell of the machine only.

Benchmark processes use this module too, so it needs the standard library and light modules only.
"""

import dataclasses
import errno
import fcntl
import gzip
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from nbbench.compiled import CompiledWork
from nbbench.growth import ScaledWork
from nbbench.host import HOST_TRACK, IMPORT_WORKLOAD, OF_TENSORS, PYTHON, HostCount, HostPhase, HostWork
from nbbench.ledger import IMAGE, Ledger, LedgerLine
from nbbench.model import Phase, ProcessRecord
from nbbench.record.asv_values import BadFileError, load_object, read_bytes, unpacked
from nbbench.record.atomic import write_bytes
from nbbench.record.packed import flat, noun_of, pack, unpack

_SCHEMA = 1
_LEDGER_SCHEMA = 2  # the first one wrote each line of each workload out
LEDGER_KIND = "nbbench-ledger"
_SECTIONS = ("workloads", "host", "starts", "scaled", "compiled")

_OF_TENSORS = tuple(f"{HOST_TRACK}{metric.name.lower()}_" for metric in OF_TENSORS)

# Longer names come from damaged lines only; the database indexes them.
_MAX_NAME = 500


@dataclass(frozen=True, slots=True)
class LedgerFile:
    """What is recorded of one tree under one torch version, by workload: ledgers, host and compiled work,
    what tensors do while one starts up (`starts`); and its scales."""

    tree: str
    commit: str
    torch: str
    workloads: Mapping[str, Ledger]
    host: Mapping[str, HostWork] = field(default_factory=dict)
    starts: Mapping[str, HostWork] = field(default_factory=dict)
    scaled: Mapping[str, ScaledWork] = field(default_factory=dict)
    compiled: Mapping[str, CompiledWork] = field(default_factory=dict)

    @property
    def ledgers(self) -> dict[str, Ledger]:
        """The ledgers; a line that varies in one workload is known to vary in all that run it."""
        known = {place for one in self.workloads.values() for place in one.varies}
        found = dict(self.workloads)
        for name, one in found.items() if known - {IMAGE} else ():
            mine = known & {f"{line.path}:{line.line}" for line in one.lines}
            found[name] = dataclasses.replace(one, varies=tuple(sorted({*one.varies, *mine})))
        return found

    def host_under(self, python: str) -> dict[str, HostWork]:
        """The host work that was counted under a Python, with what tensors do while starting up.

        A line that varies in one workload is known to vary in all.
        """
        found = {name: one for name, one in self.host.items() if one.python == python}
        for name, one in self.starts.items():
            found[name] = found[name].joined(one) if name in found else one
        varies = tuple(sorted({site for one in found.values() for site in one.varies}))
        return {name: dataclasses.replace(one, varies=varies) for name, one in found.items()}

    @property
    def counted(self) -> dict[str, Ledger]:
        """The ledgers with the totals of host and compiled work among their counts; importing and scales are
        some of their own, without pixels."""
        usable = self.host_under(PYTHON).items()
        more = {name: tuple(self._recorded(name, one)) for name, one in usable if not one.error}
        for name, made in self.compiled.items():
            if made.python == PYTHON and not made.error:
                more[name] = (*more.get(name, ()), *made.figures)
        others = {
            name: tuple((q.metric, float(n)) for q, n in one.orders.items() if one.python == PYTHON)
            for name, one in self.scaled.items()
        }
        others[IMPORT_WORKLOAD] = more.get(IMPORT_WORKLOAD, ())
        return {
            name: dataclasses.replace(one, counts=(*one.counts, *more.get(name, ())))
            for name, one in self.ledgers.items()
        } | {
            name: Ledger(name, 0, 0, 0, 0, 0, 0, (), "", "", "", counts=one)
            for name, one in others.items()
            if one
        }

    def _recorded(self, name: str, work: HostWork) -> Iterator[tuple[str, float]]:
        """The figures of host work: those of tensors, and the others, where each of them was recorded."""
        for metric, total in work.figures:
            if name in self.starts if metric.startswith(_OF_TENSORS) else work.python:
                yield metric, total


def telemetry_path(results_dir: Path, machine: str, commit: str, environment: str) -> Path:
    """Where the telemetry of one commit in one environment lies, named as asv names its file."""
    if len(environment) >= 128:  # asv's own rule
        environment = "env-" + hashlib.md5(environment.encode(), usedforsecurity=False).hexdigest()
    return results_dir / machine / "telemetry" / f"{commit[:8]}-{_file_part(environment)}.jsonl"


def ledger_path(results_dir: Path, tree: str, torch: str) -> Path:
    """Where the ledgers of one tree under one torch version lie."""
    return results_dir / "ledger" / f"{tree[:16]}-torch{_file_part(torch)}.json.gz"


def append_record(path: Path, record: ProcessRecord) -> None:
    """Add one line to a telemetry file by a single write, so that processes may share it.

    A line that a killed process left unfinished is closed first and spoils only itself.
    """
    plain = {"schema": _SCHEMA} | flat(record)
    data = json.dumps(plain, separators=(",", ":")).encode("ascii") + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            data = b"\n" + data
        if os.write(handle, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(handle)


def parse_records(data: bytes) -> tuple[list[ProcessRecord], int]:
    """The records of a telemetry file, and how many of its lines could not be used."""
    records, bad = [], 0
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            bad += 1
    return records, bad


def write_ledgers(path: Path, new: LedgerFile, *, again: bool = False) -> None:
    """Write what was recorded of a tree, keeping the others that the file has.

    `again` says that it was recorded before: what the file has stays, and learns what does not repeat.

    The bytes depend on the content only, and a file that would not change is not touched.
    Raises BadFileError when the file there belongs to another tree or torch version.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        before = new
        with suppress(BadFileError):  # a damaged file can be measured again
            before = read_ledgers(path)
        if (before.tree, before.torch) != (new.tree, new.torch):
            raise BadFileError(path, f"holds tree {before.tree} with torch {before.torch}, not {new.tree}")
        content = {
            "schema": _LEDGER_SCHEMA,
            "kind": LEDGER_KIND,
            "tree": new.tree,
            "commit": before.commit,  # where this tree was first measured
            "torch": new.torch,
        }
        for section in _SECTIONS:
            works = _merged(getattr(before, section), getattr(new, section), again=again)
            if works or section == "workloads":
                content[section] = {name: flat(works[name]) for name in sorted(works)}
        text = json.dumps(pack(content), separators=(",", ":"))
        data = gzip.compress(text.encode("ascii"), 9, mtime=0)
        if not (path.exists() and path.read_bytes() == data):
            write_bytes(path, data)


def _merged(old: Mapping[str, Any], new: Mapping[str, Any], *, again: bool) -> dict[str, Any]:
    """The works of a file with new ones; those recorded `again` teach those that are there."""
    known = {name: old[name] for name in new if again and name in old and not old[name].error}
    return {**old, **new, **{name: one.agreed(new[name]) for name, one in known.items()}}


def read_ledgers(path: Path) -> LedgerFile:
    """The ledgers of a file. Raises BadFileError, which names the file and what is wrong."""
    return parse_ledgers(read_bytes(path), path)


def parse_ledgers(data: bytes, path: Path) -> LedgerFile:
    """The content of the ledger file at `path`; see `read_ledgers`."""
    top = load_object(unpacked(data, path), path)
    if top.get("kind") != LEDGER_KIND:
        raise BadFileError(path, "not a ledger file")
    if top.get("schema") not in (_SCHEMA, _LEDGER_SCHEMA):
        said = f"ledger file of schema {top.get('schema')!r}; this nbbench reads {_LEDGER_SCHEMA}"
        raise BadFileError(path, said)
    try:
        if top["schema"] == _LEDGER_SCHEMA:
            top = unpack(top)
        fields = [f.name for f in dataclasses.fields(LedgerLine)]
        for entry in top["workloads"].values():  # its lines are lists of their fields
            entry["lines"] = [dict(zip(fields, cells, strict=False)) for cells in entry.get("lines", ())]
        host, starts = (_host_works(top.pop(name, {})) for name in ("host", "starts"))
        return dataclasses.replace(noun_of(LedgerFile, top), host=host, starts=starts)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BadFileError(path, f"damaged ledger file ({error!r})") from error


def _host_works(plain: dict[str, Any]) -> dict[str, HostWork]:
    """Host work by workload; what `unpack` gave as one array for many of them is made once."""
    counts: dict[int, HostCount] = {}
    found: dict[int, tuple[HostCount, ...]] = {}

    def counted(rows: list[Any]) -> tuple[HostCount, ...]:
        if id(rows) not in found:
            new = {n: row for n, row in zip(map(id, rows), rows, strict=True) if n not in counts}
            counts.update({n: msgspec.convert(row, HostCount) for n, row in new.items()})
            found[id(rows)] = tuple(map(counts.__getitem__, map(id, rows)))
        return found[id(rows)]

    works = {}
    for name, entry in plain.items():
        phases = tuple(HostPhase(Phase(phase), counted(rows)) for phase, rows in entry.get("phases", ()))
        works[name] = dataclasses.replace(noun_of(HostWork, entry | {"phases": []}), phases=phases)
    return works


def _record(plain: dict[str, Any]) -> ProcessRecord:
    record = noun_of(ProcessRecord, plain)
    names = (record.commit, record.benchmark, record.kind, record.machine)
    if plain["schema"] != _SCHEMA or max(map(len, names)) > _MAX_NAME:
        raise ValueError("unknown schema, or a damaged name")
    return record


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder itself, so that no lock file lies among the results."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _file_part(name: str) -> str:
    return name.replace("/", "_").replace("\0", "_")


_Work = TypeVar("_Work", Ledger, HostWork, ScaledWork, CompiledWork)

# How the end of memory or disk, or somebody's kill, reads; another run may well succeed.
_MACHINE = re.compile(
    r"memoryerror|out of memory|(?:can(?:not|'t)|not enough memory|failed to) allocate|not enough memory|"
    r"no space left|file too large|sigkill|\bkilled\b|sigterm|timed? ?out|resource temporarily unavailable",
    re.IGNORECASE,
)


def machine_failed(ledger: Ledger | HostWork | ScaledWork | CompiledWork) -> bool:
    """Whether a ledger is missing because of the machine (out of memory, killed), and not of the commit."""
    return bool(ledger.error) and _MACHINE.search(ledger.error) is not None


def torch_order(torch: str) -> tuple[int, ...]:
    """Torch versions in their order: 2.9.1 is older than 2.13.0."""
    return tuple(int(part) for part in re.findall(r"\d+", torch))


def evidence_torch(trees: Mapping[str, int], installed: str = "") -> str:
    """The torch under which trees are compared, of the numbers of trees on record by torch.

    That is the installed one, or else the newest, provided that it covers half of what the best one does:
    after an upgrade the first few trees do not take the evidence of all others away. Empty where there are
    none.
    """
    enough = max(trees.values(), default=0) / 2
    good = [torch for torch, count in trees.items() if count >= enough]
    if installed in good:
        return installed
    return max(good, key=torch_order, default="")


def kept_torch(results_dir: Path, trees: Iterable[str], installed: str) -> str:
    """The torch with which the ledgers of these trees on disk were recorded: see `evidence_torch`."""
    counts: dict[str, int] = {}
    for tree in filter(None, set(trees)):
        before, after = ledger_path(results_dir, tree, "*").name.split("*")
        for path in (results_dir / "ledger").glob(f"{before}*{after}"):
            torch = path.name.removeprefix(before).removesuffix(after)
            counts[torch] = counts.get(torch, 0) + 1
    return evidence_torch(counts, installed)


class KeptWork(NamedTuple):
    """The exact work of a tree that counts: by workload, of scales by their names.

    `whole` are the workloads whose ledger is there with what tensors do while it starts up.
    """

    ledgers: Mapping[str, Ledger]
    host: Mapping[str, HostWork]
    scaled: Mapping[str, ScaledWork]
    compiled: Mapping[str, CompiledWork]
    whole: frozenset[str]


def kept_work(results_dir: Path, tree: str, torch: str) -> KeptWork:
    """What is on disk of a tree under a torch and this Python, but for what tells of the machine only."""
    try:
        file = read_ledgers(ledger_path(results_dir, tree, torch))
    except BadFileError:
        file = LedgerFile(tree, "", torch, {})
    ledgers = _usable(file.ledgers)
    scaled = {name: one for name, one in _usable(file.scaled).items() if one.python == PYTHON}
    compiled = {name: one for name, one in _usable(file.compiled).items() if one.python == PYTHON}
    host = _usable(file.host_under(PYTHON))
    return KeptWork(ledgers, host, scaled, compiled, frozenset(ledgers.keys() & file.starts.keys()))


def _usable(works: Mapping[str, _Work]) -> dict[str, _Work]:
    return {name: one for name, one in works.items() if not machine_failed(one)}
