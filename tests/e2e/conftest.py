"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import pytest
from e2e_project import Project, make_project


@pytest.fixture(scope="session")
def new_project(tmp_path_factory):
    """Make one more project."""

    def make(name: str, **options) -> Project:
        return make_project(tmp_path_factory.mktemp(name), **options)

    return make


@pytest.fixture(scope="session")
def project(new_project) -> Project:
    """The project that most tests share, with a smaller suite; results pile up in it."""
    return new_project("e2e", smaller=(512, 2048))
