"""Reading an evidence folder back, whoever made it: a capture, an export, a person."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbbench.evidence import FolderContent
from nbbench.record.evidence_figures import figures_of
from nbbench.subject.profile import shipped_variables

_LOOKED_FOR = (
    "metrics.json",
    "run_metadata.json",
    "env.txt",
    "torch_env.txt",
    "commands.txt",
    "exit_code.txt",
)
_MAX_BYTES = 8 * 1024 * 1024  # a file of evidence is at most 5 MiB
# What makes two runs of one command incomparable: everything that changes how torch computes.
_FLAGS = re.compile(
    r"CUDA_VISIBLE_DEVICES|PYTEST_ADDOPTS|GLIBC_TUNABLES|LD_PRELOAD|NBBENCH_(THREADS|WARM|MAX_FRAME_MB)"
    r"|(KMP|OMP|GOMP|MKL|OPENBLAS|MALLOC|ONEDNN|DNNL|TORCH|TORCHDYNAMO|TORCHINDUCTOR|PYTORCH|ATEN)_\w+"
    rf"|({'|'.join(shipped_variables())})\w+"
)
_THREAD_FLAGS = ("OMP_NUM_THREADS", "NBBENCH_THREADS")
_MACHINE_FACTS = ("cpu", "physical cores", "processors usable", "memory", "cpu quota")
_STAMP = re.compile(r"\d{8}T\d{6}Z(-\d+)?")
_COMMIT = re.compile(r"\b[0-9a-f]{7,40}\b")
_TORCH_ENV = {
    "torch": r"^PyTorch version: (\S+)",
    "python": r"^Python version: (\S+)",
    "cpu": r"^Model name:\s*(.+)",
}


def read_folder(path: Path) -> FolderContent:
    """What the files of `path` say; missing and unreadable ones are named, never an error."""
    reader = _Reader(path)
    metrics, run = reader.json("metrics.json"), reader.json("run_metadata.json")
    environment = reader.environment()
    torch_env = reader.text("torch_env.txt")
    commands = reader.text("commands.txt")
    conditions = _conditions(run, environment, torch_env, commands, metrics)
    facts = {name: str(run[name]) for name in ("started_at", "branch", "tree", "nbbench") if run.get(name)}
    facts |= _table(run.get("versions"))
    return FolderContent(
        path=str(path),
        stamp=str(metrics.get("stamp") or run.get("stamp") or path.name),
        cluster=str(metrics.get("cluster") or run.get("cluster") or _cluster_of(path)),
        commit=_commit_of(metrics) or _commit_of(run),
        kind=_kind_of(metrics, run),
        verdict=_verdict_of(metrics, run),
        exit_code=reader.exit_code(metrics, run),
        machine=conditions.get("machine name") or conditions.get("machine", ""),
        figures=tuple(figures_of(metrics)),
        conditions=tuple(conditions.items()),
        facts=tuple(facts.items()),
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
        path = self.folder / name
        try:
            with path.open("rb") as stream:
                return stream.read(_MAX_BYTES).decode("utf-8", errors="replace")
        except FileNotFoundError:
            self.missing.append(name)
        except OSError as error:
            self.problems.append(f"{name} cannot be read: {error.strerror}")
        return ""

    def json(self, name: str) -> Mapping[str, Any]:
        """A file's object. Warnings printed in front of it are skipped, and said."""
        text = self.text(name)
        if not text:
            return {}
        try:
            found = json.loads(text)
        except ValueError:
            found = self._behind_chatter(name, text)
        if not isinstance(found, dict):
            self.problems.append(f"{name} holds no JSON object")
            return {}
        return found

    def _behind_chatter(self, name: str, text: str) -> Any:
        start = re.search(r"^\{", text, re.MULTILINE)
        try:
            found = json.loads(text[start.start() :]) if start else None
        except ValueError:
            return None
        if found is not None:
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
    run: Mapping[str, Any],
    environment: Mapping[str, str],
    torch_env: str,
    commands: str,
    metrics: Mapping[str, Any],
) -> dict[str, str]:
    """What must be equal for a comparison; what is not recorded is left out."""
    told = {
        name: found[1].strip()
        for name, pattern in _TORCH_ENV.items()
        if (found := re.search(pattern, torch_env, re.MULTILINE))
    }
    machine = run.get("machine")
    facts = {"cpu": machine} if isinstance(machine, str) else _table(machine)
    versions = _table(run.get("versions"))
    environment = {**environment, **_table(run.get("guards"))}
    shown = [
        str(facts[name]) + (f" {name}" if name != "cpu" else "") for name in _MACHINE_FACTS if facts.get(name)
    ]
    flags = {n: v for n, v in environment.items() if _FLAGS.fullmatch(n) and n not in _THREAD_FLAGS}
    session = metrics.get("session")
    session = session if isinstance(session, Mapping) else {}
    threads = run.get("threads") or session.get("torch_threads")
    named = [f"{name}={environment[name]}" for name in _THREAD_FLAGS if name in environment]
    recorded = {
        "machine": ", ".join(shown) or told.get("cpu", ""),
        "machine name": str(run.get("machine_name") or ""),
        "threads": str(threads) if threads else ", ".join(named) or ("default" if environment else ""),
        "torch": str(versions.get("torch") or session.get("torch") or told.get("torch", "")),
        "python": str(
            versions.get("python") or session.get("python") or facts.get("python") or told.get("python", "")
        ),
        "flags": " ".join(f"{n}={v}" for n, v in sorted(flags.items())) or ("none" if environment else ""),
        "command": _command(commands, run),
        "dtype": _dtypes(metrics, run),
    }
    return {name: value for name, value in recorded.items() if value}


