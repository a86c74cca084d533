"""`make scorecard`: docs/scorecard.md, or a summary of the tuning half for whoever works on the detector."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.bench.scorecard import evaluate, gate, rows, table

HEAD = """# Scorecard: change detection against its peers

Written by `make scorecard`; do not edit. Every method gets the same series, and a change found within two
points of its true place counts as found. A report whose levels differ by less than half of the step asked
about (5 % on the real branch) is dropped, for every method. Where a method has settings, *best* is the
setting with the highest F1 in that very row, picked afterwards, which is more than a user could do; nbbench
has one setting for all rows. F1 is shown with false alarms per 1,000 points; rows with nothing to find show
alarms alone. The detector was tuned on one half of the data (even streams, the first half of each A/A
recording, the first recording of the branch in either order); this table reports the other half.

The machine's own speed wanders, and in bursts all series of a recording took 30 to 70 % longer at once,
while nothing else ran on their core: no statistics on one series can tell that from code. What can be done
about it comes before the statistics. *Measured in the order of `nbbench run`*: neighbours on the branch are
measured far apart in time, so that a burst is noise all over the branch instead of a level in it. Planted
rows use the recorded values in the order of time and in that order; the branch was recorded in both. Every
method gains by it.

nbbench is asked as `nbbench regressions` asks it: `judge_history` and `build_events` over what is on record,
with the settings of a project that sets none (`min_effect` is set where a row asks for less). A change that
an event explains by the environment or by contention is no report; the place is the middle of the event's
commits. Series of one recording are judged together, planted ones alone. `nbbench` alone is what plain asv
results give, with the time at which asv began each. *+ telemetry*: what waited for a core is on record.
*+ canary*: fixed programs that were timed in the same process. *+ ledger*: the exact work and peak of
every tree, from the committed ledgers (a frame of 256² is taken to do what one of 512² does). *+ work*: where
every value on one side of a change of work was disturbed no time can be told from the values; the event then
names the workload whose work changed and predicts its time, and this counts as its report. A row's title says
the order of measuring; without such a word it is commit after commit.

*Held out*: `branch24` to `branch27` and `aa8` were recorded on 2026-11-28 by the tool of that day, with
the measured process alone on one core and other work on the other, while rules 30 were made. Nobody looked
at them before the rules were done. `branch20` to `branch23` and `aa7`, of hours before, were *held out for
rules 29*, and `branch16` to `branch19` and `aa6`, of the day before, *for rules 28*: their rows were read
then, and again to see that rules 30 hold there, and no rule was chosen on them. `branch7` to `branch11` and
`aa5`, of that day (`branch11` beside work on both cores), were held out for rules 26 and 27; rules 28 to
30 were made after a look at them. All of these are noisier than the older ones. Telemetry of `branch7` and
`branch10` and of the older recordings commit after commit is the count of involuntary switches of one
process for all series; in all others, as in the product, it is the share of its time that the process of a
series waited for a core.

Tuned on: even streams, first halves, `branch1`, `branch4`, the committed results. Reported: odd streams,
second halves, `branch2`, `branch3`, `branch5`, `branch6`. What a look at reported rows led to: levels at
known places are tested beside each other (`nbbench/stats/known.py`), images that vary by themselves
confirm nothing, and four turns between two levels are no mixture. Rules 28 (values that are lent, also in
`known.py`) were chosen on all recordings up to `branch14`, with the ledger, rules 29 (a level that is shared
from end to end) on the same, without one, and rules 30 (what the work and the other series let expect,
`nbbench/stats/expected.py`) on the same, with it. So of the rows of the real branch
only those of the held-out parts are blind. After a look at the reported half two changes were taken back.
All else that the series share (`nbbench/stats/shared.py`), and that of two collections which disagree the
faster one counts, was made on `branch1`, `branch4`, both as one history collected twice, first halves and
committed results. How large a change of the committed results is, their own values say, with the same two
standard errors as elsewhere.

The older recordings (`aa1`, `aa2`) have canaries of under a millisecond beside a process of eight
workloads; the later ones (`aa3` to `aa8`, `branch4` to `branch6`, `branch8`, `branch9` and from
`branch11` on) have those of `nbbench run` beside every value. That a disturbed canary leaves its value
out was decided after a look at the bursts of the second half of `aa2`, and that bursts of thirty values
are sought as well after a look at `branch4`. The order of measuring was tried on both halves of `aa1` to
`aa3` before it was built; `aa4` and the branch in that order were recorded afterwards. Which programs the
canaries are was chosen by their correlation with the series over all of `aa3`.

"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scorecard", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run: 4 series a row")
    parser.add_argument("--tune", action="store_true", help="the tuning half instead of the reported one")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose group or name contains TEXT")
    parser.add_argument("--mine", action="store_true", help="nbbench alone")
    parser.add_argument("--count", type=int, default=24, help="series in each planted row")
    parser.add_argument("--gates", type=int, default=2000, help="simulated gates in each row of the gate")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--asv-data", help="folder of other projects' asv results (or NBBENCH_ASV_DATA)")
    parser.add_argument("--out", type=Path, help="file to write; standard output if not given")
    parser.add_argument("--gate-only", action="store_true", help="make the gate's section of --out anew")
    asked = parser.parse_args()
    if asked.gate_only:
        page = asked.out.read_text(encoding="utf-8")
        asked.out.write_text(gate.with_section(page, asked.gates), encoding="utf-8")
        return
    print(run(asked), file=asked.out.open("w", encoding="utf-8") if asked.out else sys.stdout, end="")


def run(asked: argparse.Namespace) -> str:
    half = 0 if asked.tune else 1
    data = rows.asv_data(asked.asv_data)
    count = 4 if asked.quick else asked.count
    chosen = [
        i
        for i, row in enumerate(rows.all_rows(half, count, data))
        if asked.only in f"{row.group}: {row.name}"
    ]
    work = [(i, half, count, data, asked.mine) for i in chosen]
    if asked.jobs > 1:
        with ProcessPoolExecutor(asked.jobs) as pool:
            results = list(pool.map(_one, work))
    else:
        results = [_one(w) for w in work]
    gates = "" if asked.only or asked.mine else gate.section(20 if asked.quick else asked.gates)
    return HEAD + _versions() + gates + table.markdown(results)


def _one(work: tuple[int, int, int, Path | None, bool]) -> evaluate.Result:
    """One row; it is made anew in the process that evaluates it, since a row holds functions."""
    index, half, count, data, mine = work
    return evaluate.evaluate(rows.all_rows(half, count, data)[index], mine=mine)


def _versions() -> str:
    found = []
    for name in ("asv", "ruptures", "skchange", "apache-otava"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return f"Peers: {', '.join(found)}.\n\n"


if __name__ == "__main__":
    main()
