"""The prepared check of a GPU: what `--device cuda` measures of one commit, in minutes and without a network.

    python -m tests.bench.device_check --subject REPOSITORY --out FOLDER [--device cpu] [--machine h100]

Each part is a command of nbbench with a time limit, in a project of its own. What a part brings is written
before the next one begins: report.json, report.md and log.txt tell the figures, and results.tar.gz holds
asv's files, telemetry and ledgers, to be committed under results/. docs/cuda.md says what is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BRANCH = "feature/spec-based-2"
MAPPED = "tests/test_at_perf_008.py"
LEDGERS = "bandwidth-(512|1024)|tricubic-1000-|multi_source|oversample|phi_steps|mosaic|absorption|sources"
# The most telling first: where time runs out, the rest is not measured.
SUITES = {
    "cuda": (r"cuda\.",),
    "bandwidth": (r"bandwidth\.(Warm|Traffic|DtypeRatio|Ceiling|Baseline|PeakMemory)",),
    "c_ratio": (r"c_ratio\.",),
    "vectorisation": (r"vectorisation\.",),
    "acceptance": (r"acceptance\.(Kernels|Oversampled|Loop|Thickness)",),
    "cold_start": (r"cold_start\.ColdStart\.timeraw_",),
}
# The host has more cores than most: criteria that ask for four or eight threads.
CORES = (r"acceptance\.Threads", r"c_ratio\.Parallel")
PLAN = "PERF-PYTORCH-004"
WARM = r"bandwidth\.Warm\.time_run"
GAIN = r"compiled\.Gain"
PAIRED = r"bandwidth\.Warm\.time_run\((512|1024), 'float32'"
FORK = """
import os, sys, time
import torch, torch._dynamo, nanobrag_torch.simulator
began = time.perf_counter()
pid = os.fork()
if pid == 0:
    torch.zeros(1, device=sys.argv[1]).item()
    print(f"first tensor in a fork after {time.perf_counter() - began:.2f} s", flush=True)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@dataclasses.dataclass
class Check:
    """One run of the check: where it works, what it may take, what it found."""

    device: str
    machine: str
    subject: Path
    out: Path
    project: Path
    threads: int
    end: float
    base: str = ""
    reference: str = ""
    found: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def results(self) -> Path:
        """Where the project's results lie."""
        return self.project / "results"

    def environment(self, device: str) -> dict[str, str]:
        """What every command runs in."""
        return {
            **os.environ,
            "NBBENCH_DEVICE": device,
            "NBBENCH_MACHINE": self.machine,
            "NBBENCH_THREADS": str(self.threads),
            "NBBENCH_BRANCH": BRANCH,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        }

    def nbbench(self, *arguments: str, device: str = "", limit_s: float = 240.0) -> str:
        """What a command of nbbench printed; its end is in the log. Raises RuntimeError where it fails."""
        command = [sys.executable, "-m", "nbbench", *arguments, "--root", str(self.project)]
        return self.run(command, device=device, limit_s=limit_s, good=(0, 3, 4))

    def run(
        self,
        command: list[str],
        *,
        device: str = "",
        limit_s: float = 240.0,
        good: tuple[int, ...] = (0,),
        more: dict[str, str] | None = None,
    ) -> str:
        """What a command printed on stdout. Raises RuntimeError where it fails or takes too long."""
        limit = min(limit_s, self.end - time.monotonic())
        if limit < 5:
            raise RuntimeError("no time is left")
        environment = {**self.environment(device or self.device), **(more or {})}
        began = time.monotonic()
        process = subprocess.Popen(
            command, env=environment, cwd=self.project, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            out, said = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.terminate()  # nbbench passes it on
            out, said = process.communicate(timeout=15)
            said += f"\nended after {limit:.0f} s"
        shown = " ".join(" ".join(command[1:]).split())[:300]
        with (self.out / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"\n$ {shown}\n[{process.returncode}, {time.monotonic() - began:.1f} s]\n")
            log.write(f"{said[-6000:]}\n{out[-6000:]}\n")
        if process.returncode not in good:
            last = [line.strip() for line in (said or out).splitlines() if line.strip()][-2:]
            raise RuntimeError(f"{shown[:80]} ended with {process.returncode}: {'; '.join(last)[:300]}")
        return out

    def part(self, name: str, function: Callable[[], Any]) -> None:
        """Run one part; what it found, or why it found nothing, is written at once."""
        began = time.monotonic()
        print(f"[{self.end - began:.0f} s left] {name}", flush=True)
        try:
            answer = function()
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
            with (self.out / "log.txt").open("a", encoding="utf-8") as log:
                traceback.print_exc(file=log)
            print(f"  {answer['error']}", flush=True)
        self.found[name] = {"seconds": round(time.monotonic() - began, 1), "found": answer}
        self.write()

    def write(self) -> None:
        """Everything so far, in four files."""
        text = json.dumps(self.found, indent=1, default=str)
        (self.out / "report.json").write_text(text, encoding="utf-8")
        (self.out / "report.md").write_text(as_markdown(self.found), encoding="utf-8")
        fresh = self.out / "results.new"
        with tarfile.open(fresh, "w:gz") as archive:
            if self.results.is_dir():
                archive.add(self.results, "results", filter=_wanted)
        fresh.replace(self.out / "results.tar.gz")


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if ".sqlite" in member.name else member


def facts(check: Check) -> dict[str, Any]:
    """The machine, its GPU, and the versions of what measures."""
    from nbbench.probe.device import read_gpu

    code = (
        "import torch, json; p = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None; "
        "print(json.dumps({'torch': torch.__version__, 'cuda': torch.version.cuda, 'properties': str(p)}))"
    )
    git = shutil.which("git")
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "gpu": read_gpu(),
        "git": check.run(["git", "--version"]).strip() if git else "none",
        "compiler": check.run(["gcc", "--version"]).splitlines()[0] if shutil.which("gcc") else "none",
        "headers": (Path(sysconfig.get_path("include")) / "Python.h").is_file(),
        **json.loads(check.run([sys.executable, "-c", code])),
    }


