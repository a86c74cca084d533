"""Golden cases of `nbbench explain` and `nbbench ledger`; test_report_golden.py runs them."""

from __future__ import annotations

from dataclasses import replace

import work_samples as work

from nbbench.documents import document
from nbbench.model import NotJudged, NotJudgedReason
from nbbench.report.explain import explain_blocks, explain_payload
from nbbench.report.ledger_view import ledger_blocks, steps_blocks
from nbbench.report.markdown import as_markdown
from nbbench.report.text import as_text
from nbbench.work.ledger_diff import diff_ledgers
from nbbench.work.steps import find_steps
from nbbench.work.work_share import Explanation, WorkShare

NAME = "bandwidth-1024-float32"
TIMING = work.timing(
    intervals=((0.049, 0.051), (0.118, 0.123)),
)
HOSTILE = "fails <b>|`now`\x1b[31m"


def explanation() -> Explanation:
    """One workload that moved, one that only became an image, one that did nothing."""
    base, head = work.before(), work.after()
    image = replace(base, workload="tricubic-1-float32", image_digest="z", image_blocks=(2.0,) * 64)
    pairs = [
        (base, head),
        (replace(base, workload=image.workload), image),
        (replace(base, workload="sources-3969"), replace(base, workload="sources-3969")),
    ]
    return Explanation(
        work.BASE,
        work.HEAD,
        tuple(diff_ledgers(*pair, work.MATCH) for pair in pairs),
        (WorkShare(TIMING, diff_ledgers(base, head), 0.03),),
        not_compared=(NotJudged("oversample-3", NotJudgedReason.FAILING, work.BASE.hash, HOSTILE),),
        left_out=1,
    )


def _steps() -> list:
    broken = replace(work.HEAD, hash="3" * 40, position=13)
    image = replace(work.HEAD, hash="4" * 40, position=14)
    found = [
        (work.BASE, {NAME: work.before()}),
        (work.HEAD, {NAME: work.after()}),
        (broken, {NAME: work.before(error=f"NameError: {HOSTILE}")}),
        (image, {NAME: work.after(image_digest="c", image_blocks=(3.0,) * 64)}),
    ]
    return find_steps(found)


CASES = {
    "explain.txt": lambda: as_text(explain_blocks(explanation(), lines=4)) + "\n",
    "explain.md": lambda: as_markdown(explain_blocks(explanation(), lines=4)),
    "explain.json": lambda: document("explain", explain_payload(explanation()), version=2),
    "ledger.txt": lambda: as_text(ledger_blocks(work.BASE, {NAME: work.before()}, by="line", top=3)) + "\n",
    "ledger_steps.txt": lambda: as_text(steps_blocks(4, _steps(), [], by_name=False)) + "\n",
    "ledger_steps.md": lambda: as_markdown(steps_blocks(4, _steps(), [], by_name=True)),
}
