"""Values that several commands take."""

from __future__ import annotations

import re

from nbbench.errors import UsageError


def pattern(text: str, option: str = "--bench") -> re.Pattern[str]:
    """A regular expression given by the user. Raises UsageError for a malformed one."""
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"{option} is not a regular expression: {text!r} ({error})") from error
