"""Values that several commands take."""

from __future__ import annotations

import re
import shlex

from nbbench.errors import UsageError


def pattern(text: str, option: str = "--bench") -> re.Pattern[str]:
    """A regular expression given by the user. Raises UsageError for a malformed one."""
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"{option} is not a regular expression: {text!r} ({error})") from error


def seconds(text: str | None) -> float | None:
    """A time given as 90s, 5m or 1h in seconds; UsageError when it is none."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"--budget takes a time such as 90s or 5m, got {text!r}")
    return float(match[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[match[2]]


def exactly(label: str) -> str:
    """A pattern that matches this series alone, quoted so that it can be pasted into a shell."""
    return shlex.quote(re.escape(label))
