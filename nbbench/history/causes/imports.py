"""A phase imports more or fewer modules of other packages."""

from __future__ import annotations

from nbbench.history.causes.facts import Evidence, Facts
from nbbench.model import Cause


def find(facts: Facts) -> Evidence | None:
    """The modules, with the lines that import them."""
    return facts.host_work(Cause.IMPORT)
