"""The picture: three formats, every workload in it, and a sentence where matplotlib is missing."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from figure_samples import ROOF, ROWS

from nbbench.errors import HostError
from nbbench.report import roofline_plot

TITLE = "roofline of <b> & co"


@pytest.fixture(scope="module")
def svg() -> str:
    pytest.importorskip("matplotlib")
    return roofline_plot.draw("svg", TITLE, ROOF, ROWS).decode()


def test_axes_have_units_and_every_workload_a_label(svg):
    text = " ".join(ET.fromstring(svg).itertext())
    for row in ROWS:
        assert f"{row.workload} ({row.bound})" in text
    assert "(MiB)" in text
    assert "(GB/s)" in text
    assert "memory (STREAM): 40 GB/s" in text
    assert "dispatch: 1 µs an operation" in text


def test_the_same_figures_give_the_same_file(svg):
    assert roofline_plot.draw("svg", TITLE, ROOF, ROWS).decode() == svg


def test_html_is_one_page_with_the_title_escaped(svg):
    page = roofline_plot.draw("html", TITLE, ROOF, ROWS).decode()
    assert page.startswith("<!doctype html>")
    assert "<title>roofline of &lt;b&gt; &amp; co</title>" in page
    assert page.count("<svg") == 1
    assert "<b>" not in page


def test_png(svg):
    assert roofline_plot.draw("png", TITLE, ROOF, ROWS).startswith(b"\x89PNG\r\n")


def test_recorded_figures_have_no_curve_and_no_dispatch(svg):
    recorded = replace(ROOF, op_s=0.0, curve=())
    text = " ".join(ET.fromstring(roofline_plot.draw("svg", TITLE, recorded, ROWS[:1])).itertext())
    assert "dispatch" not in text
    assert "memory (STREAM)" in text


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(HostError, match="matplotlib") as caught:
        roofline_plot.matplotlib_figure()
    assert "nbbench[plot]" in caught.value.hint
