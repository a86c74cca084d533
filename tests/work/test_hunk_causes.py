"""Hunks that cause a change, found with a recorder that computes what a tree with some hunks would do."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import work_samples as work

from nbbench.host import HostCount, HostKind, HostMetric, HostPhase, HostWork
from nbbench.ledger import Hunk, TreeHunk
from nbbench.model import Phase
from nbbench.report.blocks import Bullets
from nbbench.report.exact_work import hunk_blocks, hunk_payload
from nbbench.work import hunks as searching
from nbbench.work.count_diff import diff_host
from nbbench.work.hunk_causes import HunkSearch, hunk_targets
from nbbench.work.ledger_diff import diff_ledgers

NAMES = "abcdefgh"
HUNKS = {name: TreeHunk(f"{name}.py", f"{name}.py", Hunk(1, 1, ("x",), ("y",))) for name in NAMES}


class Recorder:
    """Stands in for the recorder: `figure` gives the bytes of a set of hunks, None where it does not run."""

    def __init__(self, figure, moving=NAMES):
        self.figure, self.recorded, self.sets = figure, 0, []
        self.difference = SimpleNamespace(
            hunks=tuple(HUNKS.values()),
            key=lambda chosen: "".join(sorted({one.head_path[0] for one in chosen} & set(moving))),
            moving=lambda: tuple(HUNKS[name] for name in moving),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def record(self, subsets, name, how):
        keys = [self.difference.key(one) for one in subsets]
        assert how == "workloads" and not set(keys) & set(self.sets), "nothing is recorded twice"
        self.sets += keys
        self.recorded += len(keys)
        made = [self.figure(set(key)) for key in keys]
        return [None if one is None else replace(work.before(), bytes=int(one)) for one in made]


@pytest.fixture
def search(monkeypatch):
    """Find the hunks of a change of the bytes from that of no hunk to that of all."""

    def run(figure, *, interrupted=False, **options) -> HunkSearch:
        recorder, known = Recorder(figure, **options), {}

        def once(subsets, name, how):
            fresh = [one for one in subsets if recorder.difference.key(one) not in known]
            for one, made in zip(fresh, Recorder.record(recorder, fresh, name, how), strict=True):
                known[recorder.difference.key(one)] = made
            return [known[recorder.difference.key(one)] for one in subsets]

        recorder.record = once
        monkeypatch.setattr(searching, "SubsetRecorder", lambda *_, **__: recorder)
        monkeypatch.setattr(searching, "known_work", lambda *_: SimpleNamespace(host={}))
        monkeypatch.setattr(searching, "source_place", lambda _: (".", ""))
        tolerance = SimpleNamespace(image=SimpleNamespace(median=1e-4, block=1e-2))
        monkeypatch.setattr(searching, "load_profile", lambda _: tolerance)
        base, head = (replace(work.before(), bytes=int(figure(set(side)))) for side in ("", NAMES))
        found = HunkSearch(work.BASE, work.HEAD)
        with pytest.raises(KeyboardInterrupt) if interrupted else nullcontext():
            searching.find_hunks(None, found, [diff_ledgers(base, head)], (), say=lambda _: None)
        return found

    return run


def names(cause) -> str:
    return "".join(share.hunk.head_path[0] for share in cause.hunks)


SIZE = work.before().bytes


def test_one_hunk_is_all(search):
    (cause,) = search(lambda one: SIZE * (2 if "c" in one else 1)).causes
    assert names(cause) == "c" and cause.minimal and cause.innocent
    assert [share.share for share in cause.hunks] == [1.0]


def test_two_hunks_carry_their_parts(search):
    found = search(lambda one: SIZE * (1 + 0.3 * ("b" in one) + 0.7 * ("g" in one)))
    (cause,) = found.causes
    assert names(cause) == "bg" and cause.innocent
    assert [share.share for share in cause.hunks] == [pytest.approx(0.3), pytest.approx(0.7)]
    said = hunk_payload(found)["causes"][0]["sentence"]
    assert "b.py:1 (30 %), g.py:1 (70 %); the other 6 hunks are innocent" in said


def test_a_gain_beside_a_loss_is_found(search):
    """Head is 20 % above base: one hunk alone would be far above it."""
    (cause,) = search(lambda one: SIZE * (1 + 0.5 * ("b" in one) - 0.3 * ("g" in one))).causes
    assert names(cause) == "bg" and cause.innocent
    assert [share.share for share in cause.hunks] == [pytest.approx(2.5), pytest.approx(-1.5)]


def test_hunks_that_act_together_only(search):
    found = search(lambda one: SIZE * (2 if {"a", "h"} <= one else 1))
    (cause,) = found.causes
    assert names(cause) == "ah" and [share.share for share in cause.hunks] == [None, None]
    assert "caused by a.py:1 + h.py:1 together" in hunk_payload(found)["causes"][0]["sentence"]


def test_combinations_that_do_not_run_are_counted(search):
    found = search(lambda one: None if ("b" in one) != ("c" in one) else SIZE * (2 if "b" in one else 1))
    (cause,) = found.causes
    assert names(cause) == "bc" and found.unresolved and cause.innocent
    assert any(f"{found.unresolved} combination" in str(block) for block in hunk_blocks(found))


def test_either_of_two_is_enough(search):
    """Head without the set still shows the change, and that is said."""
    found = search(lambda one: SIZE * (2 if one & {"b", "g"} else 1))
    (cause,) = found.causes
    assert len(cause.hunks) == 1 and not cause.innocent and cause.rest is not None
    assert (
        "nothing is shown: head without the set still gives" in hunk_payload(found)["causes"][0]["sentence"]
    )


def test_one_that_changes_the_program_needs_no_recording(search):
    found = search(lambda one: SIZE * (2 if "c" in one else 1), moving="c")
    assert found.recorded == 0 and names(found.causes[0]) == "c"
    assert hunk_payload(found)["same_program"] == 7


def test_an_interrupt_leaves_what_is_known(search):
    tries = []

    def figure(one):
        tries.append(one)
        if len(tries) > 6:
            raise KeyboardInterrupt
        return SIZE * (2 if {"a", "b", "c"} <= one else 1)

    found = search(figure, interrupted=True)
    assert not found.done and not found.causes[0].minimal
    assert "the search was interrupted" in str(hunk_blocks(found))
    assert "is caused by some of" in hunk_payload(found)["causes"][0]["sentence"]


def test_nothing_changed(search):
    found = search(lambda one: SIZE)
    assert found.done and not found.causes
    assert hunk_blocks(found)[1] == "no exact work changed by what counts, so no hunk causes anything"


def test_the_document_has_what_each_hunk_does_alone(search):
    found = search(lambda one: SIZE * (1 + 0.3 * ("b" in one) + 0.7 * ("g" in one)))
    hunks = hunk_payload(found)["causes"][0]["hunks"]
    assert [(one["place"], one["change"]) for one in hunks] == [("b.py:1", "-1 +1"), ("g.py:1", "-1 +1")]
    for one, part in zip(hunks, (0.3, 0.7), strict=True):
        assert (one["alone"], one["without"]) == (pytest.approx(part), pytest.approx(part))
    assert any(isinstance(block, Bullets) for block in hunk_blocks(found))


def host(steps: int) -> HostWork:
    counts = (HostCount(HostKind.LINE, "p/m.py", 3, "f", "", steps),)
    return HostWork("tricubic-1-float32", "3.11", (HostPhase(Phase.WARM, counts),))


def test_targets_are_of_the_smallest_workload_and_the_largest_first():
    large, small = work.before(workload="large", ops=10_000), work.before(workload="small")
    diffs = [diff_ledgers(one, replace(one, bytes=one.bytes * 2)) for one in (large, small)]
    found = hunk_targets(diffs, diff_host(host(100), host(1000), None))
    assert [(one.workload, one.metric, one.phase) for one in found] == [
        ("tricubic-1-float32", HostMetric.STEPS, Phase.WARM),
        ("small", "track_bytes_per_pixel", ""),
    ]
    assert found[0].places == ("p/m.py:3",)


class TestPlaces:
    """`path:first-last`, and whether a line stands in a hunk."""

    LINES = TreeHunk("old.py", "new.py", Hunk(4, 6, ("a", "b"), ("c",)))

    def test_lines(self):
        assert (self.LINES.place, self.LINES.change) == ("new.py:6", "-2 +1")
        gone = TreeHunk("m.py", "m.py", Hunk(4, 4, ("a", "b"), ()))
        assert gone.place == "m.py:4-5"

    def test_files(self):
        ends = {
            "added": ("", "n.py"),
            "deleted": ("n.py", ""),
            "renamed": ("o.py", "n.py"),
            "replaced": ("n.py",) * 2,
        }
        assert {how: TreeHunk(*paths).change for how, paths in ends.items()} == {how: how for how in ends}
        assert TreeHunk("o.py", "n.py").place == "o.py → n.py"

    def test_a_line_of_either_side(self):
        held = [
            place
            for place in ("new.py:6", "new.py:7", "old.py:4", "old.py:5", "old.py:6", "x.py:6")
            if self.LINES.holds(place)
        ]
        assert held == ["new.py:6", "old.py:4", "old.py:5"]
        assert TreeHunk("", "n.py").holds("n.py:12")
