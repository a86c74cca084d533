"""Cold start: what a user waits for, each sample in a fresh process."""

from __future__ import annotations

from typing import ClassVar

from nbbench.probe.device import on_cuda

from . import subject

# The fresh interpreter knows neither the subject's path nor the pins' order of imports.
_PATH = """
import sys
sys.path.insert(0, {root!r})
import io
"""
_BUILD = """
import nanobrag_torch.simulator as S
from nanobrag_torch.config import CrystalConfig, DetectorConfig, BeamConfig, DetectorConvention
from nanobrag_torch.models.crystal import Crystal
from nanobrag_torch.models.detector import Detector
import torch
sys.stdout = io.StringIO()
crystal = CrystalConfig(cell_a=100.0, cell_b=100.0, cell_c=100.0, cell_alpha=90.0, cell_beta=90.0,
                        cell_gamma=90.0, N_cells=(5, 5, 5), default_F=100.0)
beam = BeamConfig(wavelength_A=6.2)
screen = DetectorConfig(distance_mm=100.0, pixel_size_mm=0.1, spixels=512, fpixels=512, oversample=1,
                        detector_convention=DetectorConvention.MOSFLM)
def construct():
    made = Crystal(crystal, dtype=torch.float32, **where)
    return S.Simulator(crystal=made, detector=Detector(screen, dtype=torch.float32, **where),
                       crystal_config=crystal, beam_config=beam, dtype=torch.float32, **where)
"""
# The GPU is opened before construction is timed, and what is timed ends when the GPU has done it.
_ON_CPU = "\nwhere = {}"
_ON_CUDA = "\nwhere = {'device': 'cuda'}\ntorch.zeros(1, **where)\ntorch.cuda.synchronize()"
_SETTLED = "\ntorch.cuda.synchronize()"
# timeraw_ reads the result from stdout, so the silence must end with the timed statement.
_LOUD = "\nsys.stdout = sys.__stdout__"


class ColdStart:
    """Import, construction and first run at 512² float32 (warm figures hide all three)."""

    version = "1"
    rounds = 1
    repeat = 3
    number = 1
    warmup_time = 0
    timeout = 120
    param_names: ClassVar[list[str]] = []

    def timeraw_import(self) -> tuple[str, str]:
        """Seconds of importing the simulator's module, torch imported before."""
        return "import nanobrag_torch.simulator", _path() + "import torch"

    def timeraw_import_all(self) -> tuple[str, str]:
        """Seconds of importing the simulator's module with torch, as a user's script does."""
        return "import nanobrag_torch.simulator", _path()

    def timeraw_construct(self) -> tuple[str, str]:
        """Seconds of constructing crystal, detector and simulator (pixel coordinates included)."""
        return _timed("construct()"), _path() + _build()

    def timeraw_first_run(self) -> tuple[str, str]:
        """Seconds of the first run after construction."""
        return _timed("simulator.run()"), _path() + _build() + "\nsimulator = construct()"


def _timed(statement: str) -> str:
    return statement + (_SETTLED if on_cuda() else "") + _LOUD


def _build() -> str:
    return _BUILD + (_ON_CUDA if on_cuda() else _ON_CPU)


def _path() -> str:
    return _PATH.format(root=subject.source_root())
