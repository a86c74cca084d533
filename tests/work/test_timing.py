"""Which measured times stand beside exact work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nbbench.model import SeriesKey, Status
from nbbench.work import timing

HERE = SimpleNamespace(
    key=SeriesKey("a", "1", (), "m", "nbbench-py3.11-torch2.13.0"), status=Status.OK, value=1.0
)


class _Store:
    """Results by benchmark."""

    def __init__(self, **counts: int) -> None:
        self._counts = counts

    def results(self, *, benchmark: str) -> list[Any]:
        return [SimpleNamespace(**vars(HERE), benchmark=benchmark)] * self._counts.get(benchmark, 0)


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [
        ({"newer": 1, "older": 26}, "older"),  # a suite that was only run at the newest commit
        ({"newer": 2, "older": 2}, "newer"),
        ({"older": 1}, "older"),
    ],
)
def test_times_are_of_the_benchmark_that_was_measured_most_often(
    counts: dict[str, int], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "ledger_families", lambda key: ("w",))
    monkeypatch.setattr(timing, "workload_of", lambda key: "w-1")
    found: Any = timing._results(_Store(**counts), ["newer", "older"], "w-1")  # type: ignore[arg-type]
    assert {one.benchmark for one in found} == {chosen} and len(found) == counts[chosen]
