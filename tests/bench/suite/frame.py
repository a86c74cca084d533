"""One time_ and one peakmem_ benchmark with four parameter sets, as a user of plain asv writes them."""

import os

os.environ.update(CUDA_VISIBLE_DEVICES="-1", TORCHDYNAMO_DISABLE="1", OPENBLAS_NUM_THREADS="1")


class Frame:
    params = ([256, 512], ["float32", "float64"])
    param_names = ("size", "dtype")
    version = "1"
    rounds = 2
    repeat = 3
    number = 1
    warmup_time = 0

    def setup(self, size, dtype):
        import torch
        from nanobrag_torch.config import BeamConfig, CrystalConfig, DetectorConfig
        from nanobrag_torch.models.crystal import Crystal
        from nanobrag_torch.models.detector import Detector
        from nanobrag_torch.simulator import Simulator

        torch.set_num_threads(1)
        kind = getattr(torch, dtype)
        beam = BeamConfig(wavelength_A=6.2)
        config = CrystalConfig(N_cells=(5, 5, 5), default_F=100.0)
        screen = DetectorConfig(spixels=size, fpixels=size, oversample=1)
        self.simulator = Simulator(
            crystal=Crystal(config, beam_config=beam, dtype=kind),
            detector=Detector(screen, dtype=kind),
            crystal_config=config,
            beam_config=beam,
            dtype=kind,
        )

    def time_run(self, size, dtype):
        self.simulator.run()

    def peakmem_run(self, size, dtype):
        self.simulator.run()
