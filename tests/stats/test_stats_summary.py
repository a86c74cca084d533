import numpy as np
import pytest

from nbbench.stats.noise import difference_sigma, finite


def test_wrong_shapes_are_errors():
    with pytest.raises(ValueError, match="one dimension"):
        finite([[1.0, 2.0]])


def test_difference_sigma_sees_noise_and_neither_steps_nor_spikes():
    values = 0.02 * np.random.default_rng(1).standard_normal(2000)
    plain = difference_sigma(values)
    assert plain == pytest.approx(0.02, rel=0.05)
    values[300:] += 5.0
    values[900:] -= 9.0
    values[[100, 500, 1500]] += 40.0
    assert difference_sigma(values) == pytest.approx(plain, rel=0.02)


def test_difference_sigma_of_almost_nothing_is_zero():
    assert difference_sigma([]) == difference_sigma([1.0, 2.0]) == difference_sigma([3.0] * 9) == 0.0
