"""The parts of `make torture` in their smallest form: whatever happens, nothing is lost, doubled or stale."""

from __future__ import annotations

import pytest

from tests.torture.clocks import clock_jumps
from tests.torture.databases import two_databases
from tests.torture.disks import full_disks
from tests.torture.kills import kills
from tests.torture.odd_files import DAMAGES, odd_files
from tests.torture.secrets import harmless_text

pytestmark = pytest.mark.e2e


def test_kills() -> None:
    found = kills(2)
    assert found["kills"] == 2
    assert found["wrong"] == []


def test_full_disks() -> None:
    found = full_disks(1)
    if not found["disks"]:
        pytest.skip(str(found["why"]))
    assert found["wrong"] == []


UNCHANGED = ("RECORD", "base64", "hashes", "JSON", "pytest log")


def test_clock_jumps() -> None:
    found = clock_jumps(2)
    if not found["jumps"]:
        pytest.skip(str(found["why"]))
    assert found["wrong"] == []


def test_odd_files() -> None:
    assert odd_files(len(DAMAGES))["wrong"] == []


def test_killed_imports() -> None:
    assert two_databases(1)["wrong"] == []


@pytest.mark.thorough
def test_harmless_text_stays_as_it_is() -> None:
    counts = harmless_text(1)["by kind"]
    assert isinstance(counts, dict)
    assert {kind: counts[kind].split()[0] for kind in UNCHANGED} == dict.fromkeys(UNCHANGED, "0")
