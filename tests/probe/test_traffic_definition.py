"""What docs/ledger.md says about the corners of torch, against counts made by hand."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings

import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from nbbench.probe.operation import UncountableTensorError  # noqa: E402
from nbbench.probe.traffic import COMPILED_NOTE, THREADS_NOTE, TrafficLedger  # noqa: E402

N = 1000
F32 = 4 * N


@pytest.fixture
def x():
    return torch.arange(1.0, N + 1)


def recorded(function, **options):
    with TrafficLedger(**options) as ledger:
        function()
    return ledger.traffic


def named(traffic):
    return {key[3]: (cost.count, cost.bytes) for key, cost in traffic.lines.items()}


class TestIndices:
    """Index tensors count; what is picked from, or written into, counts whole."""

    @pytest.fixture
    def places(self):
        return torch.arange(10)

    def test_reading(self, x, places):
        assert named(recorded(lambda: x.gather(0, places))) == {"gather": (1, F32 + 80 + 40)}
        assert named(recorded(lambda: x.index_select(0, places))) == {"index_select": (1, F32 + 80 + 40)}
        assert named(recorded(lambda: x.take(places))) == {"take": (1, F32 + 80 + 40)}
        mask = x > 500
        assert named(recorded(lambda: x[mask])) == {"index": (1, F32 + N + 500 * 4)}

    def test_writing(self, x, places):
        values = torch.ones(10)

        def assign():
            x[places] = values

        assert named(recorded(assign)) == {"index_put_": (1, 2 * F32 + 80 + 40)}
        assert named(recorded(lambda: x.scatter(0, places, values))) == {"scatter": (1, 2 * F32 + 80 + 40)}
        assert named(recorded(lambda: x.scatter_add_(0, places, values))) == {
            "scatter_add_": (1, 2 * F32 + 80 + 40)
        }
        assert named(recorded(lambda: x.index_add_(0, places, values))) == {
            "index_add_": (1, 2 * F32 + 80 + 40)
        }

    def test_where(self, x):
        assert named(recorded(lambda: torch.where(x > 1, x, 0.0))) == {
            "gt": (1, F32 + N),
            "scalar_tensor": (1, 4),  # the number becomes a zero-dimensional tensor
            "where": (1, N + 2 * F32 + 4),
        }


class TestSeveralTensorsAtOnce:
    def test_foreach(self, x):
        short = torch.ones(10)
        assert named(recorded(lambda: torch._foreach_add([x, short], 1.0))) == {
            "_foreach_add": (1, 2 * (F32 + 40))
        }
        assert named(recorded(lambda: torch._foreach_copy_([x, short], [x.clone(), short.clone()])))[
            "_foreach_copy_"
        ] == (1, 2 * (F32 + 40))
        assert named(recorded(lambda: torch._foreach_addcmul_([x], [x], [x], 2.0))) == {
            "_foreach_addcmul_": (1, 4 * F32)
        }

    def test_fused_native_operations_count_once(self, x):
        assert named(recorded(lambda: torch.addcmul(x, x, x))) == {"addcmul": (1, 4 * F32)}
        assert named(recorded(lambda: torch.lerp(x, x, 0.5))) == {"lerp": (1, 3 * F32)}
        rows = torch.ones(1, 1, 8, 4)
        attention = recorded(lambda: torch.nn.functional.scaled_dot_product_attention(rows, rows, rows))
        assert [key[3] for key in attention.lines] == ["_scaled_dot_product_flash_attention_for_cpu"]
        assert attention.bytes == 4 * 128 + 8 * 4  # three inputs, the output and its log-sum-exp

    def test_fused_optimizer_writes_what_its_schema_says(self, x):
        weights, gradient, first, second = (x.clone() for _ in range(4))
        step = torch.tensor(1.0)

        def program():
            torch._fused_adam_(
                [weights], [gradient], [first], [second], [], [step],
                lr=0.1, beta1=0.9, beta2=0.99, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
            )  # fmt: skip

        # Weights, gradients and both moments are read and written, the step is read.
        assert named(recorded(program)) == {"_fused_adam_": (1, 8 * F32 + 4)}


class TestTransforms:
    def test_vmap_is_the_batched_operation(self, x):
        square = x.view(20, 50)
        assert named(recorded(lambda: torch.vmap(lambda row: (row * 2.0).sum())(square))) == {
            "mul": (1, 2 * F32),
            "sum": (1, F32 + 20 * 4),
        }

    def test_func_grad_has_a_backward_pass(self, x):
        traffic = recorded(lambda: torch.func.grad(lambda v: (v * v).sum())(x))
        assert traffic.backward_ops == 3  # two products and their sum
        assert traffic.backward_bytes == 2 * (2 * F32 + 4) + 3 * F32

    def test_random_operations(self, x):
        assert named(recorded(lambda: torch.randn(N))) == {"randn": (1, F32)}
        assert named(recorded(lambda: torch.rand_like(x))) == {"rand_like": (1, 2 * F32)}
        assert named(recorded(lambda: torch.randperm(N))) == {"randperm": (1, 8 * N)}
        assert named(recorded(lambda: torch.nn.functional.dropout(x, 0.5))) == {
            "bernoulli_": (1, F32),
            "div_": (1, 2 * F32),
            "mul": (1, 3 * F32),
        }

    def test_conjugate_is_a_view_until_it_is_needed(self):
        values = torch.ones(N, dtype=torch.complex64)
        assert recorded(lambda: values.conj()).bytes == 0
        assert named(recorded(lambda: values.conj() * 2)) == {
            "clone": (1, 16 * N),
            "mul": (1, 16 * N),
        }


class TestDevices:
    def test_the_count_asks_for_no_device(self, x):
        """Shapes, strides and dtypes alone decide: a device without memory gives the same ledger."""

        def program(device):
            frame = torch.ones(40, 25, device=device)
            other = frame.t().contiguous().t() + frame[0]
            torch.where(other > 1, other.double(), frame).sum(0, keepdim=True).expand(40, 25).sin().mean()

        here, nowhere = (recorded(lambda d=d: program(d)) for d in ("cpu", "meta"))
        assert named(here) == named(nowhere)
        assert (here.by_dtype, here.peak_live_bytes, here.fused_bytes, here.dispatched) == (
            nowhere.by_dtype,
            nowhere.peak_live_bytes,
            nowhere.fused_bytes,
            nowhere.dispatched,
        )

    def test_a_copy_between_devices_reads_one_and_writes_the_other(self, x):
        there = torch.empty(N, device="meta")
        assert named(recorded(lambda: there.copy_(x))) == {"copy_": (1, 2 * F32)}
        assert named(recorded(lambda: x.to("meta"))) == {"_to_copy": (1, 2 * F32)}


class TestWhatIsRefused:
    def test_layouts(self):
        dense = torch.eye(10)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            csr, nested = dense.to_sparse_csr(), torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
        for program in (lambda: csr * 2.0, lambda: dense.to_mkldnn(), lambda: nested * 2.0):
            with pytest.raises(UncountableTensorError, match=r"does not count torch\.|nested tensors"):
                recorded(program)

    def test_quantized_tensors_count_their_elements(self, x):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            small = torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)
            assert recorded(lambda: small.clone()).by_dtype == {"quint8": 2 * N}

    def test_numpy_is_not_seen(self, x):
        assert recorded(lambda: torch.from_numpy(x.numpy() * 2)).bytes == 0


class TestModesAndSubclasses:
    def test_a_mode_of_the_subject_passes_on_what_it_issues(self, x):
        class Twice(TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                func(*args, **(kwargs or {}))
                return func(*args, **(kwargs or {}))

        def program():
            with Twice():
                x.sin()

        assert named(recorded(program)) == {"sin": (2, 4 * F32)}

    def test_ledgers_nest(self, x):
        with TrafficLedger() as outer:
            x.sin()
            with TrafficLedger() as inner:
                x.cos()
        assert list(named(inner.traffic)) == ["cos"]
        assert named(outer.traffic) == {"sin": (1, 2 * F32), "cos": (1, 2 * F32)}

    def test_a_subclass_counts_by_what_it_issues(self, x):
        from torch.testing._internal.two_tensor import TwoTensor

        pair = TwoTensor(x, x.clone())
        assert named(recorded(lambda: pair * 2.0)) == {"mul": (2, 4 * F32)}

    def test_jagged_tensors_count_their_values(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=torch.jagged)
            assert named(recorded(lambda: rows * 2.0)) == {"mul": (1, 2 * 18 * 4)}

    def test_parameters_are_tensors(self, x):
        weight = torch.nn.Parameter(x)
        assert named(recorded(lambda: weight * 2.0)) == {"mul": (1, 2 * F32)}


class TestThreads:
    def test_another_thread_is_said_aloud(self, x):
        def program():
            other = threading.Thread(target=lambda: x + 1)
            other.start()
            other.join()

        traffic = recorded(program)
        assert (traffic.ops, traffic.notes) == (0, (THREADS_NOTE,))
        assert recorded(lambda: x + 1).notes == ()
        assert threading.getprofile() is None

    def test_a_thread_that_was_there_before(self, x):
        done = threading.Event()
        other = threading.Thread(target=done.wait)
        other.start()
        try:
            assert recorded(lambda: x + 1).notes == (THREADS_NOTE,)
        finally:
            done.set()
            other.join()


COMPILED = """
import torch
from nbbench.probe.traffic import TrafficLedger  # noqa: E402
def f(x):
    return (x * 2.0).sin() + 1.0
g = torch.compile(f, backend="eager")
x = torch.ones(1000)
for _ in range(2):  # before and after it was compiled
    with TrafficLedger() as ledger:
        g(x)
    t = ledger.traffic
    print(sorted(key[3] for key in t.lines), t.bytes, *t.notes, sep="|")
    g(x)
"""


def test_compiled_code_runs_eagerly_and_says_so():
    environment = {k: v for k, v in os.environ.items() if k != "TORCHDYNAMO_DISABLE"}
    command = [sys.executable, "-c", COMPILED]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == [f"['add', 'mul', 'sin']|24000|{COMPILED_NOTE}"] * 2, done.stderr
