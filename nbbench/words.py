"""Text from outside (commit subjects, parameters, logs) made safe for where it is shown.

One function for each destination: `clean` and `clean_lines` for a line or lines on a terminal,
`for_terminal` for a whole output, `for_html`, `for_markdown` (and `markdown_code`), `for_xml`.
"""

import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from rich.cells import cell_len, set_cell_size

Say = Callable[[str], None]
"""Shows one line to the user while work goes on."""

# Cc and Cf hold escape sequences and direction overrides, which can repaint a terminal or
# reorder a line on screen; Cs are half characters that UTF-8 cannot write; Zl and Zp break lines.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

# Colour and cursor sequences: without their first character they would be left as litter.
_ANSI = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_COLOUR = r"\x1b\[(?:0|1|2|31|32|33)m"  # what report.text paints with

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")
# What opens a list or a rule at a line's start: `- x`, `---`, `+ x`, `1. x`, `1) x`.
_OPENING = re.compile(r"^(\d{0,9})((?<=\d)[.)](?=\s|$)|(?<!\d)[-+](?=[-\s]|$))")


def clean(text: str) -> str:
    """`text` on one line, without control characters, runs of blanks folded into one."""
    if not text.isprintable():
        kept = (" " if unicodedata.category(char) in _UNSAFE else char for char in _ANSI.sub("", text))
        text = "".join(kept)
    return " ".join(text.split())


def escaped(name: str) -> str:
    """A file's name on one line, every control character as its escape (`\\n`): no name looks like two."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def clean_lines(text: str) -> str:
    """`text` with its line breaks kept and every other control character taken out."""
    return "\n".join(_visible(line) for line in _ANSI.sub("", text).splitlines())


def _visible(line: str) -> str:
    if line.isprintable():
        return line
    kept = (char for char in line.replace("\t", "    ") if unicodedata.category(char) not in _UNSAFE)
    return "".join(kept).rstrip()


def for_terminal(text: str) -> str:
    """A whole output for a terminal: nothing but line breaks and nbbench's own colours passes.

    The last guard for text from outside; what is put into tables is cleaned before.
    """
    if text.isascii() and "\x1b" not in text and text.replace("\n", "").isprintable():
        return text
    pieces = re.split(f"({_COLOUR})", text)
    return "".join(
        piece if number % 2 else "\n".join(clean_lines(line) for line in piece.split("\n"))
        for number, piece in enumerate(pieces)
    )


def for_html(text: str) -> str:
    """`text` on one line as HTML that shows it as it is, in attributes too."""
    import html  # its table of entities is long, and most commands write no page

    return html.escape(clean(text))


def for_xml(text: str) -> str:
    """`text` without what XML 1.0 cannot hold even escaped; the writer escapes the rest."""
    return _NOT_XML.sub("\ufffd", text)


def for_markdown(text: str) -> str:
    """`text` on one line so that Markdown and HTML show it as it is, in tables and lists too."""
    text = _SPECIAL.sub(r"\\\1", clean(text))
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return _OPENING.sub(r"\1\\\2", "&gt;" + text[1:] if text.startswith(">") else text)


def markdown_code(text: str) -> str:
    """`text` on one line as a code span, whatever backticks and pipes it holds."""
    text = clean(text)
    if not text:
        return ""
    if "\\|" in text or text.endswith("\\"):
        # Table parsers disagree about a backslash before a pipe inside a span; entities are safe.
        return f"<code>{''.join(f'&#{ord(c)};' if not c.isalnum() and c != ' ' else c for c in text)}</code>"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text.replace('|', chr(92) + '|')}{pad}{fence}"


def truncate(text: str, width: int) -> str:
    """`text` in at most `width` columns, the cut marked by an ellipsis."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def truncate_middle(text: str, width: int) -> str:
    """`text` in at most `width` columns, keeping both ends: series differ in their parameters."""
    if cell_len(text) <= width:
        return text
    front = truncate(text, max(1, width // 3))
    return front + set_cell_size(text[::-1], width - cell_len(front)).rstrip()[::-1]


def short_function(name: str, width: int) -> str:
    """A function's name in at most `width` columns, without its class where it is long."""
    if cell_len(name) > width:
        name = name.rpartition(".")[2]
    return truncate_middle(name or "(benchmark)", width)


def last_line(text: str, otherwise: str = "") -> str:
    """The last line of a program's output that is not blank; `otherwise` where there is none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), otherwise)


def plural(count: int, noun: str, nouns: str = "") -> str:
    """`1 commit`, `3 commits`, `2 series`."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def line_list(places: Iterable[tuple[str, int]]) -> str:
    """Source lines in a sentence, each file named once: `physics.py:24, 512 and 518, io.py:7`."""
    files: dict[str, list[str]] = {}
    for path, line in sorted(set(places)):
        files.setdefault(path, []).append(str(line))
    said = []
    for path, lines in files.items():
        last = f" and {lines[-1]}" if len(lines) > 1 else ""
        numbers = f":{', '.join(lines[: -1 if last else None])}{last}"
        said.append(f"{escaped(path)}{numbers}" if path else "no line of the subject")
    return ", ".join(said)


def day(moment: datetime) -> str:
    """The UTC date: 2025-10-15."""
    return _utc(moment).strftime("%Y-%m-%d")


def minute(moment: datetime | None) -> str:
    """The UTC date and time to the second: 2025-10-15 11:35:31Z; `unknown` for None."""
    return "unknown" if moment is None else _utc(moment).strftime("%Y-%m-%d %H:%M:%SZ")


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def exactly(label: str) -> str:
    """A pattern that matches this series alone, quoted so that it can be pasted into a shell."""
    return shell_word(re.escape(label))


def shell_word(text: str) -> str:
    """`text` as one word of a command line, on one line and printable: bash reads `$'\\x1b'` as it was."""
    if text.isprintable():
        return shlex.quote(text)
    inner = escaped(text.replace("\\", "\\\\").replace("'", "\\'"))
    return f"$'{inner}'"
