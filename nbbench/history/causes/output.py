"""A phase prints more or less."""

from __future__ import annotations

from nbbench.history.causes.facts import Evidence, Facts
from nbbench.model import Cause


def find(facts: Facts) -> Evidence | None:
    """The bytes to stdout and stderr, with the lines that write them."""
    return facts.host_work(Cause.OUTPUT)
