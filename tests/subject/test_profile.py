"""The subject is a profile: shipped, inline, or none at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbbench.config import (
    ImageTolerance,
    Settings,
    asv_setting,
    checkout_settings,
    load_settings,
    shipped_profiles,
)
from nbbench.errors import ConfigError
from nbbench.subject.profile import Profile, load_profile, shipped_variables

ROOT = Path(__file__).parents[2]
INLINE = """
[tool.nbbench.subject]
package = "blur"
measured_path = "blur"
branch = "trunk"
environment = { BLUR_SAFE = "1" }
image = { median = 1e-6, block = 1e-5, reason = "sums of 64 numbers" }
[tool.nbbench.subject.presets.fast]
command = ["pytest", "-q"]
"""


def project(folder: Path, table: str = "", conf: str = "{}") -> Settings:
    (folder / "asv.conf.json").write_text(conf)
    (folder / "pyproject.toml").write_text(table)
    return load_settings(folder, environ={})


class TestWhich:
    def test_by_name(self, tmp_path):
        found = project(tmp_path, '[tool.nbbench]\nsubject = "nanobragg"\nbranch = "mine"')
        assert (found.package, found.branch) == ("nanobrag_torch", "mine")
        assert load_profile(found).presets.keys() == {"cpu-perf", "vec-dtype"}

    def test_inline(self, tmp_path):
        found = project(tmp_path, INLINE, '{"branches": ["main"]}')
        assert (found.package, found.measured_path, found.branch) == ("blur", "blur", "trunk")
        profile = load_profile(found)
        assert profile.environment == {"BLUR_SAFE": "1"}
        assert profile.image == ImageTolerance(1e-6, 1e-5, "sums of 64 numbers")
        assert profile.preload == ("blur",)
        assert (profile.gate_workloads, profile.plans, profile.demo) == ("", {}, "")

    def test_inline_on_top_of_a_shipped_one(self, tmp_path):
        found = project(tmp_path, '[tool.nbbench.subject]\nextends = "nanobragg"\nbranch = "fork"')
        assert (found.package, found.branch) == ("nanobrag_torch", "fork")

    def test_by_the_projects_name_in_asv_conf(self, tmp_path):
        conf = '{\n  // "project": "other",\n  "project": "nanoBragg PyTorch"}'
        assert project(tmp_path, conf=conf).package == "nanobrag_torch"

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ('{"project": "one \\"line\\""}', 'one "line"'),
            ('{\n  "project":\n    "next line"\n}', "next line"),
            ('{\n  // "project": "old",\n  "project": "new"\n}', "new"),
            ('{"branches": ["a", "b"]}', ""),
            ("", ""),
        ],
    )
    def test_what_asv_conf_says(self, tmp_path, text, found):
        (tmp_path / "asv.conf.json").write_text(text)
        assert asv_setting(tmp_path / "asv.conf.json", "project") == found

    def test_another_project_is_measured_without_a_profile(self, tmp_path):
        found = project(tmp_path, conf='{"project": "blur", "branches": ["dev"]}')
        assert (found.package, found.branch, found.measured_path) == ("", "dev", ".")
        assert "PYTORCH" not in found.plan
        assert load_profile(found) == Profile(project="blur")

    def test_a_checkout_outside_of_any_project(self, tmp_path):
        assert checkout_settings(tmp_path).package == "nanobrag_torch"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('[tool.nbbench]\nsubject = "nothing"', "no subject profile 'nothing'"),
        ("[tool.nbbench]\nsubject = 3", "neither a name nor a table"),
        ("[tool.nbbench.subject]\nspeed = 1", "no field speed"),
        ("[tool.nbbench.subject]\npreload = [1]", r"preload\[0\]: Expected str"),
        ('[tool.nbbench.subject]\ngate_workloads = "("', "not a regular expression"),
        ("[tool.nbbench.subject]\ndemo = 1", "demo: Expected str"),
        ("[tool.nbbench.subject.environment]\nA = 1", r"environment\[...\]: Expected str"),
        ("[tool.nbbench.subject.image]\nmedian = 2", "image.median: Expected float <= 1"),
        ("[tool.nbbench.subject.image]\nmean = 0.1", "image: there is no field mean"),
        ('[tool.nbbench.subject]\nplan_criteria = "x.toml"', "no field plan_criteria"),
        ('[tool.nbbench.subject]\nmeasured_path = "../x"', "inside the subject"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, table, message):
    with pytest.raises(ConfigError, match=message):
        load_profile(project(tmp_path, table))


def test_the_shipped_profiles_are_whole():
    assert list(shipped_profiles()) == ["nanobragg"]
    profile = load_profile(load_settings(ROOT, environ={}))
    assert profile.environment == {"NANOBRAGG_DISABLE_COMPILE": "1"}
    assert "PERF-PYTORCH-004" in profile.plans
    assert profile.image.reason
    assert set(shipped_variables()) == {"NANOBRAGG_", "NB_"}


def test_the_subjects_name_stands_in_its_profile_alone():
    """`grep -ri nanobrag nbbench/` finds nothing outside of it, in names of files neither."""
    own = ROOT / "nbbench" / "subject" / "subjects" / "nanobragg"
    files = [
        path for path in (ROOT / "nbbench").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    other = [path for path in files if not path.is_relative_to(own)]
    assert len(other) < len(files)
    found = [path for path in other if b"nanobrag" in path.name.lower().encode() + path.read_bytes().lower()]
    assert found == []
