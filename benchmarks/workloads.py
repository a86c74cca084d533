"""Every workload of this suite, declared once. Standard library only: nbbench reads this file without torch.

The benchmarks take their parameters from here. Measuring writes the declaration to
results/workloads.jsonl, from which nbbench learns which series run which workload.
"""

from __future__ import annotations

from nbbench.model import Phase
from nbbench.workloads import Declared, Scale, Workload

SIZES = [512, 1024, 2048]  # pixels along a side of the detector (AT-PERF-003)
C_SIZES = [256, 512, 1024, 2048]
POINTS = [1, 1000, 100_000]
DTYPES = ["float32", "float64"]
KNOB_SIZE = 256
KNOBS = {
    "multi_source": [1, 3, 9],
    "oversample": [1, 2, 3],
    "phi_steps": [1, 4],
    "mosaic_domains": [1, 4],
    "absorption": [1, 4],
}

AGREEING = [  # whose images the GPU's are held against
    *("bandwidth-512-float32", "bandwidth-512-float64", "bandwidth-1024-float32", "tricubic-1000-float32"),
    *("multi_source-3", "oversample-2", "phi_steps-4", "mosaic_domains-4", "absorption-4"),
]
GUARDED = ["bandwidth-1024-float32", "oversample-2"]  # whose images are held against the commit before
GOLDEN = {  # images that the subject's tests are held against, and where it ships them
    "triclinic_P1": "tests/golden_data/triclinic_P1/image.bin",
    "simple_cubic": "tests/golden_data/simple_cubic.bin",
}
GAIN = "bandwidth-1024-float32"  # AT-PERF-005's
COMPILED = ["bandwidth-512-float32", "sources-3969"]  # timed under torch.compile where that is asked for

BANDWIDTH = tuple(Workload.of("bandwidth", n * n, size=n, dtype=d) for n in SIZES for d in DTYPES)
VECTORISATION = (
    *(Workload.of("tricubic", n, points=n, dtype=d) for n in POINTS for d in DTYPES),
    Workload("sources-3969", 3969),
    *(Workload.of(knob, KNOB_SIZE**2, n=n) for knob, values in KNOBS.items() for n in values),
)
WORKLOADS = (*BANDWIDTH, *VECTORISATION)

# Sizes that run at once, from which laws of growth are found; padded or blocked code is even at these.
SMALL = range(8, 49, 8)
FEW = range(2, 7)
SCALES = (
    *(Scale.of("bandwidth", "size", SMALL, dtype=d) for d in DTYPES),
    Scale.of("tricubic", "points", SMALL, dtype="float32"),
    Scale.of("sources", "rows", SMALL, columns=8),
    *(Scale.of(knob, "n", FEW, size=16) for knob in KNOBS),
)

BENCHMARKS = (
    Declared("acceptance.Run", families=("bandwidth",)),
    Declared("acceptance.Memory", Phase.MEMORY),
    Declared("acceptance"),
    Declared("bandwidth", families=("bandwidth",)),
    Declared("bandwidth.PeakMemory", Phase.MEMORY, ("bandwidth",)),
    Declared("bandwidth.Traffic.track_peak_live_bytes", Phase.MEMORY, ("bandwidth",)),
    Declared("bandwidth.Baseline", Phase.MEMORY),
    Declared("bandwidth.Ceiling"),
    Declared("c_ratio", families=("bandwidth",), fixed=(("dtype", "float32"),)),
    Declared("c_ratio.Parallel"),
    Declared("cold_start.ColdStart.timeraw_import", Phase.IMPORT),
    Declared("cold_start.ColdStart.timeraw_import_all", Phase.IMPORT),
    Declared("cold_start.ColdStart.timeraw_construct", Phase.CONSTRUCT),
    Declared("cold_start.ColdStart.timeraw_first_run", Phase.FIRST),
    Declared("compiled.Gain", Phase.COMPILED, named_by="workload"),
    Declared("compiled.Compile.track_compile_time", Phase.COMPILE, named_by="workload"),
    Declared("compiled.Compile.track_first_run", Phase.COMPILED, named_by="workload"),
    Declared("cuda", families=("bandwidth",)),
    Declared("cuda.Facts.track_peak_allocated", Phase.MEMORY, ("bandwidth",)),
    Declared("cuda.Agreement", named_by="workload"),
    Declared("guards.Before", named_by="workload"),
    Declared("guards.Golden"),
    Declared("vectorisation.Tricubic", families=("tricubic",)),
    Declared("vectorisation.DtypeRatio", families=("tricubic",)),
    Declared("vectorisation.Sources", families=("sources",)),
    Declared("vectorisation.MultiSource", families=("multi_source",)),
    Declared("vectorisation.Oversample", families=("oversample",)),
    Declared("vectorisation.PhiSteps", families=("phi_steps",)),
    Declared("vectorisation.MosaicDomains", families=("mosaic_domains",)),
    Declared("vectorisation.Absorption", families=("absorption",)),
    Declared("vectorisation.Counts", named_by="workload"),
    Declared("vectorisation.Exponent", named_by="loop"),
)
