"""Taking credentials out of a stream of bytes, in constant memory.

What is given out is what `redact_text` makes of the same lines; every other byte passes as it is, UTF-8
or not. A line is given out when it is complete; one without end goes out in parts, none of which ends
inside of a credential or between a credential and the words that give it away.
"""

from __future__ import annotations

from collections.abc import Mapping

from nbbench.credentials import LONGEST, Finder, replace_spans
from nbbench.record.redact import secret_values

# A line longer than this is given out before its end is seen.
_MAX_LINE = 131_072


class SecretFilter:
    """Give it the output of a program piece by piece; `flush` at the end gives what was held back."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        secrets = secret_values(environ)
        self._finder = Finder(secrets)
        self._overlap = 2 * max([LONGEST, *map(len, secrets)])
        self._pending = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; give those that are settled, without credentials."""
        self._pending += data
        given = b""
        if b"\n" in data:
            given = self._settle(self._pending.rfind(b"\n") + 1)
        while len(self._pending) > _MAX_LINE + self._overlap:
            given += self._settle(len(self._pending), keep=self._overlap)
        return given

    def flush(self) -> bytes:
        """Give the rest, a last line without its end."""
        return self._settle(len(self._pending))

    def _settle(self, size: int, keep: int = 0) -> bytes:
        """The first `size` bytes but for some `keep` characters at their end, without credentials."""
        text = self._pending[:size].decode("utf-8", "surrogateescape")
        del self._pending[:size]
        spans = self._finder.spans(text)
        cut = len(text) - keep
        for span in reversed(spans):
            if keep and span.seen < cut < span.end:
                cut = span.seen or span.end
        self._pending[:0] = text[cut:].encode("utf-8", "surrogateescape")
        shown = replace_spans(text[:cut], [span for span in spans if span.end <= cut])
        return shown.encode("utf-8", "surrogateescape")
