"""The scorecard: nbbench's decisions beside those of its peers, on identical data and tolerances.

`make scorecard` writes docs/scorecard.md; `python -m tests.bench.scorecard --quick` is a smoke run.
"""
