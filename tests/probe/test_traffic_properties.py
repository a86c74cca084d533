"""Laws of the traffic ledger over drawn programs."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from nbbench.probe.traffic import TrafficLedger, tensor_bytes  # noqa: E402

# Steps that touch every pixel alike, so that bytes are proportional to pixels.
STEPS = {
    "add": lambda t: t + 1.0,
    "multiply": lambda t: t * t,
    "sine": torch.sin,
    "in place": lambda t: t.clone().mul_(2.0),
    "copy": lambda t: torch.empty_like(t).copy_(t),
    "out": lambda t: torch.add(t, 1.0, out=torch.empty_like(t)),
    "transpose": lambda t: t.t().contiguous().t(),
    "view": lambda t: t[:, :].unsqueeze(0).squeeze(0),
    "fill": lambda t: torch.zeros_like(t).fill_(0.5) + t,
    "stack": lambda t: torch.stack([t, t]).mean(0),
    "where": lambda t: torch.where(t > 0, t, -t),
}
programs = st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6)
sides = st.integers(min_value=2, max_value=24)
examples = settings(derandomize=True, deadline=None, max_examples=20)


def frame(rows, columns, dtype=torch.float32):
    return torch.arange(1, rows * columns + 1, dtype=dtype).view(rows, columns)


def run(names, tensor):
    return functools.reduce(lambda t, name: STEPS[name](t), names, tensor)


def wrapped(names, tensor):
    """The same program with a function of its own around each step."""

    def step(name, value):
        return STEPS[name](value)

    for name in names:
        tensor = step(name, tensor)
    return tensor


def recorded(names, tensor, asked=torch.float32, program=run, source_root=str(Path(__file__).parent)):
    with TrafficLedger(asked=asked, source_root=source_root) as ledger:
        kept = program(names, tensor)
    del kept
    return ledger.traffic


def counts(traffic):
    return traffic.ops, traffic.dispatched, traffic.bytes, traffic.upcast_bytes


@examples
@given(programs, sides, sides, st.integers(min_value=2, max_value=4))
def test_bytes_scale_with_pixels(names, rows, columns, factor):
    small = recorded(names, frame(rows, columns))
    large = recorded(names, frame(rows * factor, columns))
    assert (large.ops, large.dispatched) == (small.ops, small.dispatched)
    assert large.bytes == factor * small.bytes
    assert large.peak_live_bytes == factor * small.peak_live_bytes


@examples
@given(programs, programs, sides)
def test_one_program_after_another_adds_their_ledgers(first, second, side):
    middle = run(first, frame(side, side))
    parts = [recorded(first, frame(side, side)), recorded(second, middle)]
    whole = recorded(first + second, frame(side, side))
    assert counts(whole) == tuple(a + b for a, b in zip(counts(parts[0]), counts(parts[1]), strict=True))
    assert whole.peak_live_bytes >= max(part.peak_live_bytes for part in parts)
    for key in whole.by_dtype:
        assert whole.by_dtype[key] == sum(part.by_dtype.get(key, 0) for part in parts)
    for key, cost in whole.lines.items():
        found = [part.lines[key] for part in parts if key in part.lines]
        assert cost.bytes == sum(one.bytes for one in found)
        assert cost.count == sum(one.count for one in found)


@examples
@given(programs, sides, sides)
def test_twice_the_dtype_doubles_the_floating_point_bytes(names, rows, columns):
    single = recorded(names, frame(rows, columns))
    double = recorded(names, frame(rows, columns, torch.float64), asked=torch.float64)
    assert (double.ops, double.dispatched) == (single.ops, single.dispatched)
    assert double.by_dtype.get("float64", 0) == 2 * single.by_dtype.get("float32", 0)
    assert double.by_dtype.get("bool", 0) == single.by_dtype.get("bool", 0)
    assert single.upcast_bytes == double.upcast_bytes == 0


@examples
@given(programs, sides)
def test_every_byte_has_a_dtype_and_a_line(names, side):
    traffic = recorded(names, frame(side, side))
    assert traffic.bytes == sum(traffic.by_dtype.values())
    assert traffic.bytes == sum(cost.bytes for cost in traffic.lines.values())
    assert traffic.ops == sum(cost.count for cost in traffic.lines.values()) <= traffic.dispatched


@examples
@given(programs, sides)
def test_a_function_around_it_changes_the_booking_only(names, side):
    plain = recorded(names, frame(side, side))
    inside = recorded(names, frame(side, side), program=wrapped)
    assert counts(inside) == counts(plain)
    assert (inside.by_dtype, inside.fused_bytes) == (plain.by_dtype, plain.fused_bytes)
    assert inside.peak_live_bytes == plain.peak_live_bytes


@examples
@given(programs, sides, st.integers(min_value=2, max_value=4))
def test_a_perfect_fusion_never_moves_more(names, side, factor):
    small, large = (recorded(names, frame(side * n, side), program=wrapped) for n in (1, factor))
    assert 0 <= small.fused_bytes <= small.bytes
    assert large.fused_bytes == factor * small.fused_bytes  # storages scale with pixels too


@examples
@given(programs, sides)
def test_recording_changes_no_value_and_no_count(names, side):
    tensor = frame(side, side)
    plain = run(names, tensor)
    with TrafficLedger() as ledger:
        seen = run(names, tensor)
    assert torch.equal(plain, seen) and torch.equal(tensor, frame(side, side))
    assert counts(ledger.traffic) == counts(recorded(names, tensor))


@examples
@given(
    st.lists(st.integers(min_value=0, max_value=5), min_size=0, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.sampled_from(["bool", "int16", "float32", "float64", "complex128"]),
)
def test_bytes_of_an_expanded_tensor_are_those_of_its_source(shape, expanded, dtype):
    source = torch.zeros(shape, dtype=getattr(torch, dtype))
    wide = source
    for place, more in zip(range(len(shape), -1, -1), expanded, strict=False):
        if more:
            wide = wide.unsqueeze(place)
            wide = wide.expand([3 if i == place else n for i, n in enumerate(wide.shape)])
    assert tensor_bytes(wide) == tensor_bytes(source) == source.nbytes
