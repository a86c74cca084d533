"""A difference line by line: matched lines, dtype shifts, what the work explains."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import work_samples as work
from work_samples import BASE, HEAD, MATCH, PHYS, SIM, after, before, timing

from nbbench.ledger import FileDiff, Hunk
from nbbench.model import NotJudged, NotJudgedReason
from nbbench.report.explain_sentences import explanation_sentence, share_sentence
from nbbench.work.ledger_diff import diff_ledgers
from nbbench.work.line_match import LineMatch
from nbbench.work.steps import by_function, dtype_shifts, find_steps
from nbbench.work.work_share import Explanation, WorkShare, explained_share

DIFF = diff_ledgers(before(), after(), MATCH)


def rows(diff=DIFF):
    return {(c.function, c.op, c.dtype): c for c in diff.lines}


MORE = DIFF.head.bytes_per_pixel - DIFF.base.bytes_per_pixel


class TestLines:
    def test_moved_lines_are_no_change_and_the_rest_adds_up(self) -> None:
        assert {key[1] for key in rows()} == {"div", "where", "ones_like", "mul"}
        assert sum(c.delta for c in DIFF.lines) == pytest.approx(
            DIFF.head.bytes_per_pixel - DIFF.base.bytes_per_pixel
        )
        assert DIFF.moved_lines == 1

    def test_a_line_that_both_trees_have_is_named_in_both_whether_it_ran_or_not(self) -> None:
        new = rows()["polarization", "mul", "float32"]
        assert (new.where, new.was, new.count_before, new.gone) == (f"{PHYS}:60", f"{PHYS}:60", 0, False)
        gone = rows()["sincg", "ones_like", "float32"]
        assert (gone.where, gone.was, gone.count_after, gone.gone) == (f"{PHYS}:40", f"{PHYS}:40", 0, False)

    def test_a_new_line_was_nowhere(self) -> None:
        new = rows()["Simulator.run", "div", "float32"]
        assert (new.where, new.was) == (f"{SIM}:22", "")

    def test_without_a_diff_functions_are_matched_by_name(self) -> None:
        assert {(c.function, c.op, c.dtype): c.delta for c in diff_ledgers(before(), after()).lines} == {
            key: c.delta for key, c in rows().items()
        }

    def test_each_rewritten_line_is_named_with_its_own_cost(self) -> None:
        """H11: +24, +16 and +24 B/pixel on three lines, not +64 on one of them."""
        places = ((8, 12), (18, 4), (40, 12))
        old = work.ledger(tuple(work.line(PHYS, at, "sincg", "div", cost) for at, cost in places))
        new = work.ledger(tuple(work.line(PHYS, at, "sincg", "div", 3 * cost) for at, cost in places))
        files = (FileDiff(PHYS, PHYS, tuple(Hunk(at, at, ("a",), ("b",)) for at, _ in places)),)
        found = diff_ledgers(old, new, LineMatch(files)).lines
        assert [(row.was, row.where, row.delta) for row in found] == [
            (f"{PHYS}:{at}", f"{PHYS}:{at}", 2.0 * cost) for at, cost in ((40, 12), (8, 12), (18, 4))
        ]

    def test_a_rewritten_line_is_paired_within_its_hunk_first(self) -> None:
        """H11: two new lines beside a rewritten one; it stays what it was, and theirs is new."""
        old = work.ledger((work.line(PHYS, 18, "sincg", "mul", 12),))
        costs = {8: (16, 2), 18: (36, 4), 40: (16, 2)}
        new = work.ledger(tuple(work.line(PHYS, at, "sincg", "mul", *cost) for at, cost in costs.items()))
        files = (FileDiff(PHYS, PHYS, tuple(Hunk(at, at, ("a",), ("b",)) for at in costs)),)
        found = diff_ledgers(old, new, LineMatch(files)).lines
        assert [(row.was, row.where, row.delta) for row in found] == [
            (f"{PHYS}:18", f"{PHYS}:18", 24.0),
            ("", f"{PHYS}:40", 16.0),
            ("", f"{PHYS}:8", 16.0),
        ]

    def test_a_line_split_in_two_keeps_its_hunk(self) -> None:
        """H11: the new line before it is no other version of it."""
        old = work.ledger((work.line(PHYS, 18, "sincg", "mul", 12),))
        costs = {8: (16, 2), 19: (36, 4), 20: (24, 2)}
        new = work.ledger(tuple(work.line(PHYS, at, "sincg", "mul", *cost) for at, cost in costs.items()))
        files = (FileDiff(PHYS, PHYS, (Hunk(8, 8, (), ("n",)), Hunk(18, 19, ("a",), ("b", "c")))),)
        found = diff_ledgers(old, new, LineMatch(files)).lines
        assert {(row.was, row.where, row.delta) for row in found} == {
            (f"{PHYS}:18", f"{PHYS}:19", 24.0),
            ("", f"{PHYS}:20", 24.0),
            ("", f"{PHYS}:8", 16.0),
        }

    def test_a_rewritten_line_is_paired_with_the_one_that_costs_the_same(self) -> None:
        old = work.ledger((work.line(PHYS, 8, "sincg", "div", 12), work.line(PHYS, 9, "sincg", "div", 4)))
        new = work.ledger((work.line(PHYS, 9, "sincg", "div", 4),))
        files = (FileDiff(PHYS, PHYS, (Hunk(8, 8, ("a", "b"), ("d", "e")),)),)
        (row,) = diff_ledgers(old, new, LineMatch(files)).lines
        assert (row.was, row.gone, row.delta) == (f"{PHYS}:8", True, -12.0)

    def test_scalars_are_ranked_by_their_calls(self) -> None:
        old = work.ledger(
            (work.line(PHYS, 8, "sincg", "div", 0, 1), work.line(PHYS, 9, "sincg", "mul", 0, 1))
        )
        new = work.ledger(
            (work.line(PHYS, 8, "sincg", "div", 0, 3), work.line(PHYS, 9, "sincg", "mul", 0, 9))
        )
        new = replace(new, lines=(replace(new.lines[0], bytes=40), new.lines[1]))
        assert [row.op for row in diff_ledgers(old, new).lines] == ["mul", "div"]

    def test_a_function_that_moved_to_another_file_is_no_change(self) -> None:
        other = "nanobrag_torch/models/optics.py"
        moved = tuple(
            replace(o, path=other, line=o.line + 3) if o.path == PHYS else o for o in work.BASE_LINES
        )
        head = work.ledger(moved)
        assert diff_ledgers(before(), head).lines == ()
        gone = (
            FileDiff(PHYS, "", (Hunk(1, 1, ("x",) * 50, ()),)),
            FileDiff("", other, (Hunk(1, 1, (), ("y",) * 50),)),
        )
        assert diff_ledgers(before(), head, LineMatch(gone)).lines == ()

    def test_a_name_that_is_new_twice_is_not_matched_by_name(self) -> None:
        one = work.line("a.py", 1, "Old.forward", "mul", 8)
        two = [work.line(path, 1, "Old.forward", "mul", 8) for path in ("b.py", "c.py")]
        found = diff_ledgers(work.ledger((one,)), work.ledger(tuple(two)))
        assert len(found.lines) == 3

    def test_a_renamed_file_is_no_change(self) -> None:
        moved = tuple(
            replace(o, path="nanobrag_torch/sim.py") if o.path == SIM else o for o in work.BASE_LINES
        )
        match = LineMatch([FileDiff(SIM, "nanobrag_torch/sim.py", ())])
        found = diff_ledgers(before(), work.ledger(moved), match)
        assert found.lines == ()
        assert found.moved_lines == 2

    def test_an_operation_that_changed_its_line_within_a_function_is_no_change(self) -> None:
        lines = [replace(o, line=13) if o.op == "mul" else o for o in work.BASE_LINES]
        match = LineMatch([FileDiff(SIM, SIM, (Hunk(12, 12, ("a",), ("b",)),))])
        assert diff_ledgers(before(), work.ledger(tuple(lines)), match).lines == ()


class TestKinds:
    def test_dtype_shifts_say_what_widened_and_where(self) -> None:
        (shift,) = dtype_shifts(DIFF)
        assert (shift.before, shift.after, shift.word) == ("float32", "float64", "widened")
        assert (shift.function, shift.delta) == ("sincg", 32.0)
        (back,) = dtype_shifts(diff_ledgers(after(), before()))
        assert (back.word, back.delta) == ("narrowed", -32.0)

    def test_functions_add_up(self) -> None:
        found = by_function(DIFF)
        assert [(f.function, f.delta) for f in found][:2] == [("polarization", 36.0), ("Simulator.run", 28.0)]
        assert sum(f.delta for f in found) == pytest.approx(
            DIFF.head.bytes_per_pixel - DIFF.base.bytes_per_pixel
        )


class TestShare:
    def test_equal_ratios_are_explained_and_half_is_half(self) -> None:
        assert explained_share(0.4, 0.4) == 1.0
        assert explained_share(0.2, 0.4) == 0.5
        assert explained_share(-0.2, -0.4) == 0.5
        assert explained_share(0.9, 0.4) == 1.0
        assert explained_share(-0.2, 0.4) == explained_share(0.2, 0.0) == explained_share(0.0, 0.3) == 0.0

    def test_the_cost_weighs_bytes_and_operations(self) -> None:
        share = WorkShare(timing(), diff_ledgers(before(), after()), 0.03)
        cost = [one.bytes + one.ops * 50_000 for one in (before(), after())]
        assert share.diff.cost_effect == pytest.approx(math.log(cost[1] / cost[0]))
        assert share.share == pytest.approx(share.diff.cost_effect / math.log(2.4))
        assert "explained, the rest is bandwidth" in share_sentence(share)
        assert f"{share.share * 100:.0f} %" in share_sentence(share)

    @pytest.mark.parametrize(
        ("after_s", "more", "words", "share"),
        [
            (0.0505, {}, "within 3 %: the work predicts", None),
            (
                0.060,
                {"intervals": ((0.049, 0.058), (0.055, 0.066))},
                "within the spread of its samples",
                None,
            ),
            (0.040, {}, "but the work predicts", 0.0),
            (0.055, {}, "more than was measured", 1.0),
        ],
    )
    def test_what_is_said(self, after_s, more, words, share) -> None:
        found = WorkShare(timing(after_s=after_s, **more), diff_ledgers(before(), after()), 0.03)
        assert words in share_sentence(found)
        assert found.share == share

    def test_work_that_fits_explains_it(self) -> None:
        cost = [one.bytes + one.ops * 50_000 for one in (before(), after())]
        found = WorkShare(timing(after_s=0.05 * cost[1] / cost[0]), diff_ledgers(before(), after()), 0.03)
        assert found.share == pytest.approx(1.0)
        assert share_sentence(found).endswith("and explains it")

    def test_dispatch_bound_work_is_told_by_the_operation(self) -> None:
        base, head = (replace(one, bytes=one.bytes // 10**6) for one in (before(), after()))
        assert "an operation" in share_sentence(WorkShare(timing(), diff_ledgers(base, head), 0.03))


class TestSentence:
    def told(self, *diffs, base=BASE, head=HEAD, **more) -> str:
        return explanation_sentence(Explanation(base, head, diffs, **more))

    def test_more_work_names_the_workload_the_function_and_the_image(self) -> None:
        told = self.told(DIFF)
        assert told.startswith(
            "11111111 → 22222222: bandwidth-1024-float32 moves 76.0 → 164.0 B/pixel (2.16×)"
        )
        assert "most in polarization (+36.0) and Simulator.run (+28.0)" in told
        assert "values widened from float32 to float64, first of all in sincg" in told
        assert told.endswith("The image changed: not like for like.")

    def test_the_same_work_says_so_and_counts_what_moved(self) -> None:
        moved = tuple(replace(o, line=o.line + 3) if o.path == SIM else o for o in work.BASE_LINES)
        match = LineMatch([FileDiff(SIM, SIM, (Hunk(1, 1, (), ("a", "b", "c")),))])
        told = self.told(diff_ledgers(before(), work.ledger(moved), match))
        assert told.endswith(
            "the work is the same, to the byte, in bandwidth-1024-float32; "
            "2 lines that cost something only moved."
        )

    def test_more_memory_and_what_could_not_be_compared_belong_to_the_sentence(self) -> None:
        """H3: the same traffic is not the whole story."""
        kept = diff_ledgers(before(), replace(before(), peak_live_bytes=60 * work.PIXELS))
        told = self.told(kept, not_compared=(NotJudged("oversample-2", NotJudgedReason.FAILING, BASE.hash),))
        assert "Peak memory of bandwidth-1024-float32: 40 MiB → 60 MiB (+50.0 %)." in told
        assert told.endswith("1 workload could not be compared.")

    def test_an_image_alone_is_no_other_work(self) -> None:
        head = replace(before(), image_digest="z", image_blocks=(2.0,) * 64)
        assert "to the byte" in self.told(diff_ledgers(before(), head))
        assert "The image changed" in self.told(diff_ledgers(before(), head))

    def test_equal_trees_and_nothing(self) -> None:
        same = self.told(diff_ledgers(before(), before()), head=replace(HEAD, tree=BASE.tree))
        assert "the same tree" in same
        assert self.told().endswith("nothing could be compared.")

    def test_time_is_told_where_it_was_measured(self) -> None:
        assert "Time of" not in self.told(DIFF)
        share = WorkShare(timing(), DIFF, 0.03)
        assert "Time of bandwidth-1024-float32: measured 2.4×" in self.told(DIFF, shares=(share,))

    def test_other_operations_with_the_same_totals(self) -> None:
        other = tuple(replace(o, op="exp") if o.op == "add" else o for o in work.BASE_LINES)
        assert "the same totals by other operations" in self.told(diff_ledgers(before(), work.ledger(other)))


class TestSteps:
    def test_broken_commits_are_named_and_passed_over(self) -> None:
        commits = [replace(BASE, hash=f"{i}" * 40, position=i) for i in range(1, 6)]
        ledgers = [before(), before(), before(error="NameError: x\nmore"), after(), after()]
        found = find_steps([(c, {one.workload: one}) for c, one in zip(commits, ledgers, strict=True)])
        assert [(s.commit.position, s.error) for s in found] == [(3, "NameError: x"), (4, "")]
        assert found[1].base == commits[1]

    def test_lines_are_matched_where_there_is_a_diff(self) -> None:
        pairs = [(c, {one.workload: one}) for c, one in ((BASE, before()), (HEAD, after()))]
        (by_name,) = find_steps(pairs)
        (by_diff,) = find_steps(pairs, match_of=lambda base, head: MATCH if base is BASE else None)
        assert by_name.diff.head.bytes_per_pixel == by_diff.diff.head.bytes_per_pixel
        assert by_diff.diff.lines == diff_ledgers(before(), after(), MATCH).lines != by_name.diff.lines
