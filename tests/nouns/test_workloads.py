"""Which workload a series runs is what the suite declares, once."""

from __future__ import annotations

import itertools
import json
import pickle
from pathlib import Path

import pytest

from nbbench.config import load_settings
from nbbench.errors import ConfigError
from nbbench.measure.process_env import export_workloads
from nbbench.model import Phase, SeriesKey
from nbbench.workloads import (
    Declared,
    Scale,
    Workload,
    Workloads,
    current_workloads,
    ledger_families,
    phase_of,
    read_workloads,
    suite_workloads,
    use_workloads,
    workload_of,
)

ROOT = Path(__file__).parents[2]
SUITE = """
from nbbench.model import Phase
from nbbench.workloads import Declared, Workload
WORKLOADS = [Workload.of("blur", 64, n=n) for n in (8, 16)]
BENCHMARKS = [Declared("suite.Blur", families=("blur",)), Declared("suite.time_import", Phase.IMPORT)]
"""


SMALL = {"size": "512", "dtype": "'float32'"}
WIDE = {"size": "512", "dtype": "'float64'"}


def key(benchmark: str, **params: str) -> SeriesKey:
    return SeriesKey(benchmark, "1", tuple(params.items()), "m", "e")


@pytest.mark.parametrize(
    ("series", "workload", "phase", "families"),
    [
        (key("bandwidth.Warm.time_run", **SMALL), "bandwidth-512-float32", Phase.WARM, 1),
        (key("bandwidth.PeakMemory.peakmem_run", **WIDE), "bandwidth-512-float64", Phase.MEMORY, 1),
        (key("bandwidth.DtypeRatio.track_time_ratio", size="512"), None, Phase.WARM, 1),
        (key("bandwidth.Baseline.peakmem_nothing"), None, Phase.MEMORY, 0),
        (key("c_ratio.CRatio.track_time_ratio", size="1024"), "bandwidth-1024-float32", Phase.WARM, 1),
        (key("vectorisation.Sources.time_generate"), "sources-3969", Phase.WARM, 1),
        (key("vectorisation.MultiSource.time_run", n="9"), "multi_source-9", Phase.WARM, 1),
        (key("vectorisation.Counts.track_x", workload="'absorption-4'"), "absorption-4", Phase.WARM, 1),
        (key("vectorisation.Exponent.track_exponent", loop="'tricubic'"), None, Phase.WARM, 1),
        (key("cold_start.ColdStart.timeraw_import"), None, Phase.IMPORT, 0),
        (key("cold_start.ColdStart.timeraw_construct"), None, Phase.CONSTRUCT, 0),
        (key("cold_start.ColdStart.timeraw_first_run"), None, Phase.FIRST, 0),
        (key("other.time_x", n="9"), None, None, 1),
    ],
)  # fmt: skip
def test_a_series_by_its_declaration(series, workload, phase, families):
    assert workload_of(series) == workload
    assert phase_of(series) == phase
    assert len(ledger_families(series)) == families


def test_an_undeclared_benchmark_may_have_to_do_with_any_ledger():
    assert ledger_families(key("other.time_x")) == ("",)


def test_every_benchmark_on_record_is_declared_and_every_warm_time_has_its_workload():
    found = json.loads((ROOT / "results" / "benchmarks.json").read_text(encoding="utf-8"))
    found.pop("version")
    assert [name for name in found if phase_of(key(name)) is None] == []
    own = ("cold_start", "acceptance")  # starting up; what the subject's own tests ask for
    timed = [one for one in found.values() if one["type"] == "time" and not one["name"].startswith(own)]
    assert len(timed) >= 8
    for one in timed:
        for values in itertools.product(*one["params"]):
            assert workload_of(key(one["name"], **dict(zip(one["param_names"], values, strict=True))))


def test_the_committed_declaration_is_the_suites():
    kept = read_workloads(ROOT / "results" / "workloads.jsonl")
    assert kept == suite_workloads(ROOT)
    assert kept.by_name["bandwidth-512-float64"] == Workload(
        "bandwidth-512-float64", 512 * 512, "float64", (("size", 512), ("dtype", "float64"))
    )


