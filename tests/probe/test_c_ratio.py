"""H14: the ratio to the C program: in turns, on as many threads, and told what was compared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from benchmarks import c_ratio
from benchmarks.subject import Case


def test_both_programs_take_turns_on_as_many_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    program = tmp_path / "nanoBragg"
    program.write_text(f'#!/bin/sh\necho "C $OMP_NUM_THREADS" >> {log}\n')
    program.chmod(0o755)

    def run() -> torch.Tensor:
        with log.open("a") as stream:
            stream.write("ours\n")
        return torch.zeros(1)

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
    assert said.startswith(f"nbbench: {torch.get_num_threads()} threads each; C: nanoBragg sha256 ")
    assert "-detpixels 256" in said
