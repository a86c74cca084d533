"""The traffic ledger against counts made by hand, one for each row of docs/ledger.md."""

from __future__ import annotations

import importlib.util
import re
import sys
import threading
import warnings
from collections import Counter
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch.autograd import DeviceType  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402

from nbbench.probe.operation import UncountableTensorError  # noqa: E402
from nbbench.probe.storages import MAPPED_BYTES  # noqa: E402
from nbbench.probe.traffic import TrafficLedger, tensor_bytes  # noqa: E402
from nbbench.probe.workload import record_ledger  # noqa: E402
from nbbench.subject.subjects.nanobragg import demo  # noqa: E402

N = 1000
F32 = 4 * N  # bytes of one frame


@pytest.fixture
def x():
    return torch.ones(N)


@pytest.fixture
def y():
    return torch.full((N,), 2.0)


def recorded(function, **options):
    with TrafficLedger(**options) as ledger:
        function()
    return ledger.traffic


def only(function, **options):
    """Bytes of a program that must be a single operation."""
    traffic = recorded(function, **options)
    assert traffic.ops == 1
    return traffic.bytes


class TestRules:
    def test_operation_reads_its_inputs_and_writes_its_output(self, x, y):
        traffic = recorded(lambda: x + y)
        assert (traffic.ops, traffic.dispatched, traffic.bytes) == (1, 1, 3 * F32)

    def test_views_and_metadata_move_nothing(self, x):
        def program():
            square = x.view(10, 100)
            square.t()[2:, ::3].unsqueeze(0).expand(5, -1, -1)
            square.unbind(0), square.split(3), square.detach(), square.real
            square.size(), square.stride(), square.dim(), square.is_contiguous(), square.data_ptr()
            torch.broadcast_tensors(square, x[:100])

        traffic = recorded(program)
        assert (traffic.ops, traffic.bytes, traffic.peak_live_bytes, traffic.lines) == (0, 0, 0, {})
        assert traffic.dispatched > 8

    def test_reshape_counts_only_where_it_copies(self, x):
        square = x.view(10, 100)
        assert recorded(lambda: square.reshape(100, 10)).bytes == 0
        assert only(lambda: square.t().reshape(N)) == 2 * F32
        assert recorded(lambda: square.contiguous()).bytes == 0
        assert only(lambda: square.t().contiguous()) == 2 * F32

    def test_in_place_reads_and_writes_its_destination(self, x, y):
        assert only(lambda: x.add_(y)) == 3 * F32
        assert only(lambda: x.mul_(2.0)) == 2 * F32
        assert only(lambda: torch._foreach_mul_([x, y], 2.0)) == 4 * F32

    def test_out_is_written_only(self, x, y):
        there = torch.empty(N)
        assert only(lambda: torch.add(x, y, out=there)) == 3 * F32
        assert only(lambda: torch.add(x, y, out=x)) == 3 * F32  # read as an input all the same

    def test_several_destinations_are_written_only(self):
        square = torch.rand(20, 50)
        values, places = torch.empty(20), torch.empty(20, dtype=torch.int64)
        assert only(lambda: torch.max(square, 1, out=(values, places))) == F32 + 20 * (4 + 8)
        values, places = torch.empty(20, 50), torch.empty(20, 50, dtype=torch.int64)
        assert only(lambda: torch.sort(square, out=(values, places))) == 2 * F32 + 2 * F32

    def test_copy_and_fills_are_written_only(self, x, y):
        assert only(lambda: x.copy_(y)) == 2 * F32
        for fill in ("fill_", "zero_", "normal_", "uniform_", "random_", "exponential_", "cauchy_"):
            arguments = (3.0,) if fill == "fill_" else ()
            assert only(lambda f=fill, a=arguments: getattr(x, f)(*a)) == F32, fill
        assert only(lambda: x.bernoulli_(0.5)) == F32
        assert only(lambda: x.geometric_(0.5)) == F32
        assert only(lambda: x.log_normal_()) == F32

        def assign():
            x[:100] = 1.0

        assert only(assign) == 400 + 4  # the number becomes a zero-dimensional tensor

    def test_copy_between_dtypes(self, x):
        wide = torch.empty(N, dtype=torch.float64)
        traffic = recorded(lambda: wide.copy_(x))
        assert traffic.by_dtype == {"float32": F32, "float64": 2 * F32}

    def test_allocations(self, x):
        for make in (
            lambda: torch.empty(N),
            lambda: torch.empty_like(x),
            lambda: torch.empty_strided((N,), (1,)),
            lambda: torch.empty_permuted((10, 100), (1, 0)),
            lambda: x.new_empty(N),
        ):
            traffic = recorded(make)
            assert (traffic.ops, traffic.bytes, traffic.peak_live_bytes) == (0, 0, F32)
        for make in (
            lambda: torch.zeros(N),
            lambda: torch.ones(N),
            lambda: torch.full((N,), 3.0),
            lambda: torch.arange(float(N)),
            lambda: torch.linspace(0, 1, N),
            lambda: torch.rand(N),
        ):
            assert only(make) == F32
        assert only(lambda: torch.zeros_like(x)) == 2 * F32

    def test_expanded_dimension_counts_once(self, x):
        wide = x.expand(7, N)
        assert tensor_bytes(wide) == F32
        assert only(lambda: wide + 1) == F32 + 7 * F32
        assert only(lambda: wide.sum()) == F32 + 4
        assert only(lambda: torch.empty(7, N).copy_(wide)) == 7 * F32 + F32

    def test_broadcast_operand_counts_its_own_elements(self, x):
        square = x.view(10, 100)
        assert only(lambda: square + x[:100]) == F32 + 400 + F32

    def test_scalars(self, x):
        assert only(lambda: x * 3.0) == 2 * F32
        assert only(lambda: x * torch.tensor(3.0)) == 2 * F32 + 4
        assert recorded(lambda: torch.tensor(3.0)).bytes == 0
        traffic = recorded(lambda: x.sum().item())
        assert (traffic.ops, traffic.bytes) == (2, F32 + 4 + 4)

    @pytest.mark.parametrize(
        ("dtype", "size"),
        [("bool", 1), ("uint8", 1), ("int64", 8), ("float16", 2), ("complex64", 8), ("complex128", 16)],
    )
    def test_element_sizes(self, dtype, size):
        source = torch.ones(N, dtype=getattr(torch, dtype))
        traffic = recorded(lambda: source.clone())
        assert traffic.bytes == 2 * N * size
        assert traffic.by_dtype == {dtype: 2 * N * size}

    def test_comparison_writes_bool(self, x, y):
        traffic = recorded(lambda: x > y)
        assert traffic.by_dtype == {"float32": 2 * F32, "bool": N}

    def test_complex_from_real(self, x, y):
        assert recorded(lambda: torch.complex(x, y)).by_dtype == {"float32": 2 * F32, "complex64": 2 * F32}

    def test_empty_tensors(self):
        nothing = torch.empty(0, 5)
        assert tensor_bytes(nothing) == 0
        assert recorded(lambda: nothing + 1).bytes == 0

    def test_the_same_tensor_in_two_arguments_is_two_reads(self, x):
        assert only(lambda: x * x) == 3 * F32
        assert only(lambda: x.square()) == 2 * F32

    def test_lists_of_tensors(self, x, y):
        assert only(lambda: torch.cat([x, y])) == 4 * F32
        assert only(lambda: torch.stack([x, y, x])) == 6 * F32
        places = torch.arange(10)
        assert only(lambda: x[places]) == F32 + 80 + 40


