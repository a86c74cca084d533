"""Recording a scale: a small subject whose work is known by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest

SUBJECT = """import torch

_memo = []

def image(n):
    if not _memo:
        _memo.append([i for i in range(1000)])
    out = torch.zeros(n, n)
    for row in range(n):
        out[row].add_(1.0)
    return out
"""
SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import torch
import work
from nbbench.growth import Quantity
from nbbench.probe.workload import record_scale
from nbbench.workloads import Scale

def build(n):
    if n == {broken}:
        raise ValueError("no secret")
    return lambda: work.image(n), torch.float32

scale = Scale.of("image", "size", (8, 16, 24, 32, 40))
clean = lambda text: text.replace("secret", "***")
found = record_scale(scale, build, source_root={folder!r}, clean=clean)
print(found.error)
for quantity, law in found.laws.items():
    print(quantity, [str(c) for c in law.coefficients])
for quantity in (Quantity.OPERATIONS, Quantity.WARM):
    print(quantity, [(line.path, line.line, order) for line, order in found.line_orders(quantity)])
"""


@pytest.fixture
def told(tmp_path):
    def run(broken: int = 0) -> list[str]:
        (tmp_path / "work.py").write_text(SUBJECT)
        script = tmp_path / "script.py"
        script.write_text(SCRIPT.format(folder=str(tmp_path), broken=broken))
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    return run


def test_every_law_is_that_of_the_program(told):
    """A frame of float32 is written, each row of it read and written once more; lines are counted."""
    error, *laws = told()
    assert error == ""
    assert "bytes ['0', '0', '12']" in laws
    assert "operations ['1', '1']" in laws
    assert "peak live bytes ['0', '0', '4']" in laws
    assert "upcast bytes ['0']" in laws
    assert "host steps, first run ['0']" in laws  # what is made once a process was made before
    assert "operations [('work.py', 10, 1)]" in laws
    assert "host steps, warm run [('work.py', 10, 1), ('work.py', 9, 1)]" in laws


def test_what_fails_is_an_error_without_secrets(told):
    assert told(broken=24)[0] == "ValueError: no ***"
