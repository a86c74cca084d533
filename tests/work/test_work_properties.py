"""What must hold of every difference of work: nothing lost, nothing from nothing, shares within bounds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import work_samples as work
from hypothesis import given, settings
from hypothesis import strategies as st

from nbbench.ledger import FileDiff, Hunk, Ledger, LedgerLine
from nbbench.report.explain_sentences import share_sentence
from nbbench.work.ledger_diff import diff_ledgers
from nbbench.work.line_match import LineMatch
from nbbench.work.steps import by_function, dtype_shifts
from nbbench.work.work_share import WorkShare, explained_share

FIXED = settings(derandomize=True, deadline=None, max_examples=150)
PATHS = ("a.py", "b.py", "c.py")
texts = st.sampled_from([f"value_{i} = tensor_operation_{i}(first, second)" for i in range(6)] + ["x", ""])
lines = st.builds(
    LedgerLine,
    st.sampled_from([*PATHS, ""]),
    st.integers(1, 20),
    st.sampled_from(["f", "g", "C.h"]),
    st.sampled_from(["mul", "add", "where"]),
    st.sampled_from(["float32", "float64"]),
    st.integers(1, 5),
    st.integers(0, 10**6),
)


def _ledger(found: list[LedgerLine]) -> Ledger:
    unique = {(o.path, o.line, o.function, o.op, o.dtype): o for o in found}
    return work.ledger(tuple(unique.values()))


ledgers = st.builds(_ledger, st.lists(lines, max_size=12))


@st.composite
def diffs(draw: st.DrawFn) -> LineMatch:
    """Any edit of up to three files, as hunks that follow each other."""
    files = []
    for path in draw(st.sets(st.sampled_from(PATHS))):
        hunks, base, head = [], 1, 1
        for _ in range(draw(st.integers(0, 3))):
            gap = draw(st.integers(1, 4))
            base, head = base + gap, head + gap
            removed, added = (tuple(draw(st.lists(texts, max_size=3))) for _ in range(2))
            hunks.append(Hunk(base, head, removed, added))
            base, head = base + len(removed), head + len(added)
        renamed = draw(st.sampled_from([path, f"new_{path}"]))
        files.append(FileDiff(path, renamed, tuple(hunks)))
    return LineMatch(files)


@FIXED
@given(diffs(), st.sampled_from(PATHS), st.integers(1, 40))
def test_matching_there_and_back_is_the_same_line(match: LineMatch, path: str, number: int) -> None:
    head = match.head_of(path, number)
    assert head is None or match.base_of(*head) == (path, number)


@FIXED
@given(ledgers)
def test_a_ledger_differs_from_itself_in_nothing(one: Ledger) -> None:
    diff = diff_ledgers(one, one, LineMatch(()))
    assert (diff.lines, diff.moved_lines, dtype_shifts(diff), by_function(diff)) == ((), 0, [], [])


@FIXED
@given(ledgers, ledgers, diffs())
def test_lines_add_up_to_the_totals_however_they_are_matched(a: Ledger, b: Ledger, match: LineMatch) -> None:
    for way in (None, match):
        diff = diff_ledgers(a, b, way)
        total = diff.head.bytes_per_pixel - diff.base.bytes_per_pixel
        assert sum(c.delta for c in diff.lines) == pytest.approx(total, abs=1e-6)
        assert sum(c.count_after - c.count_before for c in diff.lines) == diff.head.ops - diff.base.ops
        assert sum(f.delta for f in by_function(diff)) == pytest.approx(total, abs=1e-6)


@FIXED
@given(ledgers, st.integers(1, 30))
def test_code_that_moved_down_is_no_change(one: Ledger, shift: int) -> None:
    moved = tuple(replace(o, line=o.line + shift) if o.path else o for o in one.lines)
    match = LineMatch([FileDiff(path, path, (Hunk(1, 1, (), ("#",) * shift),)) for path in PATHS])
    assert diff_ledgers(one, replace(one, lines=moved), match).lines == ()


effects = st.one_of(st.floats(-5, 5), st.sampled_from([0.0, math.inf, -math.inf, math.nan]))


@FIXED
@given(effects, effects)
def test_shares_are_within_0_and_1(predicted: float, measured: float) -> None:
    assert 0.0 <= explained_share(predicted, measured) <= 1.0


@FIXED
@given(ledgers, ledgers, st.floats(1e-6, 1e3), st.floats(1e-6, 1e3))
def test_a_share_is_always_told_in_a_sentence(a: Ledger, b: Ledger, before: float, after: float) -> None:
    found = WorkShare(work.timing(before, after), diff_ledgers(a, b), 0.03)
    assert found.share is None or 0.0 <= found.share <= 1.0
    said = share_sentence(found)
    assert said.startswith("measured ") and "nan" not in said
