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
_TORCH_ENV = {
    "torch": r"^PyTorch version: (\S+)",
    "python": r"^Python version: (\S+)",
    "cpu": r"^Model name:\s*(.+)",
}
# Keys of a part of metrics.json, with the name and the unit of their figures.
_USAGE = {
    "elapsed_s": ("elapsed", "seconds"),  # until 2026
    "wall_s": ("elapsed", "seconds"),
    "user_s": ("user time", "seconds"),
    "system_s": ("system time", "seconds"),
    "max_rss_bytes": ("largest resident memory", "bytes"),
    "minor_faults": ("minor faults", "faults"),
}
_LEDGER = {
    "ops": ("ledger ops", "operations"),
    "bytes_per_pixel": ("ledger bytes_per_pixel", "B/pixel"),
    "peak_live_bytes": ("ledger peak_live_bytes", "B (exact)"),
}
_HEAD_KEYS = frozenset({"schema", "stamp", "cluster", "commit", "exit_code", "tree", "status", "verdict"})


def read_folder(path: Path) -> FolderContent:
    """What the files of `path` say; missing and unreadable ones are named, never an error."""
    reader = _Reader(path)
    metrics, run = reader.json("metrics.json"), reader.json("run_metadata.json")
    environment = reader.environment()
    conditions = _conditions(reader, run, environment, metrics)
    parent = path.parent.name
    facts = {name: str(run[name]) for name in ("started_at", "branch", "tree", "nbbench") if run.get(name)}
    return FolderContent(
        path=str(path),
        stamp=str(metrics.get("stamp") or run.get("stamp") or path.name),
        cluster=str(
            metrics.get("cluster")
            or run.get("cluster")
            or (parent.removeprefix("cluster_") if parent.startswith("cluster_") else "")
        ),
        commit=_commit_of(metrics) or _commit_of(run),
        kind=_kind_of(metrics, run),
        verdict=_verdict_of(metrics, run),
        exit_code=reader.exit_code(metrics, run),
        machine=conditions.get("machine name") or conditions.get("machine", ""),
        figures=tuple(folder_figures(metrics)),
        conditions=tuple(conditions.items()),
        facts=tuple((facts | _table(run.get("versions"))).items()),
        missing=tuple(reader.missing),
        problems=tuple(reader.problems),
    )


class _Reader:
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
        """A file's object. Warnings printed in front of it are skipped, and said."""
        text, found = self.text(name), None
        start = re.search(r"^\{", text, re.MULTILINE)
        try:
            found = json.loads(text[start.start() :] if start else text or "{}")
        except (ValueError, RecursionError):  # a folder made by hand may hold anything
            found = None
        if not isinstance(found, dict):
            self.problems.append(f"{name} holds no JSON object")
            return {}
        if start and text[: start.start()].strip():
            self.problems.append(f"{name} has text in front of its JSON")
        return found

    def environment(self) -> dict[str, str]:
        """The variables of env.txt, or of env.json where a folder has that instead."""
        if not (self.folder / "env.txt").exists() and (self.folder / "env.json").exists():
            return {str(name): str(value) for name, value in self.json("env.json").items()}
        pairs = (line.partition("=") for line in self.text("env.txt").splitlines())
        return {name: value for name, equals, value in pairs if equals}

    def exit_code(self, *documents: Mapping[str, Any]) -> int | None:
        """The number in exit_code.txt; a blank file is a problem, and the summary is not asked."""
        text = self.text("exit_code.txt").strip()
        if re.fullmatch(r"-?\d{1,3}", text):
            return int(text)
        if "exit_code.txt" not in self.missing:
            self.problems.append(f"exit_code.txt holds {text[:40]!r}, no exit code")
            return None
        codes = [document.get("exit_code") for document in documents]
        return next((code for code in codes if isinstance(code, int) and not isinstance(code, bool)), None)


def _conditions(
    reader: _Reader, run: Mapping[str, Any], environment: Mapping[str, str], metrics: Mapping[str, Any]
) -> dict[str, str]:
    """What must be equal for a comparison; what is not recorded is left out."""
    torch_env = reader.text("torch_env.txt")
    found = {n: m[1].strip() for n, p in _TORCH_ENV.items() if (m := re.search(p, torch_env, re.MULTILINE))}
    machine, session = run.get("machine"), _mapping(metrics.get("session"))
    facts = {"cpu": machine} if isinstance(machine, str) else _table(machine)
    found |= {n: str(v) for n in ("torch", "python") if (v := session.get(n))} | _table(run.get("versions"))
    environment = {**environment, **_table(run.get("guards"))}
    shown = [
        str(facts[name]) + (f" {name}" if name != "cpu" else "") for name in _MACHINE_FACTS if facts.get(name)
    ]
    flags = {n: v for n, v in environment.items() if _FLAGS.fullmatch(n) and n not in _THREAD_FLAGS}
    threads = run.get("threads") or session.get("torch_threads")
    named = [f"{name}={environment[name]}" for name in _THREAD_FLAGS if name in environment]
    recorded = {
        "machine": ", ".join(shown) or found.get("cpu", ""),
        "machine name": str(run.get("machine_name") or ""),
        "threads": str(threads or ", ".join(named) or ("default" if environment else "")),
        "torch": found.get("torch", ""),
        "python": found.get("python") or str(facts.get("python", "")),
        "flags": " ".join(f"{n}={v}" for n, v in sorted(flags.items())) or ("none" if environment else ""),
        "command": _command(reader.text("commands.txt"), run),
        "dtype": _dtypes(metrics, run),
    }
    return {name: value for name, value in recorded.items() if value}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _table(value: Any) -> dict[str, str]:
    """A mapping, or a list of pairs, as names and texts; anything else is empty."""
    if isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        value = {str(name): text for name, text in value}
    return {str(k): str(v) for k, v in _mapping(value).items()}


