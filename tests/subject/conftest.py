"""The demo's repository, written once, and clones of it that a test may change."""

import shutil

import pytest

from nbbench.subject.subjects.nanobragg import demo


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    path = tmp_path_factory.mktemp("pristine") / "subject"
    demo.write_demo(path)
    return path


@pytest.fixture
def source(pristine, tmp_path):
    """A clone of the user's that a test may change."""
    return shutil.copytree(pristine, tmp_path / "clone", symlinks=True)
