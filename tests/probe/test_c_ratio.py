"""H14: the ratio to the C program: in turns, on as many threads, and told what was compared."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch

from benchmarks import c_ratio
from benchmarks.subject import Case, SubjectBroken


def test_both_programs_take_turns_on_as_many_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    program = tmp_path / "nanoBragg"
    write = 'for image; do :; done; printf "\\000\\000\\200\\077" > "$image"'  # 1.0, where the last word says
    program.write_text(f'#!/bin/sh\necho "C $OMP_NUM_THREADS" >> {log}\n{write}\n')
    program.chmod(0o755)

    def run() -> torch.Tensor:
        with log.open("a") as stream:
            stream.write("ours\n")
        return torch.ones(1)

    monkeypatch.setenv("NB_C_BIN", str(program))
    monkeypatch.setattr(c_ratio.subject, "prepare", lambda *, malloc: os.environ.update(MALLOC=str(malloc)))
    monkeypatch.setenv("MALLOC", "")
    monkeypatch.setattr(c_ratio.subject, "bandwidth", lambda size, dtype: Case("x", size * size, dtype, run))
    bench = c_ratio.CRatio()
    bench.setup(256)
    assert os.environ["MALLOC"] == "False"
    assert bench.track_time_ratio(256) > 0
    theirs = f"C {torch.get_num_threads()}"
    assert log.read_text().splitlines() == ["ours", theirs] * (1 + c_ratio.REPEAT)
    said = capfd.readouterr().err
    assert said.startswith(
        f"nbbench: {torch.get_num_threads()} threads each; sums 1, 1; C: nanoBragg sha256 "
    )
    assert "-detpixels 256" in said


def _programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixel: float) -> None:
    """A program that writes ones, beside a simulation that makes frames of `pixel`."""
    program = tmp_path / "nanoBragg"
    write = 'for image; do :; done; printf "\\000\\000\\200\\077\\000\\000\\200\\077" > "$image"'
    program.write_text(f"#!/bin/sh\n{write}\n")
    program.chmod(0o755)
    monkeypatch.setenv("NB_C_BIN", str(program))
    monkeypatch.setattr(c_ratio.subject, "prepare", lambda **_: None)
    case = Case("x", 2, torch.float32, lambda: torch.full((1, 2), pixel))
    monkeypatch.setattr(c_ratio.subject, "bandwidth", lambda size, dtype: case)
    monkeypatch.setattr(c_ratio.acceptance, "parallel_case", lambda: case)


@pytest.mark.parametrize("pixel", [1.006, 0.0, float("nan")])
def test_another_image_has_no_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixel: float) -> None:
    _programs(tmp_path, monkeypatch, pixel)
    with pytest.raises(SubjectBroken, match="the C program computes another image"):
        c_ratio.CRatio().track_time_ratio(256)


def test_the_guards_on_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pixels of 1.006 beside two of 1: equal but for the scale."""
    _programs(tmp_path, monkeypatch, 1.006)
    bench = c_ratio.Image()
    bench.setup(1024)
    assert bench.track_sum_error(1024) == pytest.approx(0.006, rel=1e-4)
    _programs(tmp_path, monkeypatch, 1.0)
    assert (bench.track_correlation(1024), bench.track_sum_error(1024)) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("case", "flags"), [("at-perf-002", "-lambda 1.0 .* -N 10 "), ("at-perf-007", "-lambda 6.2 .* -N 5 ")]
)
def test_threads_are_those_of_the_test(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    case: str,
    flags: str,
) -> None:
    _programs(tmp_path, monkeypatch, 1.0)
    monkeypatch.setattr(c_ratio, "usable_cores", lambda: 4)
    asked: list[int] = []
    monkeypatch.setattr(c_ratio.subject, "prepare", lambda *, malloc, threads: asked.append(threads))
    bench = c_ratio.Parallel()
    with pytest.raises(NotImplementedError, match="8 threads need as many cores; there are 4"):
        bench.setup(case, 8)
    bench.setup(case, 4)
    assert bench.track_time_ratio(case, 4) > 0 and asked == [4]
    assert re.search(flags, capfd.readouterr().err)
