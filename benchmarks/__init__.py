"""asv benchmarks of nanoBragg PyTorch: memory bandwidth, dtype vectorisation, cold start, C ratio."""

import os

from nbbench.probe.resources import PINNED_ENVIRONMENT

# Before anything imports torch: two of these are read at its import.
os.environ.update({**PINNED_ENVIRONMENT, "NANOBRAGG_DISABLE_COMPILE": "1"})
