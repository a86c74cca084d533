"""What a perfect fusion would move, lines and the backward pass, against counts made by hand."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import subprocess
import sys
import threading

import pytest

torch = pytest.importorskip("torch")

from nbbench.probe.traffic import COMPILED_NOTE, TrafficLedger  # noqa: E402
from nbbench.probe.workload import record_ledger  # noqa: E402

N = 1000
F32 = 4 * N

SOURCE = """
import torch


def chain(x):
    doubled = x * 2.0
    return doubled + 1.0


def one(x):
    return x * 2.0


def repeat(function, x):
    for _ in range(3):
        x = function(x)
    return x


def recurse(x, depth):
    x = x + 1.0
    return recurse(x, depth - 1) if depth else x


def lazily(x):
    for _ in range(3):
        yield x + 1.0


def stacked(x):
    return torch.stack([v + 1.0 for v in (x, x)])


def fill(out, x):
    out.copy_(x)
    out.mul_(2.0)


def summed(x):
    return sum(v + 1.0 for v in (x, x))


def halves(x):
    return x[:500] + x[500:]


def again(x):
    return (x + 1.0) * x


def keep(x, cache):
    cache.append(x + 1.0)
    return x.sum()


def scratch(x):
    room = torch.empty(N := x.numel())
    torch.add(x, 1.0, out=room)
    return room.sum()


def corner(x):
    room = torch.empty(x.numel())
    room[:10] = x[:10]
    return room


def fail(x):
    x + 1.0
    raise ValueError


def train(x):
    loss = (x * 2.0).exp().sum()
    loss.backward()


def loss_of(x):
    y = x * 2.0
    y[:500].mul_(3.0)
    return y.sum()
