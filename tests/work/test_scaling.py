"""What laws say of two trees, and of what is on record."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from nbbench.growth import LineCounts, Quantity, ScaledWork
from nbbench.ledger import Ledger
from nbbench.model import Commit
from nbbench.report.causes import evidence_sentences
from nbbench.report.exact_work import law_text, scaling_blocks, scaling_payload
from nbbench.work.count_diff import diff_orders, diff_scales, scale_laws
from nbbench.workloads import Scale, Workload

VALUES = (8, 16, 24, 32, 40)
COMMIT = Commit("a" * 40, "b" * 40, datetime(2026, 1, 5, tzinfo=UTC), "blur")
SCALE = Scale.of("blur", "size", VALUES, dtype="float32")


def work(**lines):
    """A scale whose steps are those of these lines of a.py, by function."""
    found = [
        LineCounts(Quantity.WARM, "a.py", number, name, tuple(at(n) for n in VALUES))
        for number, (name, at) in enumerate(lines.items(), start=1)
    ]
    total = tuple(map(sum, zip(*(one.counts for one in found), strict=True)))
    return ScaledWork("blur-N-float32", "size", "3.11", VALUES, ((Quantity.WARM, total),), tuple(found))


LINEAR = work(whole=lambda n: 100, rows=lambda n: 3 * n)
QUADRATIC = work(whole=lambda n: 100, pairs=lambda n: n * n, rows=lambda n: 3 * n)


def test_the_line_whose_count_grows_faster_is_named():
    (change,) = diff_orders(LINEAR, QUADRATIC)
    assert (change.before, change.after) == (1, 2)
    assert [line.function for line in change.lines] == ["pairs"]
    (said,) = evidence_sentences((change.record,))
    assert said == ("host steps, warm run of blur-N-float32 grow as N² instead of as N, at a.py:2 pairs")


def test_a_lower_order_names_the_line_that_grew():
    (change,) = diff_orders(QUADRATIC, work(whole=lambda n: 5))
    (said,) = evidence_sentences((change.record,))
    assert said.endswith("grow not at all instead of as N², before at a.py:2 pairs, a.py:3 rows")


def test_other_coefficients_are_no_other_order():
    assert not diff_orders(LINEAR, work(whole=lambda n: 9000, rows=lambda n: 70 * n))


def test_what_failed_is_not_compared():
    broken = replace(QUADRATIC, error="NameError: x")
    assert not diff_scales({"a": LINEAR}, {"a": broken}) and not diff_scales({}, {"a": QUADRATIC})
    assert len(diff_scales({"a": LINEAR}, {"a": QUADRATIC})) == 1


def ledger(name, size, ops):
    return replace(Ledger(name, 1, ops, 0, 0, 0, 0, (), "", "", ""), bytes=64 * size * size)


def test_laws_are_checked_against_what_is_on_record():
    scaled = replace(
        LINEAR,
        totals=(
            (Quantity.BYTES, tuple(64 * n * n for n in VALUES)),
            (Quantity.OPERATIONS, (7, 7, 7, 7, 7)),
            (Quantity.PEAK, (1, 5, 2, 9, 3)),
        ),
    )
    placed = [Workload.of("blur", 1, size=n, dtype="float32") for n in (512, 1024)]
    other = [
        Workload.of("blur", 1, size=512, dtype="float64"),
        Workload.of("other", 1, size=9, dtype="float32"),
    ]
    kept = {"blur-512-float32": ledger("blur-512-float32", 512, 7), "blur-1024-float32": ledger("", 1024, 70)}
    found = scale_laws(SCALE, scaled, [*placed, *other], kept, {})
    assert found.large == 2048
    assert found.off[Quantity.BYTES] == {512: 0.0, 1024: 0.0}
    assert found.off[Quantity.OPERATIONS] == {512: 0.0, 1024: 0.9}
    assert Quantity.PEAK not in found.off
    table = scaling_blocks(COMMIT, [found])[2]
    cells = {row[0]: row[1:] for row in table.rows}
    assert cells["bytes"] == ("64 N²", "exact at 512, 1,024", "256 MiB")
    assert cells["operations"] == ("7", "90 % off at 1,024", "")
    assert cells["peak live bytes"][0].startswith("no polynomial of degree ≤ 2 in N fits; ")
    plain = scaling_payload(COMMIT, [found])["scales"][0]["laws"]
    assert plain["bytes"]["coefficients"] == ["0/1", "0/1", "64/1"]
    assert plain["peak live bytes"]["coefficients"] == []


def test_laws_read_as_people_write_them():
    def text(at):
        work_of = work(one=at)
        return law_text(work_of.laws[Quantity.WARM])

    assert text(lambda n: 1685 * n * n + 24 * n + 96) == "1,685 N² + 24 N + 96"
    assert text(lambda n: n * (n - 1) // 2) == "1/2 N² - 1/2 N"
    assert text(lambda n: n * n - n) == "N² - N"
    assert text(lambda n: 0) == "0"
    assert text(lambda n: 12 * n + 5120) == "12 N + 5,120"
