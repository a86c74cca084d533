"""A project folder with hand-made asv results: the command line without measuring anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from click.testing import Result

from tests.docs.schema_check import checked

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Project:
    """A project root and a way to run nbbench in it."""

    root: Path

    def run(self, *arguments: str) -> Result:
        from nbbench.cli import app

        class Runner:
            exit_code = 0
            stdout = ""
            stderr = ""

        import contextlib
        import io

        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = app.run([*arguments, "--root", str(self.root)])
        result = Runner()
        result.exit_code, result.stdout, result.stderr = code, out.getvalue(), err.getvalue()
        if "--json" in arguments and code < 128:
            checked(result.stdout)
        return result


def write_results(root: Path, values: dict[str, list[float | None]], unit: str = "seconds") -> None:
    """asv results of one machine: each benchmark's value at commits 1, 2, 3 …"""
    machine = root / "results" / "m"
    machine.mkdir(parents=True, exist_ok=True)
    (machine / "machine.json").write_text(json.dumps({"machine": "m", "cpu": "test", "version": 1}))
    declared = {
        name: {"name": name, "version": "1", "unit": unit, "type": "time", "params": [], "param_names": []}
        for name in values
    }
    (root / "results" / "benchmarks.json").write_text(json.dumps({**declared, "version": 2}))
    for number in range(max(map(len, values.values()))):
        results = {name: [[row[number]], [], "1"] for name, row in values.items()}
        content = {
            "commit_hash": f"{number + 1:08x}" + "0" * 32,
            "env_name": "env",
            "date": 1_700_000_000_000 + number * 86_400_000,
            "params": {"machine": "m"},
            "python": "3.11",
            "requirements": {},
            "env_vars": {},
            "result_columns": ["result", "params", "version"],
            "results": results,
            "durations": {},
            "version": 2,
        }
        (machine / f"{number + 1:08x}-env.json").write_text(json.dumps(content))
