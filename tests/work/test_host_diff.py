"""Two commits' host work compared: what differs on which line, and what is large enough to count."""

from __future__ import annotations

import pytest

from nbbench.host import HostCount, HostKind, HostPhase, HostWork
from nbbench.ledger import FileDiff, Hunk
from nbbench.model import Phase
from nbbench.report.causes import evidence_sentences
from nbbench.work.count_diff import HostDiff, HostMetric, diff_all, diff_host
from nbbench.work.line_match import LineMatch

MINE = "pkg/run.py"


def count(amount: int, kind: HostKind = HostKind.LINE, line: int = 5, name: str = "", function: str = "run"):
    return HostCount(kind, MINE, line, function, name, amount)


def work(*counts: HostCount, phase: Phase = Phase.WARM, name: str = "w") -> HostWork:
    return HostWork(name, "3.11", (HostPhase(phase, counts),))


def test_equal_work_has_no_difference():
    assert diff_host(work(count(3)), work(count(3)), None) == []


def test_a_line_that_moved_is_no_difference():
    match = LineMatch([FileDiff(MINE, MINE, (Hunk(1, 1, (), ("# new", "# lines")),))])
    assert diff_host(work(count(3, line=5)), work(count(3, line=7)), match) == []


def test_the_largest_line_comes_first():
    base = work(count(3), count(1, line=9))
    head = work(count(4), count(400, line=9), count(7, HostKind.OUTSIDE, line=9, name="len"))
    (diff,) = diff_host(base, head, LineMatch([]))
    assert (diff.metric, diff.before, diff.after) == (HostMetric.STEPS, 4, 411)
    assert [one.where for one in diff.lines] == [f"{MINE}:9", f"{MINE}:9", f"{MINE}:5"]
    first = evidence_sentences((diff.record,))
    assert first[:2] == ["w, warm run: 4 steps → 411 steps (103×)", f"{MINE}:9 run: executed 1 → 400"]


def test_bytes_have_their_unit_and_one_is_singular():
    held = work(count(12 * 2**20, HostKind.MEMORY, name=""), count(1, HostKind.MODULE, name="wave"))
    memory, module = (evidence_sentences((d.record,)) for d in reversed(diff_host(work(), held, None)))
    assert memory[0].startswith("w, warm run: 0 B held → 12 MiB held")
    assert memory[1] == f"{MINE}:5 run: holds 0 B → 12 MiB"
    assert module[0].startswith("w, warm run: 0 modules → 1 module (")


def test_a_first_run_is_not_told_the_warm_runs_change_again():
    def both(first: int, warm: int) -> HostWork:
        phases = HostPhase(Phase.FIRST, (count(first),)), HostPhase(Phase.WARM, (count(warm),))
        return HostWork("w", "3.11", phases)

    assert [d.phase for d in diff_host(both(9, 5), both(209, 205), None)] == [Phase.WARM]
    assert [d.phase for d in diff_host(both(9, 5), both(309, 205), None)] == [Phase.FIRST, Phase.WARM]


def test_the_subjects_own_modules_are_steps():
    own, other = (count(1, HostKind.MODULE, name=name) for name in ("pkg.more", "wave"))
    (diff,) = diff_host(work(count(1)), work(count(1), own, other), None)
    assert (diff.metric, diff.before, diff.after, len(diff.lines)) == (HostMetric.MODULES, 0, 1, 1)


@pytest.mark.parametrize(
    ("metric", "phase", "before", "after", "counts"),
    [
        (HostMetric.STEPS, Phase.WARM, 1000, 1099, False),
        (HostMetric.STEPS, Phase.WARM, 1000, 1100, True),
        (HostMetric.STEPS, Phase.WARM, 10_000, 10_200, False),
        (HostMetric.STEPS, Phase.CONSTRUCT, 40, 70, True),
        (HostMetric.STEPS, Phase.CONSTRUCT, 10, 25, False),
        (HostMetric.MODULES, Phase.FIRST, 0, 1, True),
        (HostMetric.MODULES, Phase.IMPORT, 0, 9, False),
        (HostMetric.MODULES, Phase.IMPORT, 0, 10, True),
        (HostMetric.OUTPUT, Phase.WARM, 0, 8, True),
        (HostMetric.MEMORY, Phase.WARM, 0, 2**20, False),
        (HostMetric.MEMORY, Phase.WARM, 0, 2**21, True),
        (HostMetric.FILES, Phase.CONSTRUCT, 0, 3, False),
        (HostMetric.FILES, Phase.WARM, 0, 1, True),
    ],
)
def test_what_is_large_enough_to_count(metric, phase, before, after, counts):
    assert HostDiff("w", phase, metric, before, after, ()).counts is counts
    assert HostDiff("w", phase, metric, after, before, ()).counts is counts


def test_what_counts_comes_first_and_failures_are_left_out():
    base = {"a": work(count(5), name="a"), "b": work(count(5), name="b"), "c": work(count(1), name="c")}
    head = {"a": work(count(6), name="a"), "b": work(count(500), name="b")}
    head["c"] = HostWork("c", "3.11", error="it fails")
    assert [one.workload for one in diff_all(base, head)] == ["b", "a"]


def test_figures_of_a_first_run_are_what_a_warm_one_does_not():
    phases = HostPhase(Phase.FIRST, (count(9),)), HostPhase(Phase.WARM, (count(5),))
    figures = dict(HostWork("w", "3.11", phases).figures)
    assert (figures["track_host_steps_first_run"], figures["track_host_steps_warm_run"]) == (4.0, 5.0)


def test_what_a_line_imports_is_one_change_named_by_its_packages():
    names = (
        "sym",
        "sym.core",
        "sym.core.add",
        "sym.poly",
        "torch._fx",
        "torch._fx.graph",
        "mp",
        "num.ma",
        "num.ma.core",
    )
    (diff,) = diff_host(work(), work(*(count(1, HostKind.MODULE, name=name) for name in names)), None)
    assert [(line.name, line.before, line.after) for line in diff.lines] == [
        ("sym, num.ma, torch._fx, …", 0, 9)
    ]
    said = evidence_sentences((diff.record,))
    assert said[1] == f"{MINE}:5 run: imports sym, num.ma, torch._fx, … 0 modules → 9 modules"


@pytest.mark.parametrize("joined", [0, 1])
def test_what_was_recorded_of_one_side_alone_is_no_difference(joined):
    """`explain --bench` records tensors of what is asked for, and Python's work of the first workload."""
    line = HostCount(HostKind.LINE, "a.py", 1, "f", "", 10)
    moved = HostCount(HostKind.MOVED, "a.py", 1, "f", "add float64", 4096)
    python = HostWork("w", "3.11", (HostPhase(Phase.CONSTRUCT, (line,)),))
    tensors = HostWork("w", "", (HostPhase(Phase.CONSTRUCT, (moved,)),))
    sides = [python, python.joined(tensors)]
    assert diff_host(sides[joined], sides[1 - joined], None) == []
    sides = [tensors, python.joined(tensors)]
    assert diff_host(sides[joined], sides[1 - joined], None) == []
    assert len(diff_host(python.joined(tensors), python.joined(HostWork("w", "")), None)) == 1
