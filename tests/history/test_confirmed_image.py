"""What counts as another image is the subject's own word, in history as in the gate."""

from __future__ import annotations

from dataclasses import replace

import history_samples as samples

from nbbench.config import ImageTolerance
from nbbench.history.confirmed import Work, other_work


def test_the_profiles_tolerance_decides_whether_an_image_is_another() -> None:
    before = samples.ledger()
    after = replace(before, image_digest="other", image_blocks=tuple(b * 1.001 for b in before.image_blocks))
    assert before.image_blocks
    sides = [Work(one.bytes_per_pixel, one.ops, one) for one in (before, after)]
    assert other_work(*sides)
    assert not other_work(*sides, ImageTolerance(median=0.01, block=0.1, reason="a test"))