class TestComposites:
    def test_softmax(self, x):
        traffic = recorded(lambda: torch.softmax(x, 0))
        assert (traffic.ops, traffic.bytes) == (1, 2 * F32)
        assert [key[3] for key in traffic.lines] == ["_softmax"]

    def test_linear_is_a_view_and_one_product(self):
        rows, weight, bias = torch.rand(20, 30), torch.rand(40, 30), torch.rand(40)
        traffic = recorded(lambda: torch.nn.functional.linear(rows, weight, bias))
        assert [key[3] for key in traffic.lines] == ["addmm"]
        assert (traffic.ops, traffic.dispatched) == (1, 2)
        assert traffic.bytes == 4 * (20 * 30 + 40 * 30 + 40 + 20 * 40)

    def test_inference_mode_counts_what_no_grad_counts(self):
        rows, weight = torch.rand(20, 30), torch.rand(40, 30)

        def program():
            product = torch.nn.functional.linear(rows, weight)
            torch.softmax(product, 0).to(torch.float64).t().contiguous()
            torch.einsum("ij,kj->ik", rows, weight).reshape(-1).var()
            torch.where(product > 1)

        with torch.no_grad():
            expected = recorded(program)
        with torch.inference_mode():
            found = recorded(program)
        # Autograd's own bookkeeping is gone, the work is not.
        assert (found.ops, found.bytes, found.by_dtype) == (expected.ops, expected.bytes, expected.by_dtype)
        assert found.upcast_bytes == expected.upcast_bytes == 2 * 20 * 40 * 8
        assert {k[3]: v.bytes for k, v in found.lines.items()} == {
            k[3]: v.bytes for k, v in expected.lines.items()
        }

    def test_autograd_moves_no_more(self, x, y):
        def program():
            torch.exp(x * y).sin().sum()

        plain = recorded(program)
        x.requires_grad_()
        tracked = recorded(program)
        assert (tracked.ops, tracked.bytes, tracked.by_dtype) == (plain.ops, plain.bytes, plain.by_dtype)

    def test_backward_is_counted_where_it_is_recorded(self, x):
        x.requires_grad_()
        with TrafficLedger() as ledger:
            (x * 2.0).sum().backward()
        # mul; sum; ones_like of its result; expand is a view; mul of the gradient
        assert ledger.traffic.ops == 4


