"""Fingerprints: exact bits, and block means that move with the picture."""

from __future__ import annotations

import hashlib
import math

import pytest

torch = pytest.importorskip("torch")

from nbbench.probe.workload import fingerprint  # noqa: E402


@pytest.fixture
def image():
    return torch.arange(64 * 48, dtype=torch.float32).view(64, 48) / 7


def test_total_digest_and_blocks(image):
    mark = fingerprint(image)
    assert mark.digest == hashlib.sha256(image.numpy().tobytes()).hexdigest()
    assert mark.total == float(image.double().sum())
    assert len(mark.blocks) == 64
    assert mark.blocks[0] == pytest.approx(float(image[:8, :6].double().mean()), rel=1e-15)
    assert mark.blocks[9] == pytest.approx(float(image[8:16, 6:12].double().mean()), rel=1e-15)
    assert mark.blocks[-1] == pytest.approx(float(image[-8:, -6:].double().mean()), rel=1e-15)


def test_same_bits_same_fingerprint(image):
    assert fingerprint(image) == fingerprint(image.clone())
    assert fingerprint(image) == fingerprint(image.t().contiguous().t())


def test_one_bit_moves_the_digest_and_one_block(image):
    before = fingerprint(image)
    image[20, 20] = torch.nextafter(image[20, 20], torch.tensor(math.inf))
    after = fingerprint(image)
    assert after.digest != before.digest
    assert [i for i in range(64) if after.blocks[i] != before.blocks[i]] == [8 * 2 + 3]


def test_swapped_pixels_are_noticed_though_the_sum_is_not(image):
    mirrored = fingerprint(image.flip(0))
    assert mirrored.total == fingerprint(image).total
    assert mirrored.digest != fingerprint(image).digest
    assert mirrored.blocks != fingerprint(image).blocks


def test_dtype_moves_the_digest_only(image):
    wide = fingerprint(image.double())
    assert wide.digest != fingerprint(image).digest
    assert (wide.total, wide.blocks) == (fingerprint(image).total, fingerprint(image).blocks)


def test_sum_is_taken_in_double():
    image = torch.full((2**11, 2**11), 1.0 + 2**-20)  # float32 would have lost digits here
    assert fingerprint(image).total == image.numel() * (1.0 + 2**-20)


def test_gradients_and_views_do_not_matter(image):
    plain = fingerprint(image[::2, 1::3].clone())
    assert fingerprint(image[::2, 1::3]) == plain
    assert fingerprint(image[::2, 1::3].requires_grad_()) == plain


@pytest.mark.parametrize("shape", [(), (1,), (5,), (200,), (3, 3), (1, 1), (9, 1), (4, 5, 6), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "bool"])
def test_any_shape_and_dtype(shape, dtype):
    image = torch.ones(shape, dtype=getattr(torch, dtype))
    mark = fingerprint(image)
    assert mark.total == image.numel()
    assert len(mark.blocks) == 64 and set(mark.blocks) <= {0.0, 1.0}
    assert 1.0 in mark.blocks


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (0, 0)])
def test_nothing_at_all(shape):
    mark = fingerprint(torch.empty(shape))
    assert mark.total == 0.0
    assert set(mark.blocks) == {0.0}


def test_not_a_number_stays_in_its_block(image):
    image[0, 0] = math.nan
    mark = fingerprint(image)
    assert math.isnan(mark.total) and math.isnan(mark.blocks[0])
    assert not any(math.isnan(block) for block in mark.blocks[1:])
    assert mark.digest == fingerprint(image).digest
