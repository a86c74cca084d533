"""asv benchmarks of nanoBragg PyTorch: memory bandwidth, dtype vectorisation, cold start, C ratio."""

import os

from nbbench.probe.resources import pinned_environment

# Before anything imports torch: two of these are read at its import. A process that compiles says so.
if os.environ.get("TORCHDYNAMO_DISABLE") != "0":
    os.environ.update({**pinned_environment(os.environ), "NANOBRAGG_DISABLE_COMPILE": "1"})
