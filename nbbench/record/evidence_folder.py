"""Reading an evidence folder back, whoever made it: a capture, an export, a person."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbbench.evidence import EvidenceFigure, FolderContent
from nbbench.subject.profile import shipped_variables

_MAX_BYTES = 8 * 1024 * 1024  # a file of evidence is at most 5 MiB
_MAX_FIGURES = 2_000
# What makes two runs of one command incomparable: everything that changes how torch computes.
_FLAGS = re.compile(
    r"CUDA_VISIBLE_DEVICES|PYTEST_ADDOPTS|GLIBC_TUNABLES|LD_PRELOAD|NBBENCH_(THREADS|WARM|MAX_FRAME_MB)"
    r"|(KMP|OMP|GOMP|MKL|OPENBLAS|MALLOC|ONEDNN|DNNL|TORCH|TORCHDYNAMO|TORCHINDUCTOR|PYTORCH|ATEN)_\w+"
    rf"|({'|'.join(shipped_variables())})\w+"
)
_THREAD_FLAGS = ("OMP_NUM_THREADS", "NBBENCH_THREADS")
_MACHINE_FACTS = ("cpu", "physical cores", "processors usable", "memory", "cpu quota")
_CHANGES_BY_RIGHT = (
    (re.compile(r"\d{8}T\d{6}Z(-\d+)?"), "STAMP"),
    (re.compile(r"\b[0-9a-f]{7,40}\b"), "COMMIT"),
)
_TORCH_ENV = {"torch": r"^PyTorch version: (\S+)", "python": r"^Python version: (\S+)"}
# The unit of a number that has none beside it, by the end of its name.
_UNITS = {"bytes_per_s": "B/s", "_s": "seconds", "_bytes": "bytes", "faults": "faults", ".ops": "operations"}
_HEAD_KEYS = frozenset({"schema", "stamp", "cluster", "commit", "exit_code", "tree", "status", "verdict"})


def read_folder(path: Path) -> FolderContent:
    """What the files of `path` say; missing and unreadable ones are named, never an error."""
    files = _Files(path)
    metrics, run = files.json("metrics.json"), files.json("run_metadata.json")
    conditions = _conditions(files, run, metrics)
    cluster = path.parent.name.partition("cluster_")[2]
    return FolderContent(
        path=str(path),
        stamp=_said("stamp", metrics, run) or path.name,
        cluster=_said("cluster", metrics, run) or cluster,
        commit=_said("commit", metrics, run),
        kind=_kind_of(metrics, run),
        verdict=_said("verdict", metrics, run) or _said("status", run, metrics),
        exit_code=files.exit_code(),
        machine=conditions.get("machine name") or conditions.get("machine", ""),
        figures=tuple(folder_figures(metrics)),
        conditions=tuple(conditions.items()),
        missing=tuple(files.missing),
        problems=tuple(files.problems),
    )


class _Files:
    """Files of one folder; what is missing or does not parse is remembered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.missing: list[str] = []
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        """A file's text; empty, and remembered, where there is none."""
        try:
            with (self.folder / name).open("rb") as stream:
                return stream.read(_MAX_BYTES).decode("utf-8", errors="replace")
        except FileNotFoundError:
            self.missing.append(name)
        except OSError as error:
            self.problems.append(f"{name} cannot be read: {error.strerror}")
        return ""

    def json(self, name: str) -> Mapping[str, Any]:
        """A file's object; empty, and remembered, where it holds none."""
        text = self.text(name)
        try:
            found = json.loads(text or "{}")
        except (ValueError, RecursionError):  # a folder made by hand may hold anything
            found = None
        if isinstance(found, dict):
            return found
        self.problems.append(f"{name} holds no JSON object")
        return {}

    def exit_code(self) -> int | None:
        """The number in exit_code.txt; a blank file is a problem."""
        text = self.text("exit_code.txt").strip()
        if re.fullmatch(r"-?\d{1,3}", text):
            return int(text)
        if "exit_code.txt" not in self.missing:
            self.problems.append(f"exit_code.txt holds {text[:40]!r}, no exit code")
        return None


def _conditions(files: _Files, run: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, str]:
    """What must be equal for a comparison; what is not recorded is left out."""
    torch_env = files.text("torch_env.txt")
    found = {n: m[1] for n, p in _TORCH_ENV.items() if (m := re.search(p, torch_env, re.MULTILINE))}
    found |= _table(run.get("versions"))
    pairs = (line.partition("=") for line in files.text("env.txt").splitlines())
    environment = {name: value for name, equals, value in pairs if equals} | _table(run.get("guards"))
    facts = _table(run.get("machine"))
    shown = [
        facts[name] + (f" {name}" if name != "cpu" else "") for name in _MACHINE_FACTS if facts.get(name)
    ]
    flags = {n: v for n, v in environment.items() if _FLAGS.fullmatch(n) and n not in _THREAD_FLAGS}
    threads = [f"{name}={environment[name]}" for name in _THREAD_FLAGS if name in environment]
    session = _mapping(metrics.get("session"))
    recorded = {
        "machine": ", ".join(shown),
        "machine name": str(run.get("machine_name") or ""),
        "threads": str(
            session.get("torch_threads") or ", ".join(threads) or (environment and "default") or ""
        ),
        "torch": found.get("torch", ""),
        "python": found.get("python") or facts.get("python", ""),
        "flags": " ".join(f"{n}={v}" for n, v in sorted(flags.items())) or ("none" if environment else ""),
        "command": _command(files.text("commands.txt")),
        "dtype": _dtypes(metrics),
    }
    return {name: value for name, value in recorded.items() if value}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _table(value: Any) -> dict[str, str]:
    """A mapping, or a list of pairs, as names and texts; anything else is empty."""
    if isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        value = {str(name): text for name, text in value}
    return {str(k): str(v) for k, v in _mapping(value).items()}


