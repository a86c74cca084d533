"""A commit of thirty hunks, two of which cost something, through `explain --hunks` from nothing on record.

    python tests/bench/thirty_hunks.py [ROUNDS]

Prints the seconds of each, the load, and which hunks were named.
"""

from __future__ import annotations

import ast
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "e2e"), str(Path(__file__).parents[2])]

from e2e_project import make_project  # noqa: E402
from planted_history import plant  # noqa: E402

HARMLESS = 28
SQUARE = "return amplitude * amplitude"
ZEROS = "        image = torch.zeros_like(self._pixels[0])\n"


def write_hunks(source: Path) -> None:
    """A harmless statement at the beginning of functions, and two operations more in the simulator."""
    left = HARMLESS
    for file in sorted(source.rglob("[!_]*.py")):
        lines = file.read_text().split("\n")
        functions = (one for one in ast.walk(ast.parse("\n".join(lines))) if isinstance(one, ast.FunctionDef))
        starts = {(one.body[-1].lineno, one.body[-1].col_offset) for one in functions}
        for line, column in sorted(starts, reverse=True)[:left]:
            lines.insert(line - 1, " " * column + "_seen = True")
            left -= 1
        file.write_text("\n".join(lines))
    simulator = source / "simulator.py"
    text = simulator.read_text()
    assert text.count(SQUARE) == text.count(ZEROS) == 1
    text = text.replace(ZEROS, ZEROS + "        image = image + 0.0\n")
    simulator.write_text(text.replace(SQUARE, "return (amplitude * 1.0) * amplitude"))


def main(rounds: int) -> None:
    """Explain the commit so often, each time from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        history = plant(Path(folder) / "subject")
        base = history.git("rev-parse", "HEAD")
        write_hunks(history.folder / "src" / "nanobrag_torch")
        head = history.commit("thirty hunks")
        project = make_project(Path(folder), register=False)
        project.run("nbbench", "subject", "use", str(history.folder))
        for _ in range(rounds):
            for kept in ("results", ".nbbench/hunks", ".nbbench/env"):
                shutil.rmtree(project.root / kept, ignore_errors=True)
            begun = time.perf_counter()
            document = project.told("explain", base, head, "--hunks")
            seconds = time.perf_counter() - begun
            causes = document["hunks"]["causes"]
            found = {one["metric"]: [each["place"] for each in one["hunks"]] for one in causes}
            print(f"{seconds:.1f} s, load {os.getloadavg()[0]:.1f}: {found}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
