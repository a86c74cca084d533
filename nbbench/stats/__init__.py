"""Statistics of nbbench: pure functions from arrays to values.

`summary` describes samples, `changepoint` finds changes in a history, `paired` decides base against head
while rounds come in, `fdr` corrects for many tests. Formulas, sources and measured rates: docs/statistics.md.
"""
