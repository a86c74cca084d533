"""The ledger of the whole suite against torch.profiler's records of the same runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch")

from nbbench.subject.subjects.nanobragg import demo

pytestmark = pytest.mark.e2e

_PROCESS = """
import json, sys
sys.path[:0] = {paths!r}
from benchmarks import subject
from nbbench.measure import recording
from profiler_witness import witness

out, found = sys.stdout, {{}}
subject.prepare()
for name, build in recording.suite_cases().items():
    if any(size in name for size in ("2048", "1024", "100000")):
        continue  # the same operations on more pixels or points
    case = build()
    case.run()
    ledger = recording.ledger_of(case)
    operations, moved = witness(case.run)
    lines = [[line.op, line.count] for line in ledger.lines]
    found[name] = [lines, ledger.bytes, sorted(operations.items()), moved]
print(json.dumps(found), file=out)
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subject")
    demo.write_demo(folder)
    here = Path(__file__).resolve()
    paths = [str(folder / "src"), str(here.parents[1] / "samples"), str(here.parents[2])]
    environment = os.environ | {"NBBENCH_TREE": paths[0], "TORCHDYNAMO_DISABLE": "1"}
    command = [sys.executable, "-c", _PROCESS.format(paths=paths)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_operation_is_witnessed_by_name(suite):
    assert len(suite) > 15
    for name, (lines, _, operations, _) in suite.items():
        counted = Counter()
        for op, count in lines:
            counted[op] += count
        assert counted == dict(operations), name


def test_bytes_agree(suite):
    for name, (lines, counted, _, witnessed) in suite.items():
        numbers = 2 * 8 * sum(count for _, count in lines)  # Python numbers, at most two an operation
        assert counted <= witnessed <= counted + numbers, name
        if counted > 100_000:
            assert witnessed == pytest.approx(counted, rel=0.005), name