class TestProject:
    @pytest.fixture
    def project(self, tmp_path):
        (tmp_path / "asv.conf.json").write_text("{}")
        (tmp_path / "benchmarks").mkdir()
        (tmp_path / "benchmarks" / "workloads.py").write_text(SUITE)
        return tmp_path

    def test_the_suite_counts_before_anything_was_measured(self, project):
        load_settings(project)
        assert workload_of(key("suite.Blur.time_run", n="16")) == "blur-16"

    def test_measuring_exports_it_and_results_are_judged_by_what_was_exported(self, project):
        settings = load_settings(project)
        export_workloads(settings)
        kept = settings.results_dir / "workloads.jsonl"
        assert read_workloads(kept) == suite_workloads(project)
        before = kept.stat().st_mtime_ns
        export_workloads(settings)
        assert kept.stat().st_mtime_ns == before
        (project / "benchmarks" / "workloads.py").unlink()
        load_settings(project)
        assert phase_of(key("suite.time_import")) is Phase.IMPORT
        (project / "benchmarks" / "workloads.py").write_text(SUITE.replace("(8, 16)", "(8, 32)"))
        export_workloads(settings)
        assert "blur-32" in read_workloads(kept).by_name

    def test_another_projects_tree_has_no_workloads(self, tmp_path):
        use_workloads(tmp_path)
        assert current_workloads() == Workloads()
        assert workload_of(key("bandwidth.Warm.time_run", **SMALL)) is None

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("import nothing_of_this_name", "fails: ModuleNotFoundError"),
            ("WORKLOADS = []", "does not define 'BENCHMARKS'"),
            (SUITE + "WORKLOADS *= 2", "declared twice"),
            (SUITE + "WORKLOADS = []", "names 'blur'"),
        ],
    )
    def test_a_wrong_declaration_is_said(self, project, text, message):
        (project / "benchmarks" / "workloads.py").write_text(text)
        with pytest.raises(ConfigError, match=message):
            suite_workloads(project)

    @pytest.mark.parametrize("text", ["", "no json", '{"kind": "other", "schema": 2}', '{"schema": 1}', "[]"])
    def test_a_damaged_export_is_said(self, tmp_path, text):
        path = tmp_path / "workloads.jsonl"
        path.write_text(text)
        with pytest.raises(ConfigError, match="cannot be read"):
            read_workloads(path)


def test_the_nearest_declaration_counts():
    found = Workloads(
        (Workload("a-1", 1), Workload("b-1", 1)),
        (Declared("m", families=("a",)), Declared("m.C.time_x", Phase.FIRST, ("b",))),
    )
    assert found.families_of(key("m.C.time_x")) == ("b-",)
    assert found.families_of(key("m.C.time_y")) == ("a-",)
    assert found.declared("mother.time_x") is None


def test_a_declaration_travels_to_other_processes():
    """`detect` shares its work among processes, which know no project."""
    sent = pickle.loads(pickle.dumps(current_workloads()))
    use_workloads(sent)
    assert workload_of(key("bandwidth.Warm.time_run", **SMALL)) == "bandwidth-512-float32"


class TestScale:
    SCALE = Scale.of("blur", "size", range(8, 41, 8), dtype="float32")

    def test_it_is_named_like_its_workloads_with_n_in_place_of_the_value(self):
        assert self.SCALE.name == "blur-N-float32"

    @pytest.mark.parametrize(
        ("params", "value"),
        [
            ({"size": 512, "dtype": "float32"}, 512),
            ({"size": 512, "dtype": "float64"}, None),
            ({"size": 512}, None),
            ({"dtype": "float32"}, None),
        ],
    )
    def test_workloads_that_lie_on_it(self, params, value):
        assert self.SCALE.value_of(Workload.of("blur", 1, **params)) == value
        assert self.SCALE.value_of(Workload.of("sharpen", 1, **params)) is None

    @pytest.mark.parametrize("values", [(8, 16, 24), (8, 8, 16, 24), (16, 8, 24, 32), ()])
    def test_too_few_values_are_refused(self, values):
        with pytest.raises(ConfigError, match="blur-N needs 4 values that rise"):
            Scale.of("blur", "size", values)

    def test_it_is_exported_and_its_name_is_its_own(self, tmp_path):
        found = Workloads((Workload("blur-8", 1),), scales=(self.SCALE,))
        path = tmp_path / "workloads.jsonl"
        path.write_text(found.to_text())
        assert read_workloads(path) == found
        with pytest.raises(ConfigError, match="declared twice"):
            Workloads(scales=(self.SCALE, self.SCALE))
