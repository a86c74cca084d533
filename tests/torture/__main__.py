"""`make torture`: kills, full disks, odd files, clock jumps, two databases, harmless text; prints figures.

    python -m tests.torture [kills] [captures] [disks] [odd] [clocks] [secrets] [databases] [--small]

Never part of the tests, which hold a smaller form of each. docs/reliability.md quotes what it prints.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "samples")]

from tests.torture.captures import killed_captures  # noqa: E402
from tests.torture.clocks import clock_jumps  # noqa: E402
from tests.torture.databases import two_databases  # noqa: E402
from tests.torture.disks import full_disks  # noqa: E402
from tests.torture.kills import kills  # noqa: E402
from tests.torture.odd_files import odd_files  # noqa: E402
from tests.torture.secrets import harmless_text  # noqa: E402

PARTS: dict[str, Callable[[bool], dict[str, object]]] = {
    "kills": lambda small: kills(6 if small else 100),
    "captures": lambda small: killed_captures(3 if small else 20),
    "disks": lambda small: full_disks(2 if small else 12),
    "odd": lambda small: odd_files(28 if small else 300),
    "clocks": lambda small: clock_jumps(),
    "secrets": lambda small: harmless_text(4 if small else 100),
    "databases": lambda small: two_databases(6 if small else 30),
}


def main(arguments: list[str]) -> int:
    """Run the parts that are named (all by default); 1 where anything was wrong."""
    small = "--small" in arguments
    chosen = [one for one in arguments if not one.startswith("-")] or list(PARTS)
    failed = False
    for name in chosen:
        began = time.perf_counter()
        found = PARTS[name](small)
        found["seconds"] = round(time.perf_counter() - began)
        found["load"] = [round(one, 1) for one in os.getloadavg()]
        print(f"{name}: {json.dumps(found, indent=1)}", flush=True)
        failed |= bool(found.get("wrong"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
