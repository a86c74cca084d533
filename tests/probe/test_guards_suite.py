"""benchmarks/guards.py on a small repository: what it compares an image with, and what it says is missing."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import guards
from benchmarks.workloads import GOLDEN

IMAGE = np.arange(16, dtype=np.float32)
SHIPPED = GOLDEN["triclinic_P1"]


def git(place: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(["git", *identity, "-C", str(place), *arguments], capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three commits: the measured path, documentation, the measured path again; one image is shipped."""
    made = tmp_path / "subject"
    source = made / guards.MEASURED / "x.py"
    source.parent.mkdir(parents=True)
    (made / SHIPPED).parent.mkdir(parents=True)
    (made / SHIPPED).write_bytes(IMAGE.tobytes())
    git(tmp_path, "init", "-q", str(made))
    for text, page in (("before", "1"), ("before", "2"), ("after", "2")):
        source.write_text(text)
        (made / "page").write_text(page)
        git(made, "add", ".")
        git(made, "commit", "-q", "-m", text)
    monkeypatch.setenv("NBBENCH_GIT_DIR", str(made / ".git"))
    monkeypatch.setenv("ASV_COMMIT", git(made, "rev-parse", "HEAD"))
    return made


def case(values: Any) -> SimpleNamespace:
    return SimpleNamespace(run=lambda: torch.tensor(values, dtype=torch.float64))


def test_a_golden_image_is_the_one_that_the_commit_ships(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "golden_case", lambda name: case(2 * IMAGE.reshape(4, 4)))
    found = guards._against_golden("triclinic_P1")
    assert found == {"correlation": pytest.approx(1.0), "sum_error": pytest.approx(1.0)}


def test_what_the_clone_lacks_is_named_and_no_failure(place: Path) -> None:
    found = guards._each(GOLDEN, guards._against_golden)["simple_cubic"]
    assert found["error"].startswith(
        "NotImplementedError: this copy of the subject has no tests/golden_data/"
    )
    assert "simple_cubic.bin" in found["error"]


def test_the_commit_before_is_the_one_that_changed_the_measured_path(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def image_of(root: Path, workload: str, path: Path) -> torch.Tensor:
        seen.append((root / "nanobrag_torch" / "x.py").read_text())
        return torch.from_numpy(IMAGE)

    monkeypatch.setattr(guards, "_image_of", image_of)
    monkeypatch.setattr(guards, "suite_cases", lambda: {"w": lambda: case(IMAGE)})
    found = guards._against_before("w")
    assert seen == ["before"] and found == {"correlation": pytest.approx(1.0), "sum_error": 0.0}
    monkeypatch.setenv("ASV_COMMIT", git(place, "rev-parse", "HEAD~2"))
    with pytest.raises(NotImplementedError, match="no commit before"):
        guards._against_before("w")


def test_without_the_repository_both_skip_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NBBENCH_GIT_DIR", raising=False)
    with pytest.raises(NotImplementedError, match="not at hand"):
        guards._against_golden("triclinic_P1")
