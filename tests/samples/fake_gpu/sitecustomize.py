"""A GPU that is the processor, for processes that measure `--device cuda`: events, allocator, cache size.

Python imports this module by itself where its folder stands on PYTHONPATH.
"""

import builtins
import os
import sys
import time

_import = builtins.__import__
_done = set()


class _Event:
    def __init__(self, enable_timing=False):
        self.at = 0.0

    def record(self):
        self.at = time.perf_counter()

    def synchronize(self):
        pass

    def elapsed_time(self, later):
        return (later.at - self.at) * 1e3


class _Properties:
    L2_cache_size = 2**20


_CUDA = {
    "Event": _Event,
    "synchronize": lambda *_: None,
    "current_device": lambda: 0,
    "get_device_properties": lambda *_: _Properties,
    "reset_peak_memory_stats": lambda *_: None,
    "memory_allocated": lambda *_: 1000,
    "max_memory_allocated": lambda *_: 5321,
}
# Tensors stay on the processor.
_PATCHES = {
    "torch.cuda": _CUDA,
    "benchmarks.subject": {"where": dict},
    "benchmarks.cuda": {"measured_device": lambda: "cpu"},
    "nbbench.probe.ceiling": {"measured_device": lambda: "cpu"},
    "benchmarks.cold_start": {"_ON_CUDA": "\nwhere = {}", "_SETTLED": ""},
}


def _patch():
    for name, values in _PATCHES.items():
        module = sys.modules.get(name)
        if module is None or name in _done or not all(hasattr(module, each) for each in values):
            continue
        _done.add(name)
        for each, value in values.items():
            setattr(module, each, value)


def _import_and_patch(name, *arguments, **named):
    module = _import(name, *arguments, **named)
    _patch()
    return module


if os.environ.get("NBBENCH_DEVICE") == "cuda":
    builtins.__import__ = _import_and_patch