"""


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "subject.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("subject_of_functions", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def recorded(module, tmp_path):
    def record(function, **options):
        with TrafficLedger(source_root=str(tmp_path), **options) as ledger:
            kept = function()  # alive until the recording ends
        del kept
        return ledger.traffic

    return record


@pytest.fixture
def x():
    return torch.arange(1.0, N + 1)


class TestFusedBytes:
    @pytest.mark.parametrize(
        ("name", "arguments", "moved", "fused"),
        [
            ("chain", (), 4 * F32, 2 * F32),
            ("recurse", (3,), 8 * F32, 2 * F32),
            ("again", (), 5 * F32, 2 * F32),  # a storage is read once however often it is asked
            ("halves", (), 3 * F32 // 2, 3 * F32 // 2),  # parts of a storage count by themselves
            ("scratch", (), 3 * F32 + 4, F32 + 4),
            ("corner", (), 80, 80),  # room that is left empty needs nothing
            ("stacked", (), 8 * F32, 3 * F32),
            ("summed", (), 9 * F32, 2 * F32),  # two results, 0 + the first, and that + the second
        ],
    )
    def test_inputs_once_and_what_is_left_once(self, module, recorded, x, name, arguments, moved, fused):
        traffic = recorded(lambda: getattr(module, name)(x, *arguments))
        assert (traffic.bytes, traffic.fused_bytes) == (moved, fused)

    @pytest.mark.parametrize(("name", "operations"), [("chain", 2), ("one", 1)])
    def test_what_calls_hand_on_needs_nothing(self, module, recorded, x, name, operations):
        traffic = recorded(lambda: module.repeat(getattr(module, name), x))
        assert (traffic.ops, traffic.bytes) == (3 * operations, 3 * operations * 2 * F32)
        assert traffic.fused_bytes == 2 * F32

    def test_a_destination_from_outside_is_written_once(self, module, recorded, x):
        out = torch.empty(N)
        traffic = recorded(lambda: module.fill(out, x))
        # What it has written itself it need not read again.
        assert (traffic.bytes, traffic.fused_bytes) == (4 * F32, 2 * F32)

    def test_what_is_left_behind_is_written(self, module, recorded, x):
        cache = []
        traffic = recorded(lambda: module.keep(x, cache))
        assert (traffic.bytes, traffic.fused_bytes) == (3 * F32 + 4, 2 * F32 + 4)

    def test_comprehensions_belong_to_their_function(self, module, recorded, x):
        assert {key[2] for key in recorded(lambda: module.stacked(x)).lines} == {"stacked"}

    def test_generators_and_errors(self, module, recorded, x):
        def program():
            for made in module.lazily(x):
                made.sum()
            try:
                module.fail(x)
            except ValueError:
                x.sum()

        found = recorded(program)
        assert found.fused_bytes == F32
        assert {"lazily", "fail"} <= {key[2] for key in found.lines}

    def test_the_whole_program(self, module, recorded, x):
        def program():
            return module.chain(module.one(x)) + x

        traffic = recorded(program)
        assert traffic.fused_bytes == 2 * F32
        assert traffic.bytes == (2 + 4 + 3) * F32

    def test_addresses_that_are_used_again(self, module, recorded):
        """Constants come and go at the same few addresses; each is a storage of its own."""

        def program():
            return [module.one(torch.tensor([float(i)])) for i in range(50)]

        assert recorded(program).fused_bytes == 50 * 8

    def test_nothing_is_kept_alive(self, module, tmp_path, x):
        with TrafficLedger(source_root=str(tmp_path)) as ledger:
            module.chain(x)
            assert ledger._storages.live_bytes == 0


class TestBackward:
    def test_forward_and_backward_apart(self, module, recorded, x):
        x.requires_grad_()
        traffic = recorded(lambda: module.train(x))
        # Forward: mul, exp, sum, and the ones_like that starts the gradient.
        assert traffic.ops - traffic.backward_ops == 4
        assert traffic.bytes - traffic.backward_bytes == 2 * F32 + 2 * F32 + (F32 + 4) + 8
        # Backward: of exp the product with its result (the gradient is expanded), of mul one with 2.
        assert traffic.backward_ops == 2
        assert traffic.backward_bytes == (4 + 2 * F32) + 2 * F32

    def test_booked_on_the_forward_line(self, module, recorded, x):
        x.requires_grad_()
        traffic = recorded(lambda: module.train(x))
        line = SOURCE.splitlines().index("    loss = (x * 2.0).exp().sum()") + 1
        assert {key[:3] for key, cost in traffic.lines.items() if key[3] == "mul"} == {
            ("subject.py", line, "train")
        }

    def test_the_rest_is_known_as_backward(self, module, recorded, x):
        x.requires_grad_()
        loss = module.loss_of(x)  # not recorded, so nobody knows its lines
        traffic = recorded(lambda: loss.backward())
        assert {key[:3] for key in traffic.lines if key[3] != "ones_like"} == {("", 0, "(backward)")}
        assert traffic.backward_ops == traffic.ops - 1

    def test_writes_into_views(self, module, recorded, x):
        x.requires_grad_()
        traffic = recorded(lambda: module.loss_of(x).backward())
        line = SOURCE.splitlines().index("    y[:500].mul_(3.0)") + 1
        copies = {key[1] for key in traffic.lines if key[3] in ("copy_", "clone")}
        assert copies == {line}

    def test_the_engine_runs_in_this_thread(self, module, recorded, x):
        x.requires_grad_()
        threads = []
        x.register_hook(lambda gradient: threads.append(threading.get_ident()))
        traffic = recorded(lambda: module.train(x))
        assert threads == [threading.get_ident()]
        assert traffic.notes == ()


class TestLedger:
    def test_fused_bytes_peak_and_notes(self, module, tmp_path, x):
        one = record_ledger(
            "w", lambda: module.chain(x), pixels=N, asked=torch.float32, source_root=str(tmp_path)
        )
        assert one.peak_line == ("subject.py", 7, "chain")
        assert (one.fused_bytes, one.backward_ops, one.backward_bytes, one.notes) == (2 * F32, 0, 0, ())
        assert gc.isenabled()

    def test_source_that_compiles_is_noted(self, tmp_path, monkeypatch, x):
        path = tmp_path / "compiling.py"
        path.write_text("import torch\n# torch.compile(f)\ndef f(x):\n    return x + 1\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        options = {"pixels": N, "asked": torch.float32, "source_root": str(tmp_path)}
        import compiling

        assert record_ledger("w", lambda: compiling.f(x), **options).notes == ()
        (tmp_path / "another.py").write_text("import torch\nf = torch.compile(len)\n")
        monkeypatch.setattr(torch, "compile", lambda function: function)
        import another  # noqa: F401

        assert record_ledger("w", lambda: compiling.f(x), **options).notes == (COMPILED_NOTE,)


PROCESS = """
import json, sys, torch
sys.path[:0] = [{source!r}, {root!r}]
import benchmarks.subject as subject
from nbbench.measure import recording
from nbbench.model import to_plain  # noqa: E402
out = sys.stdout
torch.set_num_threads({threads})
subject.prepare = lambda: None
kept = []
for name in {earlier!r}:
    size = int(name)
    case = subject.bandwidth(size, "float64")
    kept.append(case.run())
    recording.ledger_of(case)
case = subject.bandwidth(64, "float32")
case.run()
print(json.dumps(to_plain(recording.ledger_of(case))), file=out)
"""


def test_other_processes_find_the_same_ledger(tmp_path_factory):
    """Whatever hash seed, number of threads and earlier work of the process."""
    from pathlib import Path

    from nbbench.subject.subjects.nanobragg import demo

    folder = tmp_path_factory.mktemp("demo")
    demo.write_demo(folder)
    root, source = str(Path(__file__).resolve().parents[2]), str(folder / "src")
    started = []
    for seed, threads, earlier in (("0", 1, []), ("1", 2, ["32", "48"])):
        code = PROCESS.format(source=source, root=root, threads=threads, earlier=earlier)
        environment = {"PYTHONHASHSEED": seed, "NBBENCH_TREE": source, "TORCHDYNAMO_DISABLE": "1"}
        environment |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        command = [sys.executable, "-c", code]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=environment, **pipes))
    found = []
    for process in started:
        out, err = process.communicate()
        assert process.returncode == 0, err
        found.append(json.loads(out.splitlines()[-1]))
    assert found[0] == found[1]
    assert found[0]["ops"] > 10