class TestSparse:
    def test_is_refused(self):
        dense = torch.eye(10)
        sparse = dense.to_sparse()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = dense.to_sparse_csr()
        for program in (
            lambda: dense.to_sparse(),
            lambda: sparse * 2,
            lambda: torch.mm(sparse, dense),
            lambda: rows @ dense,
            lambda: sparse.to_dense(),
        ):
            with pytest.raises(UncountableTensorError, match=r"does not count torch\.sparse"):
                recorded(program)

    def test_a_refusal_is_neither_a_skip_nor_a_wrong_operand(self):
        # asv takes NotImplementedError for a skip; Python's operators swallow TypeError.
        assert not issubclass(UncountableTensorError, NotImplementedError | TypeError)


class TestUpcast:
    def test_wider_outputs_only(self, x):
        double = torch.ones(N, dtype=torch.float64)
        assert recorded(lambda: x + x).upcast_bytes == 0
        assert recorded(lambda: x * double).upcast_bytes == 8 * N
        assert recorded(lambda: x.double()).upcast_bytes == 8 * N
        assert recorded(lambda: double.float()).upcast_bytes == 0
        assert recorded(lambda: double + 1, asked=torch.float64).upcast_bytes == 0
        assert recorded(lambda: x + 1, asked=torch.float16).upcast_bytes == F32

    def test_integers_are_no_upcast(self, x):
        assert recorded(lambda: x.long()).upcast_bytes == 0
        assert recorded(lambda: torch.arange(N)).upcast_bytes == 0

    def test_one_element_of_float64_widens_a_frame(self, x):
        traffic = recorded(lambda: torch.sin(x * torch.tensor([1.0], dtype=torch.float64)))
        assert traffic.upcast_bytes == 2 * 8 * N


class TestPeak:
    def test_temporaries_that_are_freed(self, x):
        def program():
            a = x + 1  # one frame
            b = a + 1  # two
            del a  # one
            c = b + 1  # two
            d = c + 1  # three
            del b, c
            return d

        with TrafficLedger() as ledger:
            result = program()
            assert ledger._storages.live_bytes == F32
            del result
        assert ledger.traffic.peak_live_bytes == 3 * F32
        assert ledger._storages.live_bytes == 0

    def test_chain_keeps_two(self, x):
        assert recorded(lambda: (((x + 1) + 1) + 1) + 1).peak_live_bytes == 2 * F32

    def test_a_view_keeps_its_storage_alive(self, x):
        with TrafficLedger() as ledger:
            corner = (x + 1)[:1]
            assert ledger._storages.live_bytes == F32
            del corner
            assert ledger._storages.live_bytes == 0

    def test_inputs_are_left_out_unless_written(self, x, y):
        assert recorded(lambda: x.sum()).peak_live_bytes == 4
        assert recorded(lambda: x.add_(y)).peak_live_bytes == F32
        assert recorded(lambda: torch._foreach_add_([x, y], 1.0)).peak_live_bytes == 2 * F32

    def test_in_place_makes_nothing(self, x):
        assert recorded(lambda: (x + 1).mul_(2).add_(3)).peak_live_bytes == F32

    def test_resized_destination(self, x):
        there = torch.empty(0)
        with TrafficLedger() as ledger:
            torch.add(x, 1, out=there)
            here = torch.empty(0)
            torch.add(x, 1, out=here)
            assert ledger._storages.live_bytes == 2 * F32
            here.resize_(2 * N)
            assert ledger._storages.live_bytes == 3 * F32
            del here, there
            assert ledger._storages.live_bytes == 0

    def test_reused_addresses_are_told_apart(self, x):
        with TrafficLedger() as ledger:
            for _ in range(50):
                made = x + 1
                del made
        assert (ledger.traffic.peak_live_bytes, ledger._storages.live_bytes) == (F32, 0)


