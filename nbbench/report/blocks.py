"""A report as a list of blocks; `text`, `markdown` and `site` write them, one writer for each format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Head:
    """The first line of a report: its verdict, painted on a terminal, with a `mark` in Markdown."""

    text: str
    tone: str = "bold"
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Title:
    """The head of a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a list: what it is about (a name of code), a sentence, a command to type."""

    text: str = ""
    about: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list under a title, before which a name of code may stand; plain strings are sentences."""

    items: Sequence[Item | str]
    title: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells under headers; columns in `right` are figures, in `codes` names of code and commands.

    A narrow terminal goes without the columns in `spare`, the first named first, then cuts the last column.
    `tones` gives the cell in column `toned` of a row a colour, and a mark in Markdown. The rows from
    `quiet` on are folded away in Markdown and on pages, under the words `quiet_as`.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[int] = ()
    codes: Sequence[int] = ()
    spare: Sequence[int] = ()
    toned: int = 0
    tones: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    quiet: int | None = None
    quiet_as: str = ""


Block = str | Head | Title | Bullets | Table
