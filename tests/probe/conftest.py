"""What all tests of the probes share."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def few_objects():
    """A recording looks for tensors among all objects: what was imported before is not looked through."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