SOURCE = """
import torch

class Model:
    def run(self, x):
        y = x * 2.0
        return helper(y)

def helper(y):
    def inner():
        return y + 1.0
    return inner().sum()
"""


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestLines:
    @pytest.fixture
    def module(self, tmp_path):
        (tmp_path / "src" / "package").mkdir(parents=True)
        path = tmp_path / "src" / "package" / "model.py"
        path.write_text(SOURCE)
        return load(path)

    def test_innermost_line_below_the_root(self, module, tmp_path, x):
        traffic = recorded(lambda: module.Model().run(x), source_root=str(tmp_path / "src"))
        assert {key: (cost.count, cost.bytes) for key, cost in traffic.lines.items()} == {
            ("package/model.py", 6, "Model.run", "mul", "float32"): (1, 2 * F32),
            ("package/model.py", 11, "helper.<locals>.inner", "add", "float32"): (1, 2 * F32),
            ("package/model.py", 12, "helper", "sum", "float32"): (1, F32 + 4),
        }
        assert traffic.peak_line == ("package/model.py", 12, "helper")  # two frames and the sum

    def test_helpers_outside_are_booked_on_their_caller(self, module, tmp_path, x, monkeypatch):
        monkeypatch.setattr(module, "helper", lambda y: torch.nn.functional.normalize(y, dim=0))
        traffic = recorded(lambda: module.Model().run(x), source_root=f"{tmp_path}/src/")
        assert {key[:3] for key in traffic.lines} == {
            ("package/model.py", 6, "Model.run"),
            ("package/model.py", 7, "Model.run"),
        }

    def test_nothing_below_the_root(self, x, tmp_path):
        for root in ("", str(tmp_path)):
            assert {key[:3] for key in recorded(lambda: x + 1, source_root=root).lines} == {("", 0, "")}

    def test_a_folder_with_the_same_prefix_is_another_folder(self, module, tmp_path, x):
        traffic = recorded(lambda: module.Model().run(x), source_root=str(tmp_path / "sr"))
        assert {key[0] for key in traffic.lines} == {""}

    def test_equal_code_in_two_files(self, tmp_path, x):
        """Code objects compare equal whatever file they are from."""
        text = "def run(x):\n    return x + 1.0\n"
        modules = []
        for name in ("inside/one", "inside/two", "outside/three"):
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            modules.append(load(path))

        def program():
            for module in (modules[2], modules[0], modules[1]):
                module.run(x)

        traffic = recorded(program, source_root=str(tmp_path / "inside"))
        assert Counter(key[0] for key in traffic.lines) == {"one.py": 1, "two.py": 1, "": 1}

    def test_lines_add_up(self, module, tmp_path, x):
        traffic = recorded(lambda: module.Model().run(x), source_root=str(tmp_path))
        assert sum(c.bytes for c in traffic.lines.values()) == traffic.bytes == sum(traffic.by_dtype.values())
        assert sum(c.count for c in traffic.lines.values()) == traffic.ops


class TestRepeatable:
    @staticmethod
    def ledger():
        def program():
            frame = torch.linspace(0, 1, 4096).view(64, 64)
            product = frame @ frame.t()
            return torch.where(product > 0.5, product.sin(), product.double().exp().float())

        return record_ledger("w", program, pixels=4096, asked=torch.float32, source_root="")

    def test_two_runs_are_identical(self):
        assert self.ledger() == self.ledger()

    def test_number_of_threads_does_not_matter(self):
        threads = torch.get_num_threads()
        found = []
        try:
            for count in (1, 2):
                torch.set_num_threads(count)
                one = self.ledger()
                found.append((one.ops, one.bytes, one.bytes_by_dtype, one.peak_live_bytes, one.lines))
        finally:
            torch.set_num_threads(threads)
        assert found[0] == found[1]

    def test_other_threads_are_not_recorded(self, x):
        with TrafficLedger() as ledger:
            other = threading.Thread(target=lambda: x + 1)
            other.start()
            other.join()
            x.sum()
        assert ledger.traffic.ops == 1

    def test_totals_and_order_of_the_ledger(self):
        one = self.ledger()
        assert one.workload == "w" and one.output_dtype == "float32" and one.pixels == 4096
        assert [line.bytes for line in one.lines] == sorted((line.bytes for line in one.lines), reverse=True)
        assert sum(line.bytes for line in one.lines) == one.bytes == sum(n for _, n in one.bytes_by_dtype)
        assert one.upcast_bytes == 2 * 4096 * 8
        assert re.fullmatch(r"[0-9a-f]{64}", one.image_digest)


