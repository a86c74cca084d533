"""From history and statistics to events, causes, verdicts; no I/O."""
