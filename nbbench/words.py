"""Text that came from outside (commit subjects, parameters, logs) made safe to print."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

# Cc and Cf hold escape sequences and direction overrides, which can repaint a terminal or
# reorder a line on screen; Cs are half characters that UTF-8 cannot write; Zl and Zp break lines.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

# Colour and cursor sequences: without their first character they would be left as litter.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")


def clean(text: str) -> str:
    """`text` on one line, without control characters, runs of blanks folded into one."""
    kept = (" " if unicodedata.category(char) in _UNSAFE else char for char in _ANSI.sub("", text))
    return " ".join("".join(kept).split())


def clean_lines(text: str) -> str:
    """`text` with its line breaks kept and every other control character taken out."""
    return "\n".join(
        "".join(c for c in line.replace("\t", "    ") if unicodedata.category(c) not in _UNSAFE).rstrip()
        for line in _ANSI.sub("", text).splitlines()
    )


def display_width(text: str) -> int:
    """How many terminal columns `text` takes: wide characters two, combining marks none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def truncate(text: str, width: int) -> str:
    """`text` in at most `width` columns, the cut marked by an ellipsis."""
    if display_width(text) <= width:
        return text
    kept = ""
    used = 1  # the ellipsis
    for char in text:
        used += display_width(char)
        if used > width:
            break
        kept += char
    return kept.rstrip() + "…" if width > 0 else ""


def short_function(name: str, width: int) -> str:
    """A function's name in at most `width` columns, without its class where it is long."""
    if display_width(name) > width:
        name = name.rpartition(".")[2]
    return truncate_middle(name or "(benchmark)", width)


def truncate_middle(text: str, width: int) -> str:
    """`text` in at most `width` columns, keeping both ends: series differ in their parameters."""
    if display_width(text) <= width:
        return text
    front = truncate(text, max(1, width // 3))
    tail = ""
    room = width - display_width(front)
    for char in reversed(text):
        room -= display_width(char)
        if room < 0:
            break
        tail = char + tail
    return front + tail


def plural(count: int, noun: str, nouns: str = "") -> str:
    """`1 commit`, `3 commits`, `2 series`."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def day(moment: datetime) -> str:
    """The UTC date: 2025-10-15."""
    return _utc(moment).strftime("%Y-%m-%d")


def minute(moment: datetime | None) -> str:
    """The UTC date and time to the second: 2025-10-15 11:35:31Z; `unknown` for None."""
    return "unknown" if moment is None else _utc(moment).strftime("%Y-%m-%d %H:%M:%SZ")


def iso(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with Z; None for None."""
    return None if moment is None else _utc(moment).isoformat().replace("+00:00", "Z")


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
