"""Digests of values: equal for equal content whatever the layout, others for one changed bit; recordings."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nbbench.ledger import OUTSIDE
from nbbench.probe import digests
from nbbench.probe.digests import content_bits, record_dataflow, widened
from nbbench.probe.operation import UncountableTensorError
from nbbench.work.first_search import step_figures

DTYPES = [
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.bool, torch.uint8, torch.int16, torch.int64),
]
# Around what is hashed in one call, and around the blocks of large contents.
SIZES = [0, 1, 2, 3, 511, 512, 513, 1025, 4097, (1 << 16) + 1, (1 << 17) + 3]


def filled(size: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(0, 256, (size * dtype.itemsize,), generator=generator, dtype=torch.uint8)
    return raw % 2 == 1 if dtype is torch.bool else raw.view(dtype)


def layouts(content: torch.Tensor) -> list[torch.Tensor]:
    """The same elements in the same order, lying otherwise in memory."""
    size = content.numel()
    apart = torch.zeros(2 * size + 1, dtype=content.dtype)[1::2]
    apart.copy_(content)
    shifted = torch.zeros(size + 1, dtype=content.dtype)[1:]
    shifted.copy_(content)
    back = content.flip(0).contiguous()
    turned = [content.view(2, -1).t().contiguous().t()] if size and size % 2 == 0 else []
    return [content, content.reshape(1, -1), apart, shifted, back.flip(0), *turned]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_equal_content_has_equal_bits(dtype, size):
    assert len({content_bits(one) for one in layouts(filled(size, dtype))}) == 1


@given(size=st.integers(1, 9000), seed=st.integers(0, 99), data=st.data())
@settings(max_examples=80, deadline=None)
def test_one_changed_bit_is_another_digest(size, seed, data):
    content = filled(size, torch.uint8, seed)
    other = content.clone()
    other[data.draw(st.integers(0, size - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert content_bits(content) != content_bits(other)


@given(seed=st.integers(0, 999), places=st.sets(st.integers(0, 2047), min_size=2, max_size=40))
@settings(max_examples=80, deadline=None)
def test_changed_signs_and_exchanged_elements_are_another_digest(seed, places):
    """What sums with fixed factors alone would miss: top bits that cancel, elements that changed places."""
    content = filled(2048, torch.float64, seed).nan_to_num(1.5)
    chosen = sorted(places)
    turned = content.clone()
    turned[chosen] = -turned[chosen]
    moved = content.clone()
    moved[chosen] = moved[chosen].roll(1)
    assert content_bits(content) != content_bits(turned)
    assert torch.equal(moved, content) or content_bits(content) != content_bits(moved)


def test_expanded_conjugated_and_odd_values():
    row = torch.randn(7, dtype=torch.complex64)
    assert content_bits(row.expand(900, 7)) == content_bits(row.repeat(900, 1))
    assert content_bits(row.conj()) == content_bits(row.conj().resolve_conj())
    assert content_bits(row.conj().imag) == content_bits(row.conj().imag.resolve_neg())
    nan = torch.full((3,), float("nan"))
    assert content_bits(nan) == content_bits(nan.clone())
    assert content_bits(torch.tensor([0.0])) != content_bits(torch.tensor([-0.0]))
    assert content_bits(torch.nn.Parameter(torch.ones(3))) == content_bits(torch.ones(3))
    assert widened(torch.tensor([1 + 2j])).tolist() == [1.0, 2.0]


def test_tables_that_are_made_in_inference_mode_serve_outside_of_it():
    digests._tables.cache_clear()
    content = filled(4096, torch.float64)
    with torch.inference_mode():
        inside = content_bits(content.clone())
    assert content_bits(content) == inside


class Named(torch.Tensor):
    """A subclass that leaves the dispatch to torch."""


def ops(flow) -> list[str]:
    return [flow.site(number).op for number in range(len(flow.steps))]


class TestRecording:
    def test_who_made_what(self):
        """Views of what is known are known; a write makes a new value; `empty` has none."""

        def run():
            x = torch.empty(6).fill_(2.0)
            x[2:4] *= 3
            return x.reshape(2, 3) + torch.tensor(1.0)

        flow, _ = record_dataflow("one", run, source_root="")
        assert ops(flow)[:2] == ["empty", "fill_"]
        add = flow.steps[flow.image[1]]
        assert flow.site(flow.image[1]).op == "add"
        makers = [flow.site(maker).op for _, maker in add.inputs]
        assert makers[1] == "lift_fresh" and makers[0] in ("copy_", "mul_", "view")

    def test_values_from_outside(self):
        given = torch.ones(3)
        flow, _ = record_dataflow("one", lambda: given * 2, source_root="")
        assert [maker for _, maker in flow.steps[0].inputs] == [OUTSIDE]

    def test_a_number_that_a_tensor_gave(self):
        flow, _ = record_dataflow("one", lambda: torch.ones(3) * float(torch.ones(2).mean()), source_root="")
        mul = flow.steps[flow.image[1]]
        assert [flow.site(maker).op for _, maker in mul.inputs] == ["ones", "_local_scalar_dense"]

    def test_grad_inference_subclasses_and_lists(self):
        def run():
            with torch.inference_mode():
                torch.nn.functional.softmax(torch.ones(4), 0)
            weight = torch.nn.Parameter(torch.ones(4))
            torch._foreach_add_([torch.ones(2), torch.ones(3)], 1.0)
            (weight * torch.ones(4).as_subclass(Named)).sum().backward()
            return weight.grad.as_subclass(Named) * 2

        flow, _ = record_dataflow("one", run, source_root="")
        assert {"_softmax", "_foreach_add_"} <= set(ops(flow))
        assert flow == record_dataflow("one", run, source_root="")[0]

    def test_values_that_are_asked_for(self):
        run = lambda: torch.tensor([3.0, -4.0]) * torch.tensor([1.0, 1.0])  # noqa: E731
        _, kept = record_dataflow("one", run, source_root="", keep=[2, OUTSIDE])
        assert kept[2].tolist() == kept[OUTSIDE].tolist() == [3.0, -4.0]
        assert step_figures(kept[2].numpy()) == (-1.0, 5.0, -4.0, 3.0)
        assert step_figures(kept[2].numpy() / 0) == ()

    def test_memory_stays_resizable(self):
        def run():
            x = torch.ones(3)
            y = x * 2
            torch.add(y, 1, out=x.resize_(3))
            return torch.arange(5, out=x.resize_(0).to(torch.int64))

        assert record_dataflow("one", run, source_root="")[0].steps

    def test_what_is_refused(self, monkeypatch):
        with pytest.raises(UncountableTensorError):
            record_dataflow("one", lambda: torch.eye(3).to_sparse() * 2, source_root="")
        monkeypatch.setattr(digests, "MOST_STEPS", 2)
        with pytest.raises(digests.TooManyStepsError, match="more than 2 operations"):
            record_dataflow("one", lambda: torch.ones(3) + 1 + 2, source_root="")
