"""Named presets: built in, changed and added by pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbbench.config import Settings, checkout_settings
from nbbench.errors import ConfigError, UsageError
from nbbench.subject.profile import find_preset, presets


def project(folder: Path, table: str) -> Settings:
    (folder / "pyproject.toml").write_text(table)
    return checkout_settings(folder)


def test_two_are_built_in(tmp_path: Path) -> None:
    known = presets(checkout_settings(tmp_path))
    assert list(known) == ["cpu-perf", "vec-dtype"]
    assert known["vec-dtype"].cluster == "CLUSTER-VEC-001"
    assert known["vec-dtype"].environment == known["cpu-perf"].environment


def test_a_project_changes_one_and_adds_another(tmp_path: Path) -> None:
    settings = project(
        tmp_path,
        """
        [tool.nbbench.presets.cpu-perf]
        timeout_s = 1800
        environment = { OMP_NUM_THREADS = "2" }
        [tool.nbbench.presets.wide]
        extends = "cpu-perf"
        command = ["pytest", "-x"]
        [tool.nbbench.presets.bare]
        command = ["true"]
        """,
    )
    changed = find_preset(settings, "cpu-perf")
    assert changed.timeout_s == 1800
    assert dict(changed.environment)["OMP_NUM_THREADS"] == "2"
    assert dict(changed.environment)["CUDA_VISIBLE_DEVICES"] == "-1"
    assert find_preset(settings, "wide").command == ("pytest", "-x")
    assert find_preset(settings, "wide").timeout_s == 1800
    assert find_preset(settings, "bare").environment == {}


def test_an_unknown_name_tells_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        find_preset(checkout_settings(tmp_path), "gpu-perf")
    assert error.value.hint == "known: cpu-perf, vec-dtype"


@pytest.mark.parametrize(
    "fields",
    [
        "timeout_s = 0",
        'timeout_s = "long"',
        "timeout_s = true",
        'command = "pytest"',
        "command = []",
        "environment = { A = 1 }",
        "cluster = 7",
        'colour = "red"',
        'extends = "nothing"',
    ],
)
def test_bad_fields_are_named(tmp_path: Path, fields: str) -> None:
    settings = project(tmp_path, f"[tool.nbbench.presets.mine]\n{fields}\n")
    with pytest.raises(ConfigError, match=fields.split(" ")[0]):
        presets(settings)


def test_a_name_may_not_lead_anywhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lower-case"):
        presets(project(tmp_path, '[tool.nbbench.presets."../x"]\n'))
