"""Plan items: criteria, their newest values, verdicts."""