def _command(commands: str, run: Mapping[str, Any]) -> str:
    """The commands without what changes by right: comments, `cd`, stamps, commit hashes."""
    recorded = run.get("commands") or run.get("command") or []
    lines = commands.splitlines() or ([recorded] if isinstance(recorded, str) else list(map(str, recorded)))
    kept = (line.strip() for line in lines)
    text = " ; ".join(line for line in kept if line and not line.startswith(("#", "cd ", "export ", "STAMP")))
    for pattern, word in _CHANGES_BY_RIGHT:
        text = pattern.sub(word, text)
    return text


def _dtypes(metrics: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    named = run.get("dtype") or metrics.get("dtype") or _mapping(metrics.get("conditions")).get("dtype")
    if isinstance(named, str):
        return named
    ledgers = _items(metrics.get("ledgers"))
    found = {f"{ledger.get('workload')}:{d}" for ledger in ledgers if (d := ledger.get("output_dtype"))}
    return " ".join(sorted(found))


def _commit_of(document: Mapping[str, Any]) -> str:
    commit = document.get("commit") or document.get("git_commit") or document.get("git_sha") or ""
    commit = commit.get("hash", "") if isinstance(commit, Mapping) else commit
    return commit if isinstance(commit, str) and re.fullmatch(r"[0-9a-f]{7,40}", commit) else ""


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


def _verdict_of(metrics: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    for found in (metrics.get("verdict"), run.get("verdict"), run.get("status"), metrics.get("status")):
        if isinstance(found, Mapping):
            found = found.get("word") or found.get("outcome")
        if isinstance(found, str) and found:
            return found
    return ""


def folder_figures(metrics: Mapping[str, Any]) -> Iterator[EvidenceFigure]:
    """The figures of a metrics.json: of an export (`series`), of a capture (`figures`), or any number.

    Series and named figures come first; of documents that are not nbbench's every number, named by its path.
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
    for key in ("series", "figures", "metrics", "checks"):
        for item in _items(metrics.get(key)):
            if figure := _named(item):
                yield replace(figure, name=f"check: {figure.name}") if key == "checks" else figure
    for test in _items(metrics.get("tests")):
        yield from _picked(test, {"duration_s": ("duration", "seconds")}, str(test.get("test", "")))
    diagnosis = _mapping(metrics.get("diagnosis"))
    yield from _picked(diagnosis, {"copy_bytes_per_s": ("copy ceiling", "B/s")}, "diagnosis")
    for trial in _items(diagnosis.get("trials")):
        what = f"{trial.get('size')}² {trial.get('dtype')}"
        yield from _picked(trial, {"penalty": (f"malloc penalty {what}", "ratio")}, "diagnosis")
        for setting in ("default", "pinned"):
            wanted = {
                "wall_s": (f"time {what}, {setting} malloc", "seconds"),
                "minor_faults": (f"minor faults {what}, {setting} malloc", "faults"),
            }
            yield from _picked(_mapping(trial.get(setting)), wanted, "diagnosis")
    for ledger in _items(metrics.get("ledgers")):
        if not ledger.get("error"):
            yield from _picked(ledger, _LEDGER, str(ledger.get("workload", "")))
    yield from _picked(_mapping(metrics.get("usage")), _USAGE, "the whole run")
    for name, value in _mapping(metrics.get("ceiling_bytes_per_s")).items():
        yield from _picked({"rate": value}, {"rate": (f"{name} ceiling", "B/s")}, "")
    if not str(metrics.get("schema", "")).startswith("nbbench.metrics"):
        yield from _flattened("", metrics)


def _items(value: Any) -> Iterator[Mapping[str, Any]]:
    return (item for item in (value if isinstance(value, list) else ()) if isinstance(item, Mapping))


def _picked(
    item: Mapping[str, Any], wanted: Mapping[str, tuple[str, str]], workload: str
) -> Iterator[EvidenceFigure]:
    for key, (name, unit) in wanted.items():
        if (number := _number(item.get(key))) is not None:
            yield EvidenceFigure(name, number, unit, workload)


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


def _flattened(prefix: str, value: Any, depth: int = 0) -> Iterator[EvidenceFigure]:
    if (number := _number(value)) is not None and prefix:
        yield EvidenceFigure(prefix, number)
    elif depth < 8 and isinstance(value, Mapping | list):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            if depth or key not in _HEAD_KEYS:
                yield from _flattened(f"{prefix}.{key}" if prefix else str(key), item, depth + 1)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