def _table(value: Any) -> dict[str, str]:
    """A mapping, or a list of pairs, as names and texts; anything else is empty."""
    if isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        value = dict(map(tuple, value))
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, Mapping) else {}


def _command(commands: str, run: Mapping[str, Any]) -> str:
    """The commands without what changes by right: comments, `cd`, stamps, commit hashes."""
    recorded = run.get("commands") or run.get("command") or []
    lines = commands.splitlines() or ([recorded] if isinstance(recorded, str) else list(map(str, recorded)))
    kept = (line.strip() for line in lines)
    text = " ; ".join(line for line in kept if line and not line.startswith(("#", "cd ", "export ", "STAMP")))
    return _COMMIT.sub("COMMIT", _STAMP.sub("STAMP", text))


def _dtypes(metrics: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    if isinstance(told := run.get("dtype") or metrics.get("dtype"), str):
        return told
    ledgers = metrics.get("ledgers")
    found = {
        f"{ledger.get('workload')}:{ledger['output_dtype']}"
        for ledger in (ledgers if isinstance(ledgers, list) else ())
        if isinstance(ledger, Mapping) and ledger.get("output_dtype")
    }
    return " ".join(sorted(found))


def _commit_of(document: Mapping[str, Any]) -> str:
    commit = document.get("commit") or document.get("git_commit") or document.get("git_sha") or ""
    commit = commit.get("hash", "") if isinstance(commit, Mapping) else commit
    return commit if isinstance(commit, str) and re.fullmatch(r"[0-9a-f]{7,40}", commit) else ""


def _kind_of(metrics: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    schema = f"{metrics.get('schema', '')} {run.get('schema', '')}"
    if "nbbench." not in schema:
        return "hand"
    if isinstance(metrics.get("series"), list):
        return "export"
    session = metrics.get("session")
    compiled = isinstance(session, Mapping) and session.get("compiled_graphs")
    pinned = metrics.get("malloc_pinned_by")
    special = (
        ("disturbed", metrics.get("disturbed")),
        ("profiled", metrics.get("operators")),
        ("compiled", compiled),
        ("malloc-pinned", pinned),
    )
    return " ".join([*(word for word, is_so in special if is_so), "capture"])


def _verdict_of(metrics: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    for found in (metrics.get("verdict"), run.get("verdict"), run.get("status"), metrics.get("status")):
        if isinstance(found, Mapping):
            found = found.get("word") or found.get("outcome")
        if isinstance(found, str) and found:
            return found
    return ""


def _cluster_of(path: Path) -> str:
    return path.parent.name.removeprefix("cluster_") if path.parent.name.startswith("cluster_") else ""
