"""Fusion headroom: bytes moved against bytes that a perfect fusion would move, function by function."""

from __future__ import annotations

from dataclasses import dataclass

from nbbench.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Headroom:
    """What fusing one function to a single kernel would save; bytes per pixel.

    `moved` has the functions that it calls included, `own` leaves them out, `fused` is what
    remains when each storage from outside is read once and each that outlives the call is
    written once. `share` is the gain as a share of all bytes. `cumulative` adds up the shares
    of functions that call no other, largest first: their gains do not overlap (None for the
    others, whose gain contains that of what they call).
    """

    function: str
    path: str
    calls: int
    moved: float
    own: float
    fused: float
    share: float
    cumulative: float | None

    @property
    def gain(self) -> float:
        """Bytes per pixel that a perfect fusion would save."""
        return self.moved - self.fused


def headroom(ledger: Ledger) -> list[Headroom]:
    """The functions of a ledger by what there is to gain, those without a gain left out."""
    found: list[Headroom] = []
    added = 0.0
    for one in sorted(ledger.functions, key=lambda f: (f.fused_bytes - f.bytes, f.path, f.function)):
        gain = one.bytes - one.fused_bytes
        if gain <= 0 or not ledger.bytes:
            continue
        share = gain / ledger.bytes
        leaf = one.self_bytes == one.bytes
        added += share if leaf else 0.0
        moved, own, fused = (size / ledger.pixels for size in (one.bytes, one.self_bytes, one.fused_bytes))
        cumulative = added if leaf else None
        found.append(Headroom(one.function, one.path, one.calls, moved, own, fused, share, cumulative))
    return found
