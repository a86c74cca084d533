"""Test runs for the tests of a capture's figures: figures as on a small machine."""

from __future__ import annotations

from dataclasses import replace

from nbbench.capture.figures import figures_of
from nbbench.capture.findings import judged
from nbbench.captured import CallUsage, Findings, RunOutcome, TestRecord, TestRun
from nbbench.documents import document
from nbbench.report.capture import capture_metrics, next_actions, sentences
from nbbench.report.markdown import as_markdown
from nbbench.report.stamp_page import result_blocks

BANDWIDTH = "tests/test_at_perf_003.py::TestBandwidth::test_bandwidth"
ASSERTION = "bandwidths[2048] >= bandwidths[512] * 0.5"
HELD = "np.float64(0.3906) >= (np.float64(0.3662) * 0.5)"

FAILED_OUTPUT = """
  AT-PERF-003: bandwidth by size
[HKL stats] h=[-7,-0] hit_rate=4194304/4194304 (100.00%)
  512×512: 0.036s, ~0.2 GB/s effective
  1024×1024: 0.152s, ~0.2 GB/s effective
  2048×2048: 1.760s, ~0.1 GB/s effective
"""
FAILED_LONGREPR = """
    def test_bandwidth():
>       assert bandwidths[2048] >= bandwidths[512] * 0.5, (
            f"falls with size: {bandwidths[2048]:.3f} GB/s against {bandwidths[512]:.3f} GB/s"
        )
E       AssertionError: falls with size: 0.053 GB/s against 0.163 GB/s
E       assert np.float64(0.05327) >= (np.float64(0.16276) * 0.5)

tests/test_at_perf_003.py:50: AssertionError
"""

QUIET = CallUsage(
    wall_s=3.0, user_s=2.2, system_s=0.1, minor_faults=40_000, others_cpu_s=0.02, torch_threads=1
)
MAPPING = CallUsage(
    wall_s=3.0,
    user_s=1.5,
    system_s=1.4,
    minor_faults=1_281_000,
    involuntary_switches=40,
    others_cpu_s=0.02,
    torch_threads=1,
)
CROWDED = replace(QUIET, others_cpu_s=2.4, steal_s=0.2, involuntary_switches=3_195, torch_threads=4)


def failed_test(usage: CallUsage = MAPPING) -> TestRecord:
    return TestRecord(
        BANDWIDTH,
        "failed",
        3.1,
        stdout=FAILED_OUTPUT,
        message="AssertionError: falls with size: 0.053 GB/s against 0.163 GB/s",
        longrepr=FAILED_LONGREPR,
        usage=usage,
    )


def passed_test(usage: CallUsage = QUIET) -> TestRecord:
    output = "  512×512: 0.016s, ~0.4 GB/s effective\n  2048×2048: 0.240s, ~0.4 GB/s effective\n"
    return TestRecord(BANDWIDTH, "passed", 3.1, stdout=output, usage=usage, held=((ASSERTION, HELD),))


def run_of(*tests: TestRecord, cores: int = 2, **more: object) -> TestRun:
    known = {"started": True, "exit_status": 0, "torch": "2.13.0", "cores": cores}
    return TestRun(tests=tests, **{**known, **more})  # type: ignore[arg-type]


def found(
    run: TestRun,
    *,
    environment: dict[str, str] | None = None,
    dtype: str = "",
) -> Findings:
    return judged(run, figures_of(run.tests), environment or {}, dtype)


FAILED = found(run_of(failed_test(), exit_status=1), dtype="float64")


def page(capture: Findings, outcome: RunOutcome) -> str:
    said = "\n".join(f"- {sentence}" for sentence in sentences(capture, outcome))
    actions = "\n".join(f"- {action}" for action in next_actions(capture, outcome))
    return (
        f"{outcome.verdict}\n\n{said}\n\n## Results\n\n"
        f"{as_markdown(result_blocks(capture))}\n"
        f"## Next Actions\n\n{actions}\n"
    )


CASES = {
    "capture_figures.md": lambda: page(FAILED, RunOutcome.FAILED),
    "capture_figures.json": lambda: document("metrics", capture_metrics(FAILED, RunOutcome.FAILED)),
}