def _command(commands: str) -> str:
    """The commands without what changes by right: comments, `cd`, stamps, commit hashes."""
    kept = (line.strip() for line in commands.splitlines())
    text = " ; ".join(line for line in kept if line and not line.startswith(("#", "cd ", "export ", "STAMP")))
    for pattern, word in _CHANGES_BY_RIGHT:
        text = pattern.sub(word, text)
    return text


def _dtypes(metrics: Mapping[str, Any]) -> str:
    if isinstance(named := _mapping(metrics.get("conditions")).get("dtype"), str):
        return named
    ledgers = _items(metrics.get("ledgers"))
    return " ".join(
        sorted({f"{one.get('workload')}:{d}" for one in ledgers if (d := one.get("output_dtype"))})
    )


def _kind_of(metrics: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """hand, export, or capture, with a word in front for each condition that makes its figures other ones."""
    if "nbbench." not in f"{metrics.get('schema', '')} {run.get('schema', '')}":
        return "hand"
    if isinstance(metrics.get("series"), list):
        return "export"
    special = (
        ("disturbed", metrics.get("disturbed")),
        ("profiled", metrics.get("operators")),
        ("compiled", _mapping(metrics.get("session")).get("compiled_graphs")),
        ("malloc-pinned", metrics.get("malloc_pinned_by")),
    )
    return " ".join([*(word for word, is_so in special if is_so), "capture"])


def _said(key: str, *documents: Mapping[str, Any]) -> str:
    """What the first document says: a text, or the part of an object that names it."""
    for found in (document.get(key) for document in documents):
        if isinstance(found, Mapping):
            found = found.get("hash") or found.get("word") or found.get("outcome")
        if isinstance(found, str) and found:
            return found
    return ""


def folder_figures(metrics: Mapping[str, Any]) -> Iterator[EvidenceFigure]:
    """The figures of a metrics.json: of an export (`series`), of a capture (`figures`), or any number.

    Series and named figures come first; the other numbers are named by their paths.
    """
    seen: dict[tuple[str, str], int] = {}
    for count, figure in enumerate(_all_figures(metrics)):
        if count >= _MAX_FIGURES:
            return
        key = figure.name, figure.workload
        seen[key] = seen.get(key, 0) + 1
        # A test prints the same label again: the second, the third …
        yield figure if seen[key] == 1 else replace(figure, name=f"{figure.name} #{seen[key]}")


def _all_figures(metrics: Mapping[str, Any]) -> Iterator[EvidenceFigure]:
    for key in ("series", "figures", "checks"):
        for item in _items(metrics.get(key)):
            if figure := _named(item):
                yield replace(figure, name=f"check: {figure.name}") if key == "checks" else figure
    if not str(metrics.get("schema", "")).startswith("nbbench.metrics"):
        yield from _flattened("", metrics)
        return
    for ledger in _items(metrics.get("ledgers")):
        exact = {key: value for key, value in ledger.items() if not isinstance(value, list)}
        yield from _flattened("ledger", exact, str(ledger.get("workload", "")))
    for key, workload in (("diagnosis", "diagnosis"), ("usage", "the whole run")):
        yield from _flattened(key, metrics.get(key), workload)


def _items(value: Any) -> Iterator[Mapping[str, Any]]:
    return (item for item in (value if isinstance(value, list) else ()) if isinstance(item, Mapping))


def _named(item: Mapping[str, Any]) -> EvidenceFigure | None:
    value = _number(item.get("value"))
    name = str(item.get("series") or item.get("name") or "")
    if value is None or not name or item.get("status", "ok") != "ok":
        return None
    extra = [f"{item['size']}²"] if item.get("size") else []
    extra += [str(item["dtype"])] if item.get("dtype") else []
    low, high = _number(item.get("value_lo")), _number(item.get("value_hi"))
    spread = (high - low) / 2 if low is not None and high is not None else _number(item.get("resolution"))
    return EvidenceFigure(
        name=name + "".join(f" {word}" for word in extra if word not in name),
        value=value,
        unit=str(item.get("unit") or ""),
        workload=str(item.get("test") or item.get("workload") or ""),
        resolution=max(0.0, spread or 0.0),
        more_is_better={">": True, "<": False}.get(str(item.get("op") or "")[:1]),
    )


def _flattened(prefix: str, value: Any, workload: str = "", depth: int = 0) -> Iterator[EvidenceFigure]:
    if (number := _number(value)) is not None and prefix:
        unit = next((unit for end, unit in _UNITS.items() if prefix.endswith(end)), "")
        yield EvidenceFigure(prefix, number, unit, workload)
    elif depth < 8 and isinstance(value, Mapping | list):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            if depth or key not in _HEAD_KEYS:
                yield from _flattened(f"{prefix}.{key}" if prefix else str(key), item, workload, depth + 1)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