def subject(check: Check) -> dict[str, Any]:
    """Register the subject, and try whether a fork can use the device."""
    check.nbbench("subject", "use", str(check.subject), limit_s=60)
    head = check.run(["git", "-C", str(check.subject), "rev-parse", BRANCH]).strip()
    folder = check.project / ".nbbench" / "fork"
    folder.mkdir(parents=True)
    archive, tree = folder / "src.tar", f"{head}:src/nanobrag_torch"
    check.run(
        ["git", "-C", str(check.subject), "archive", "--prefix=src/nanobrag_torch/", "-o", str(archive), tree]
    )
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    pins = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", "NANOBRAGG_DISABLE_COMPILE": "1"}
    paths = os.pathsep.join([str(folder / "src"), check.environment("cpu")["PYTHONPATH"]])
    forked = check.run([sys.executable, "-c", FORK, check.device], more={**pins, "PYTHONPATH": paths})
    return {"commit": head, "fork": forked.strip()}


def ledgers(check: Check) -> dict[str, Any]:
    """The exact work of the same workloads on both devices, side by side."""
    for device in dict.fromkeys(("cpu", check.device)):
        check.nbbench("ledger", BRANCH, "--bench", LEDGERS, "--top", "3", device=device, limit_s=120)
    from nbbench.record.side_files import read_ledgers

    files = {path.name: read_ledgers(path) for path in (check.results / "ledger").glob("*.json.gz")}
    sides = {("cuda" if "+cuda" in name else "cpu"): found.ledgers for name, found in files.items()}
    theirs, ours = sides["cpu"], sides.get(check.device, {})
    rows = {name: _compared(theirs[name], ours[name]) for name in sorted(theirs.keys() & ours.keys())}
    return {"files": sorted(files), "workloads": rows}


def _compared(cpu: Any, other: Any) -> dict[str, Any]:
    if cpu.error or other.error:
        return {"cpu": cpu.error, "other": other.error}
    names = ("ops", "dispatched", "bytes", "fused_bytes", "upcast_bytes", "peak_live_bytes")
    counts = {name: [getattr(cpu, name), getattr(other, name)] for name in names}
    lines = [{(x.path, x.line, x.op, x.dtype): (x.count, x.bytes) for x in one.lines} for one in (cpu, other)]
    differing = sorted(
        str(key) for key in lines[0].keys() | lines[1].keys() if lines[0].get(key) != lines[1].get(key)
    )
    return {
        "equal": all(a == b for a, b in counts.values()) and not differing,
        "same_image": cpu.image_digest == other.image_digest,
        **counts,
        "lines_that_differ": differing[:8],
    }


