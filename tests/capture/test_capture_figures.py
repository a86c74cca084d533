"""Figures and assertions read from what tests print."""

from __future__ import annotations

import pytest
from capture_samples import ASSERTION, BANDWIDTH, FAILED_LONGREPR, failed_test, passed_test

from nbbench.capture.figures import checks_of, figures_of, parse_figures, read_check
from nbbench.captured import TestRecord


def parsed(text: str) -> list[tuple[str, float, str]]:
    return [(f.name, f.value, f.unit) for f in parse_figures(text)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "  512×512: 0.043s, ~0.1 GB/s effective",
            [("512² time", 0.043, "s"), ("512² bandwidth", 0.1, "GB/s")],
        ),
        (
            "PyTorch 256x256: 0.010s, 6.55 MPixels/s",
            [("256² PyTorch time", 0.01, "s"), ("256² throughput", 6.55, "MPixels/s")],
        ),
        ("Scaling factor: 0.43x (expected ≥ 0.5x)", [("Scaling factor", 0.43, "x")]),
        ("  Time ratio (64/32):   1.68x slower", [("Time ratio (64/32)", 1.68, "x")]),
        ("  float64 / float32: 1.65x", [("float64 / float32", 1.65, "x")]),
        ("  CV:       3.2%", [("CV", 3.2, "%")]),
        ("  Throughput:       12.3 M evals/s", [("Throughput", 12.3, "M evals/s")]),
        ("  Compiled time: 12.34ms", [("Compiled time", 12.34, "ms")]),
        ("  4 threads: 0.120s (speedup: 1.90x)", [("4 threads time", 0.12, "s"), ("speedup", 1.9, "x")]),
        ("  Correlation:     0.999912", [("Correlation", 0.999912, "")]),
        ("  Points evaluated: 1,000,000", [("Points evaluated", 1e6, "")]),
        ("peak 1.5e3 MiB", [("peak memory", 1500.0, "MiB")]),
        ("float32 speedup 1.10x below 1.2x threshold", [("float32 speedup", 1.1, "x")]),
    ],
)
def test_forms_of_lines(line: str, expected: list[tuple[str, float, str]]) -> None:
    assert parsed(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "[HKL stats] h=[-7,-0] k=[-12,12] hit_rate=4194304/4194304 (100.00%)",
        "auto-selected 1-fold oversampling",
        "  Output tensor: torch.Size([512, 512]), torch.float32",
        "Python 3.11.7, pytest-9.2.0",
        "============== 512x512 ==============",
        "/usr/lib/x86_64/lib3s 2026-10-15 12s3",
        "commit 8b8c48d0 5x5x5 cells",
        "requires at least 2.5x",
        "",
    ],
)
def test_chatter_is_no_figure(line: str) -> None:
    assert parsed(line) == []


def test_a_heading_gives_its_size_and_dtype_to_the_lines_under_it() -> None:
    text = (
        "Memory usage for 2048×2048 detector (float64):\n  Actual memory used:  612.3 MB\nelsewhere: 2.0 MB\n"
    )
    used, elsewhere = parse_figures(text)
    assert (used.size, used.dtype, used.name) == (2048, "float64", "2048² float64 Actual memory used")
    assert (elsewhere.size, elsewhere.dtype) == (0, "")


def test_every_bandwidth_comes_with_its_size_line_and_rounding() -> None:
    figures = figures_of([failed_test()])
    found = {f.size: f for f in figures if f.kind == "bandwidth" and f.size}
    assert {size: f.value for size, f in found.items()} == {512: 0.2, 1024: 0.2, 2048: 0.1}
    assert found[512].line == "512×512: 0.036s, ~0.2 GB/s effective"
    assert found[512].resolution == pytest.approx(0.05)
    assert all(f.test == BANDWIDTH for f in figures)
    assert {f.value for f in figures if "size" in f.line} >= {0.053, 0.163}


def test_a_failing_assertion_in_pytests_own_figures() -> None:
    test = failed_test()
    (check,) = checks_of([test])
    assert check.name == "bandwidths[2048] / bandwidths[512]"
    assert (check.op, check.threshold, check.passed) == (">=", 0.5, False)
    assert check.value == pytest.approx(0.05327 / 0.16276)
    assert check.text == f"assert {ASSERTION}"


def test_an_assertion_that_held_in_pytests_own_figures() -> None:
    (check,) = checks_of([passed_test()])
    assert check.name == "bandwidths[2048] / bandwidths[512]" and check.passed is True
    assert check.value == pytest.approx(0.3906 / 0.3662)


def test_of_an_assertion_in_a_loop_the_last_figures_count() -> None:
    test = TestRecord("t", "passed", held=(("cv <= 15.0", "3.0 <= 15.0"), ("cv <= 15.0", "4.0 <= 15.0")))
    (check,) = checks_of([test])
    assert (check.name, check.value, check.threshold) == ("cv", 4.0, 15.0)


@pytest.mark.parametrize(
    ("expression", "source", "expected"),
    [
        ("3.1 <= 2.0", "ratio <= 2.0", ("ratio", "<=", 3.1, 2.0, False)),
        ("3.5 <= 5.2", "3.5 <= ratio", ("ratio", ">=", 5.2, 3.5, True)),
        ("0.17 >= (0.5 * 0.4)", "b >= 0.5 * a", ("b / a", ">=", 0.17 / 0.4, 0.5, False)),
        ("0.17 >= (0.4 * 0.5)", "b >= a * 0.5", ("b / a", ">=", 0.17 / 0.4, 0.5, False)),
        ("tensor(0.9, dtype=torch.float64) > 0.999", "c > 0.999", ("c", ">", 0.9, 0.999, False)),
        ("-1 < 0", "", ("asserted", "<", -1.0, 0.0, True)),
    ],
)
def test_comparisons(expression: str, source: str, expected: tuple[object, ...]) -> None:
    check = read_check(expression, source)
    assert check is not None
    assert (check.name, check.op) == expected[:2]
    assert check.value == pytest.approx(expected[2]) and check.threshold == expected[3]
    assert check.passed is expected[4]


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os') > 1",
        "a >= b",
        "1 < 2 < 3",
        "1 == 1",
        "9**9**9 > 1",
        "'x' > 1",
        "(",
        "1e999 > 1",
        "1/0 > 1",
    ],
)
def test_what_is_not_one_comparison_of_numbers(expression: str) -> None:
    assert read_check(expression) is None


def test_the_sample_holds_what_pytest_prints() -> None:
    assert ASSERTION.split(" >=")[0] in FAILED_LONGREPR