class TestAgainstProfiler:
    """torch.profiler counts below the Python dispatcher: an independent witness."""

    @pytest.fixture
    def simulator(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("subject")
        demo.write_demo(folder)
        sys.path.insert(0, str(folder / "src"))
        try:
            from nanobrag_torch.config import BeamConfig, CrystalConfig, DetectorConfig, DetectorConvention
            from nanobrag_torch.models.crystal import Crystal
            from nanobrag_torch.models.detector import Detector
            from nanobrag_torch.simulator import Simulator

            crystal = CrystalConfig(N_cells=(5, 5, 5), default_F=100.0)
            beam = BeamConfig(wavelength_A=6.2)
            screen = DetectorConfig(
                distance_mm=100.0,
                pixel_size_mm=0.1,
                spixels=64,
                fpixels=64,
                detector_convention=DetectorConvention.MOSFLM,
            )
            yield Simulator(
                crystal=Crystal(crystal, beam_config=beam, dtype=torch.float32),
                detector=Detector(screen, dtype=torch.float32),
                crystal_config=crystal,
                beam_config=beam,
                dtype=torch.float32,
            )
        finally:
            sys.path.remove(str(folder / "src"))
            for name in [n for n in sys.modules if n.partition(".")[0] == "nanobrag_torch"]:
                del sys.modules[name]

    def test_same_operations(self, simulator):
        simulator.run()
        ledger = Counter()
        with TrafficLedger() as recorder:
            simulator.run()
        for (_, _, _, op, _), cost in recorder.traffic.lines.items():
            ledger[op] += cost.count
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as prof:
            simulator.run()
        events = [e for e in prof.events() if e.device_type == DeviceType.CPU and e.name.startswith("aten::")]
        # The profiler also sees what a kernel calls inside; the dispatcher sees the outermost only.
        witnessed = Counter(e.name.removeprefix("aten::") for e in events)
        outer = Counter(
            e.name.removeprefix("aten::")
            for e in events
            if e.cpu_parent is None or not e.cpu_parent.name.startswith("aten::")
        )
        assert ledger.total() > 100
        for op, count in ledger.items():
            assert outer[op] <= count <= witnessed[op], op
        arithmetic = {"mul", "add", "sub", "div", "sin", "cos", "sqrt", "mul_", "add_", "round", "clamp"}
        comparable = {op for op in ledger if op in arithmetic and outer[op] == witnessed[op]}
        assert len(comparable) >= 3
        assert {op: ledger[op] for op in comparable} == {op: outer[op] for op in comparable}

    def test_same_bytes_as_the_profilers_shapes(self, x, y):
        """Shapes of the profiler's records give the bytes read; the ledger must agree."""

        def program():
            return torch.sin(x.view(10, 100) + y.view(10, 100)[0]).sum()

        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as prof:
            program()
        read = 0
        for event in prof.events():
            if event.name in ("aten::add", "aten::sin", "aten::sum") and (
                event.cpu_parent is None or not event.cpu_parent.name.startswith("aten::")
            ):
                for shape in event.input_shapes:
                    if shape:
                        size = 4
                        for length in shape:
                            size *= length
                        read += size
        written = F32 + F32 + 4
        assert recorded(program).bytes == read + written


class TestLargeBlocks:
    """What is allocated in blocks that glibc maps anew: the cause of a change is read from it (A3)."""

    LARGE = MAPPED_BYTES // 4  # float32 values

    def mapped(self, function) -> int:
        with TrafficLedger() as ledger:
            function()
        return int(ledger.traffic.counts["track_mapped_bytes"])

    def test_small_blocks_and_what_was_there_before_count_nothing(self):
        there = torch.zeros(self.LARGE)
        assert self.mapped(lambda: there.add_(1.0)) == 0
        assert self.mapped(lambda: torch.ones(self.LARGE - 1) + 1) == 0

    def test_every_allocation_of_a_large_block_counts(self):
        assert self.mapped(lambda: torch.empty(self.LARGE).zero_()) == MAPPED_BYTES
        assert self.mapped(lambda: [torch.ones(2 * self.LARGE) for _ in range(3)]) == 6 * MAPPED_BYTES

    def test_a_storage_that_grows_without_an_operation(self):
        """As the demo's planted regression does it: memory that is held only while a run lasts."""
        arena = torch.empty(self.LARGE)
        arena.untyped_storage().resize_(0)

        def run() -> None:
            arena.untyped_storage().resize_(MAPPED_BYTES)
            arena.fill_(1.0)
            arena.untyped_storage().resize_(0)

        assert self.mapped(run) == self.mapped(run) == MAPPED_BYTES