def suite(check: Check, patterns: tuple[str, ...], *options: str, host: bool = False) -> dict[str, Any]:
    """Measure with asv, on the device or on the host's processor; returns the figures that are new."""
    bench = [part for pattern in patterns for part in ("--bench", pattern)]
    device, machine = ("cpu", f"{check.machine}-host") if host else (check.device, check.machine)
    command = ("run", "--commits", BRANCH, "--device", device, "--machine", machine)
    before = figures(check.results / machine)
    said = json.loads(check.nbbench("--json", *command, *bench, *options))
    after = figures(check.results / machine)
    new = {name: row for name, row in after.items() if row != before.get(name)}
    return {"failures": said.get("data", said).get("failures", []), "figures": new}


def figures(folder: Path) -> dict[str, dict[str, Any]]:
    """Value and samples of every series in asv's result files."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*-*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for name, row in content["results"].items():
            columns = dict(zip(content["result_columns"], row, strict=False))
            params = list(itertools.product(*(columns.get("params") or [])))
            values, samples = columns["result"] or [], columns.get("samples") or []
            for place, given in enumerate(params):
                if place < len(values):
                    mine = samples[place] if place < len(samples) else None
                    label = f"{name}({', '.join(given)})" if given else name
                    found[label] = {"value": values[place], "samples": mine}
    return found


def repeat(check: Check) -> dict[str, Any]:
    """Equal code collected twice: how far the later medians lie from the earlier ones."""
    suite(check, (WARM,))
    first = figures(check.results / check.machine)
    suite(check, (WARM,), "--again")
    found = {}
    for name, row in figures(check.results / check.machine).items():
        before = (first.get(name) or {}).get("samples") or []
        later = (row["samples"] or [])[len(before) :]
        if before and later:
            found[name] = {
                "first_s": median(before),
                "again_s": median(later),
                "ratio": median(later) / median(before),
                "spread": [(max(x) - min(x)) / median(x) for x in (before, later)],
            }
    return found


def reference(check: Check) -> dict[str, Any]:
    """The C program, compiled here from the subject's own source; else the one that NB_C_BIN names."""
    try:
        return {"built": check.nbbench("subject", "c-reference", "build", limit_s=60).strip()}
    except RuntimeError as error:
        if not check.reference:
            raise
        os.environ["NB_C_BIN"] = check.reference
        return {"given": check.reference, "why": str(error)}


def plan(check: Check, *, host: bool = False) -> dict[str, Any]:
    """Every criterion that the device, or the host's processor, can measure."""
    device, machine = ("cpu", f"{check.machine}-host") if host else (check.device, check.machine)
    command = ("--json", "plan", PLAN, "--measure", "--device", device, "--machine", machine)
    said = json.loads(check.nbbench(*command, device=device))
    data = said.get("data", said)
    rows = {
        each["criterion"]["id"]: {"verdict": each["verdict"], "value": (each["found"] or {}).get("value")}
        for each in data["criteria"]
        if each["found"] and each["found"]["machine"] == machine
    }
    return {"left_out": data["measured"]["left_out"], "failures": data["measured"]["failures"], **rows}


def spread(check: Check, times: int = 3) -> dict[str, Any]:
    """The ratios to the C program, each from so many processes more: how far single figures differ."""
    found: dict[str, list[float]] = {}
    for _ in range(times):
        new = suite(check, (r"c_ratio\.CRatio", r"c_ratio\.Parallel.*, 8\)"), "--again")["figures"]
        for name, row in new.items():
            found.setdefault(name, []).append(row["value"])
    return found


def compiled(check: Check) -> dict[str, Any]:
    """Eager against torch.compile on the device: time, image, what is compiled, and where tracing stops."""
    os.environ["NBBENCH_COMPILED"] = "."
    found = suite(check, (GAIN,))
    command = ("ledger", BRANCH, "--compiled", "--bench", "^bandwidth-1024-float32$")
    found["said"] = check.nbbench(*command, limit_s=120).splitlines()[:60]
    return found


def pairs(check: Check) -> dict[str, Any]:
    """The gate by interleaved pairs on the device: equal code, and an older commit against the newest."""
    usual = ("--bench", PAIRED)
    noise = check.nbbench("gate", BRANCH, "--calibrate", *usual, "--budget", "40s", limit_s=80)
    found = {"equal code": noise.splitlines()[:20]}
    if check.base:
        command = ("gate", check.base, BRANCH, *usual, "--policy", "time", "--budget", "60s", "--seed", "1")
        found[check.base] = check.nbbench(*command, limit_s=110).splitlines()[:60]
    return found


