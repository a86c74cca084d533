"""The dtype audit on small programs whose faults are known."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from nbbench.probe.dtypes import Call, audit, counted, first_line  # noqa: E402
from nbbench.probe.verdicts import NOT_HERE, NOTHING, VERDICTS, overall  # noqa: E402
from nbbench.record.redact import redact_text  # noqa: E402

ROOT = str(Path(__file__).parent)
X = torch.linspace(-1, 1, 1000)


def ran(run, *, dtype="float32", inputs=None, root=ROOT, **more):
    asked = getattr(torch, dtype)
    inputs = {"x": X.to(asked)} if inputs is None else inputs

    def build():
        pixels = max((t.numel() for t in inputs.values()), default=1)
        return Call(asked, pixels, inputs, lambda: (run(*inputs.values()),), **more)

    return audit("case", dtype, build, source_root=root)


class TestDtypes:
    def test_neutral(self):
        found = ran(lambda x: x * 2)
        assert (found["verdict"], found["reason"]) == ("neutral", "stays float32")
        assert found["inputs"] == [{"name": "x", "dtype": "float32", "shape": [1000], "device": "cpu"}]
        assert found["outputs"][0]["dtype"] == "float32"
        assert found["operations"] == 1

    def test_an_upcast_inside_is_found_with_its_line(self):
        def run(x):
            wide = x.to(torch.float64)
            return (wide * 2).to(torch.float32)

        found = ran(run)
        assert found["verdict"] == "upcasts"
        assert {row["operation"] for row in found["upcasts"]} == {"_to_copy", "mul"}
        assert {row["path"] for row in found["upcasts"]} == {"test_dtypes.py"}
        assert sum(row["bytes"] for row in found["upcasts"]) == 2 * 8000
        assert "16,000 B wider than float32, most at test_dtypes.py:" in found["reason"]

    def test_constants_and_small_matrices_are_no_upcast(self):
        def run(x):
            turn = torch.eye(3, dtype=torch.float64) @ torch.eye(3, dtype=torch.float64)
            return x * float(turn[0, 0])

        found = ran(run)
        assert found["verdict"] == "neutral"
        assert found["small_upcast_bytes"] >= 3 * 72
        assert "B of constants are wider" in found["reason"]

    def test_a_frame_in_bands_is_an_upcast(self):
        found = ran(lambda x: torch.cat([(band.double() + 1).float() for band in x.split(50)]))
        assert found["verdict"] == "upcasts"

    def test_one_point_is_the_whole_work(self):
        found = ran(lambda x: (x.double() + 1).float(), inputs={"x": torch.tensor(0.5)})
        assert found["verdict"] == "upcasts"

    @pytest.mark.parametrize(("asked", "made"), [("float32", "float64"), ("float64", "float32")])
    def test_wrong_output_dtype(self, asked, made):
        found = ran(lambda x: x.to(getattr(torch, made)), dtype=asked)
        assert found["verdict"] == "wrong output dtype"
        assert found["reason"] == f"{asked} was asked for, output is {made}"

    def test_every_output_counts(self):
        def build():
            return Call(torch.float32, 1000, {}, lambda: (X + 1, X.double()))

        found = audit("sources", "float32", build, source_root=ROOT)
        assert found["reason"] == "float32 was asked for, output 1 is float64"

    def test_float64_computed_in_float32_loses_precision(self):
        x = torch.linspace(0.1, 1, 1000, dtype=torch.float64)
        found = ran(lambda x: (x.float() * 3).double(), dtype="float64", inputs={"x": x}, exact=x * 3)
        assert found["verdict"] == "loses precision"


class TestFallbacks:
    def found(self, values, **more):
        exact = torch.tensor([1.5, 2.5, 3.25], dtype=torch.float64)
        fallbacks = {"default_F": torch.full((3,), 100.0, dtype=torch.float64), "the nearest": exact.floor()}
        return ran(
            lambda x: torch.tensor(values, dtype=torch.float32),
            inputs={"x": exact.float()}, exact=exact, fallbacks=fallbacks, **more,
        )  # fmt: skip

    def test_right_values(self):
        assert self.found([1.5, 2.5, 3.25])["verdict"] == "neutral"

    def test_the_fallback_is_named(self):
        assert self.found([1.0, 2.0, 3.0])["reason"] == "the values are the nearest"
        off = self.found([100.0] * 3, switched_off=lambda: True)
        assert off["verdict"] == "falls back"
        assert off["reason"] == "the values are default_F, interpolation is switched off"

    def test_right_values_but_switched_off(self):
        assert self.found([1.5, 2.5, 3.25], switched_off=lambda: True)["verdict"] == "falls back"

    def test_the_specified_answer_is_neutral(self):
        found = self.found([100.0] * 3, may_fall_back=True, switched_off=lambda: True)
        assert found["verdict"] == "neutral"
        assert "as specified" in found["reason"]

    def test_neither_right_nor_a_fallback(self):
        assert self.found([1.6, 2.5, 3.25])["verdict"] == "loses precision"

    def test_another_shape(self):
        assert self.found([[1.5, 2.5, 3.25]])["verdict"] == "loses precision"


class TestFailures:
    def test_broken_tells_the_line_and_keeps_the_inputs(self):
        def run(x):
            raise RuntimeError(f"no luck with {Path('/some/where/deep/file.py')}\nsecond line")

        found = ran(run)
        assert found["verdict"] == "broken"
        assert found["reason"].startswith("RuntimeError: no luck with file.py (test_dtypes.py:")
        assert found["inputs"][0]["name"] == "x"

    def test_a_secret_is_taken_out_before_anything_is_cut(self):
        """J2: a password with a `/` looks like a folder, and one at the end of what is kept is cut in two."""
        secrets = {"DB_PASSWORD": "p@ss/w/rd#9zQxyT", "DEPLOY_TOKEN": "Kx7Qp2Vn9Lm4" * 4}

        def run(x):
            text = f"{secrets['DB_PASSWORD']} ".ljust(170, "z") + " " + secrets["DEPLOY_TOKEN"]
            warnings.warn(text, stacklevel=1)
            raise RuntimeError(text)

        def build():
            return Call(torch.float32, 3, {}, lambda: run(None))

        found = audit(
            "case", "float32", build, source_root=ROOT, clean=lambda text: redact_text(text, secrets)
        )
        said = json.dumps(found)
        assert found["verdict"] == "broken" and "<redacted> zzz" in said and found["warnings"]
        assert "Kx7Q" not in said and "rd#9" not in said

    def test_broken_outside_the_subject(self):
        found = ran(lambda x: x @ torch.ones(3), root="")
        assert found["verdict"] == "broken"
        assert found["reason"].startswith("RuntimeError: ")

    def test_a_feature_that_is_not_there(self):
        def build():
            raise NotImplementedError("this commit has no sources")

        found = audit("sources", "float32", build, source_root=ROOT)
        assert (found["verdict"], found["reason"]) == (NOT_HERE, "this commit has no sources")

    def test_every_record_has_the_same_keys_and_is_json(self):
        def missing():
            raise NotImplementedError("not at this commit")

        records = [ran(lambda x: x + 1), ran(lambda x: 1 / 0), audit("c", "float32", missing, source_root="")]
        assert records[0].keys() == records[1].keys() == records[2].keys()
        json.dumps(records, allow_nan=False)


class TestWarnings:
    def test_both_kinds_are_counted_and_others_are_not(self):
        def run(x):
            for _ in range(3):
                warnings.warn("slow path in /usr/lib/x/y.py", stacklevel=1)
            print("WARNING: falling back\nthe weather is fine")
            return x + 1

        assert ran(run)["warnings"] == [
            {"message": "UserWarning: slow path in y.py", "count": 3},
            {"message": "WARNING: falling back", "count": 1},
        ]

    def test_kept_when_the_call_fails(self):
        def run(x):
            print("warning: it will not work")
            raise ValueError

        assert ran(run)["warnings"][0]["message"] == "warning: it will not work"

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("\n  first\nsecond", "first"),
            ("see /home/ada/x-y/z.py:3", "see z.py:3"),
            (r"see C:\Users\ada\z.py", "see z.py"),
            ("ratio a/b stays", "ratio a/b stays"),
            ("<object at 0x7f3a2b>", "<object at 0x…>"),
            ("x" * 500, "x" * 200),
            ("", ""),
        ],
    )
    def test_first_line_without_folders(self, text, line):
        assert first_line(text) == line

    def test_counted_commonest_first(self):
        assert counted(["a", "b\nmore", "b", " "]) == [
            {"message": "b", "count": 2},
            {"message": "a", "count": 1},
        ]


class TestOverall:
    def test_the_worst(self):
        assert overall(["neutral", "upcasts", NOT_HERE]) == "upcasts"
        assert overall(["neutral", NOT_HERE]) == "neutral"
        assert overall(reversed(VERDICTS)) == "broken"

    @pytest.mark.parametrize("verdicts", [[], [NOT_HERE], ["broken", NOT_HERE]])
    def test_nothing_ran(self, verdicts):
        assert overall(verdicts) == NOTHING
