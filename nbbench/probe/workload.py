"""Recording one workload: its ledger with totals, lines and the image's fingerprint."""

from __future__ import annotations

from collections.abc import Callable

import torch

from nbbench.model import Ledger, LedgerLine
from nbbench.probe.image import fingerprint
from nbbench.probe.traffic import TrafficLedger


def record_ledger(
    workload: str,
    function: Callable[[], torch.Tensor],
    *,
    pixels: int,
    asked: torch.dtype,
    source_root: str,
) -> Ledger:
    """Run `function` once under the traffic ledger.

    `pixels` is the number of pixels (or points) that the work is divided by. The function
    must return the image; lines are sorted by bytes, largest first.
    """
    with TrafficLedger(source_root=source_root, asked=asked) as recorder:
        image = function()
    traffic = recorder.traffic
    mark = fingerprint(image)
    lines = [
        LedgerLine(path, line, func, op, dtype, cost.count, cost.bytes, cost.upcast_bytes)
        for (path, line, func, op, dtype), cost in traffic.lines.items()
    ]
    lines.sort(key=lambda entry: (-entry.bytes, entry.path, entry.line, entry.op, entry.dtype))
    return Ledger(
        workload=workload,
        pixels=pixels,
        ops=traffic.ops,
        dispatched=traffic.dispatched,
        bytes=traffic.bytes,
        upcast_bytes=traffic.upcast_bytes,
        peak_live_bytes=traffic.peak_live_bytes,
        bytes_by_dtype=tuple(sorted(traffic.by_dtype.items())),
        image_sum=repr(mark.total),
        image_digest=mark.digest,
        output_dtype=str(image.dtype).removeprefix("torch."),
        image_blocks=mark.blocks,
        lines=tuple(lines),
    )
