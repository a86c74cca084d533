"""Adds nbbench's offline page of flagged regressions to `asv publish`."""

from __future__ import annotations


def install() -> None:
    """Define the publisher class (asv finds it among OutputPublisher's subclasses)."""
