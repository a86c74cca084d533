"""Sizes of caches, from the kernel or pretended."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbbench.probe.resources import PRETENDED, cache_of_level, last_level_cache_bytes, parse_size


def machine(root: Path, *caches: tuple[str, str, str]) -> Path:
    """A root whose first processor has these caches: level, type and size."""
    for number, (level, kind, size) in enumerate(caches):
        folder = root / f"sys/devices/system/cpu/cpu0/cache/index{number}"
        folder.mkdir(parents=True)
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{text}\n")
    return root


def test_the_largest_cache_is_the_last_level(tmp_path: Path) -> None:
    inner = (("1", "Instruction", "64K"), ("1", "Data", "48K"), ("2", "Unified", "2048K"))
    root = machine(tmp_path, *inner, ("3", "Unified", "33M"))
    assert last_level_cache_bytes(root, {}) == 33 * 2**20
    assert [cache_of_level(level, root) for level in (1, 2, 3, 4)] == [48 * 2**10, 2**21, 33 * 2**20, 0]


@pytest.mark.parametrize("size", ["unknown", "0K", ""])
def test_what_is_not_known_is_zero(tmp_path: Path, size: str) -> None:
    assert last_level_cache_bytes(tmp_path, {}) == 0
    assert last_level_cache_bytes(machine(tmp_path, ("3", "Unified", size)), {}) == 0


@pytest.mark.parametrize(("text", "size"), [("300", 300 * 2**20), ("4", 4 * 2**20), ("0", 0), ("x", 0)])
def test_another_machine_can_be_pretended(tmp_path: Path, text: str, size: int) -> None:
    assert last_level_cache_bytes(tmp_path, {PRETENDED: text}) == size


@pytest.mark.parametrize(
    ("text", "size"), [("512", 512), ("32K", 2**15), ("1 GiB", 2**30), ("1.5M", 0), ("big", 0)]
)
def test_sizes_as_they_are_written(text: str, size: int) -> None:
    assert parse_size(text) == size
