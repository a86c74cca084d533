"""asv's own list of regressions holds only what became worse (H15)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asv.plugins.regressions import _GraphDataFilter

from nbbench.asv_plugin.publisher import OwnSite, land_from_error, leave_out
from nbbench.metrics import Better

UNITS = {
    "bandwidth.Warm.time_run": "seconds",
    "bandwidth.Traffic.track_copy_fraction": "fraction of copy ceiling",
    "bandwidth.Ceiling.track_copy_ceiling": "B/s",
    "other.track_score": "points",
    "other.track_energy": "J",
    "other.track_steps": "steps/s",
}
STEPS = [(1, 2, 1.0, 1.0, 0.0), (2, 3, 2.0, 2.0, 0.0)]


def judged(conf: Any, name: str) -> bool:
    """Whether asv looks for regressions of this benchmark, by its own code."""
    graph = SimpleNamespace(params={"branch": "main"}, get_steps=lambda: STEPS)
    looked = _GraphDataFilter(conf, None, {"a": 1, "b": 2})
    return bool(list(looked.get_graph_data(graph, {"name": name})))


def test_H15_a_rising_share_of_the_ceiling_is_no_regression_for_asv() -> None:
    conf = SimpleNamespace(regressions_first_commits={}, regressions_thresholds={}, branches=[None])
    benchmarks = {name: {"name": name, "unit": unit, "type": "track"} for name, unit in UNITS.items()}
    leave_out(conf, benchmarks, {"J": Better.LOWER})
    assert [name for name in UNITS if judged(conf, name)] == ["bandwidth.Warm.time_run", "other.track_energy"]


def test_ours_comes_before_asvs_list() -> None:
    from asv.plugins.regressions import Regressions

    assert OwnSite.order < Regressions.order


def test_A5_asvs_error_page_leads_to_ours_with_the_reason(tmp_path: Path) -> None:
    page = tmp_path / "error.html"
    page.write_text("Can not determine continental origin of swallow.")
    land_from_error(page, "ours.html")
    text = page.read_text()
    assert 'content="0; url=ours.html#asv-offline"' in text
    assert "network" in text and "swallow" not in text