def mapped_test(check: Check) -> dict[str, Any]:
    """The subject's own test of AT-PERF-008, eager, at the same commit."""
    folder = check.project / ".nbbench" / "fork" / "tests"
    folder.mkdir()
    text = check.run(["git", "-C", str(check.subject), "show", f"{BRANCH}:{MAPPED}"])
    (folder / Path(MAPPED).name).write_text(text, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rA",
        "--noconftest",
        "-p",
        "no:cacheprovider",
        str(folder),
    ]
    pins = {"NANOBRAGG_DISABLE_COMPILE": "1", "TORCHDYNAMO_DISABLE": "1", "KMP_DUPLICATE_LIB_OK": "TRUE"}
    said = check.run(command, more=pins, good=(0, 1), limit_s=90)
    return {
        "lines": [line for line in said.splitlines() if line.startswith(("PASSED", "FAILED", "SKIPPED"))][:20]
    }


def dtypes(check: Check) -> dict[str, Any]:
    """The dtype audit on the device."""
    said = check.nbbench("dtypes", BRANCH, limit_s=60)
    return {"said": said.splitlines()[:40]}


def as_markdown(found: dict[str, Any]) -> str:
    """The figures as a page."""
    lines = ["# Check of a device", ""]
    for name, part in found.items():
        answer = part["found"]
        lines += [f"## {name} ({part['seconds']} s)", ""]
        if "figures" in answer:
            lines += ["| series | value |", "|---|---:|"]
            known = (
                (x, row["value"]) for x, row in answer["figures"].items() if row["value"] == row["value"]
            )
            lines += [
                f"| {label} | {_shown(value)} |" for label, value in known
            ]  # without what skipped itself
            lines += ["", *(f"- failed: {one}" for one in answer["failures"])]
        elif "workloads" in answer:
            lines += [
                "| workload | equal | operations | bytes | lines that differ |",
                "|---|---|---|---|---|",
            ]
            for label, row in answer["workloads"].items():
                cells = (
                    row.get("equal"),
                    row.get("ops"),
                    row.get("bytes"),
                    row.get("lines_that_differ", row),
                )
                lines += [f"| {label} | {' | '.join(map(str, cells))} |"]
        else:
            lines += [f"- {label}: {value}" for label, value in answer.items()]
        lines += [""]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float | int) else str(value)


def make_project(folder: Path) -> Path:
    """A project with this suite and no results."""
    folder.mkdir(parents=True)
    for name in ("asv.conf.json", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def main() -> int:
    """Run every part; 0 where all of them found something."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subject", type=Path, required=True, help="a repository with the measured branch")
    parser.add_argument("--out", type=Path, required=True, help="a folder for four files")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--machine", default="h100", help="name of the machine in the results")
    parser.add_argument("--budget", type=float, default=400.0, help="seconds")
    parser.add_argument("--threads", type=int, default=8, help="threads of the host, and of the C program")
    parser.add_argument("--base", default="", help="an older commit, which the newest is held against")
    parser.add_argument("--parts", default="", help="only these (and `subject`), with commas between")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HOME"] = scratch  # asv keeps its list of machines there
        repository = Path(scratch) / "subject.git"  # git reads none that belongs to somebody else
        shutil.copytree(given.subject, repository, symlinks=True)
        check = Check(
            given.device, given.machine, repository, given.out.resolve(),
            make_project(Path(scratch) / "project"), given.threads, time.monotonic() + given.budget,
            given.base, os.environ.pop("NB_C_BIN", ""),
        )  # fmt: skip
        named = {name: lambda name=name: suite(check, SUITES[name]) for name in SUITES}
        parts: dict[str, Callable[[], Any]] = {
            "facts": lambda: facts(check),
            "subject": lambda: subject(check),
            "reference": lambda: reference(check),
            "plan": lambda: plan(check),
            "plan host": lambda: plan(check, host=True),
            "host cores": lambda: suite(check, CORES, host=True),
            "repeat": lambda: repeat(check),
            "spread": lambda: spread(check),
            "suite cold_start": named.pop("cold_start"),
            "compiled": lambda: compiled(check),
            "dtypes": lambda: dtypes(check),
            "pairs": lambda: pairs(check),
            "ledgers": lambda: ledgers(check),
            "mapped test": lambda: mapped_test(check),
            **{f"suite {name}": function for name, function in named.items()},
        }
        wanted = {"subject", "reference", *given.parts.split(",")}  # little works without these
        asked = [name for name in parts if not given.parts or name in wanted]
        for name in asked:
            check.part(name, parts[name])
    failed = [name for name in asked if "error" in check.found[name]["found"]]
    print((given.out / "report.md").read_text(encoding="utf-8")[-9000:])
    print(
        f"{len(asked) - len(failed)} parts of {len(asked)}; without an answer: {', '.join(failed) or 'none'}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
