"""Which source line of one tree is which line of another, so that moved code is no change."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import count
from typing import TypeAlias

from nbbench.host import HostCount
from nbbench.ledger import CallSite, FileDiff, Hunk, LedgerLine

LinePlace = tuple[str, int]  # path, 1-based line

# git's own limit for a block to count as moved (`--color-moved`, COLOR_MOVED_MIN_ALNUM_COUNT in
# diff.c): shorter ones, such as a lone `return x`, agree by chance.
_MIN_ALPHANUMERIC = 20


Booked: TypeAlias = CallSite | HostCount | LedgerLine
"""What is booked on a source line."""


class LineMatch:
    """Lines of base and head that are the same line, from the diff of the two trees.

    A line that the diff leaves alone maps, through renamed files as well; of the lines that it
    removes, blocks that stand somewhere else in head, word for word, map too.

    `head_of(path, line)` is where a line of base stands in head, None when it is gone, and `base_of` the
    other way. `renamed(path)` is the path in head of a file of base; `base_hunk` and `head_hunk` give the
    number in its file of the hunk that rewrites a line of base, or of head, '' where none does.
    """

    def __init__(self, files: Iterable[FileDiff]) -> None:
        files = tuple(files)
        moved = _moved_lines(files)
        forth = _Way(files, moved)
        back = _Way(map(_reversed, files), {head: base for base, head in moved.items()})
        self.head_of, self.base_of, self.renamed = forth.across, back.across, forth.renamed
        self.base_hunk, self.head_hunk = forth.rewritten, back.rewritten


class _Way:
    """From the lines of one tree to those of the other."""

    def __init__(self, files: Iterable[FileDiff], moved: dict[LinePlace, LinePlace]) -> None:
        self._files = {f.base_path: f for f in files if f.base_path}
        self._moved = moved

    def across(self, path: str, line: int) -> LinePlace | None:
        """Where a line stands in the other tree; None when it is not there."""
        file = self._files.get(path)
        if file is None:
            return path, line
        shift = 0
        for hunk in file.hunks:
            if line < hunk.base_start:
                break
            if line < hunk.base_start + len(hunk.removed):
                return self._moved.get((path, line))
            shift = hunk.head_start + len(hunk.added) - hunk.base_start - len(hunk.removed)
        return (file.head_path, line + shift) if file.head_path else None

    def rewritten(self, path: str, line: int) -> str:
        """The number of the hunk with lines on both sides in which a line stands; '' where there is none."""
        for number, hunk in enumerate(self._files[path].hunks if path in self._files else ()):
            if 0 <= line - hunk.base_start < len(hunk.removed) and hunk.added:
                return str(number)
        return ""

    def renamed(self, path: str) -> str:
        """The file's path in the other tree (its own where it is gone)."""
        file = self._files.get(path)
        return file.head_path or path if file else path


def _reversed(file: FileDiff) -> FileDiff:
    """The difference seen from head."""
    hunks = tuple(Hunk(h.head_start, h.base_start, h.added, h.removed) for h in file.hunks)
    return FileDiff(file.head_path, file.base_path, hunks)


def _moved_lines(files: Sequence[FileDiff]) -> dict[LinePlace, LinePlace]:
    """Removed lines that were added elsewhere: grown from lines that occur once on either side."""
    removed, added = _removed(files), _removed(map(_reversed, files))
    gone, new = Counter(removed.values()), Counter(added.values())
    once = {text: place for place, text in added.items() if new[text] == 1}
    moved: dict[LinePlace, LinePlace] = {}
    taken: set[LinePlace] = set()
    for place, text in removed.items():
        if not text or gone[text] != 1 or text not in once or place in moved:
            continue
        block = _block(place, once[text], removed, added)
        block = [(a, b) for a, b in block if a not in moved and b not in taken]
        if sum(char.isalnum() for a, _ in block for char in removed[a]) >= _MIN_ALPHANUMERIC:
            moved.update(block)
            taken.update(b for _, b in block)
    return moved


def _removed(files: Iterable[FileDiff]) -> dict[LinePlace, str]:
    """The lines that a difference takes away, without their indent."""
    hunks = ((f.base_path, h) for f in files for h in f.hunks)
    return {(path, h.base_start + i): s.strip() for path, h in hunks for i, s in enumerate(h.removed)}


def _block(
    base: LinePlace, head: LinePlace, removed: dict[LinePlace, str], added: dict[LinePlace, str]
) -> list[tuple[LinePlace, LinePlace]]:
    """The pairs of equal lines around a pair, upwards and downwards without a gap."""
    found = []
    for offsets in (count(0), count(-1, -1)):
        for offset in offsets:
            a, b = (base[0], base[1] + offset), (head[0], head[1] + offset)
            if a not in removed or b not in added or removed[a] != added[b]:
                break
            found.append((a, b))
    return found


class SiteNames:
    """Names the site of a ledger's line so that the same site has the same name on both sides.

    A line that the match knows on both sides is a site of its own. The others of a function are one
    site for each hunk that rewrites some, and one for the rest; functions are matched by path and name,
    and one that is gone from its file by its name alone where only one function of that name is new.
    """

    def __init__(self, base: Iterable[Booked], head: Iterable[Booked], match: LineMatch | None) -> None:
        self._match = match
        before = {(line.path, line.function) for line in base}
        after = {(line.path, line.function) for line in head}
        self._functions = {site: (match.renamed(site[0]) if match else site[0], site[1]) for site in before}
        lost = [site for site in before if self._functions[site] not in after]
        fresh = after - set(self._functions.values())
        for site in lost:
            same = [other for other in fresh if other[1] == site[1]]
            if len(same) == 1 and sum(other[1] == site[1] for other in lost) == 1:
                self._functions[site] = same[0]

    def base(self, line: Booked) -> str:
        """The site of a line of base: its line in head, or its function there and its hunk."""
        if self._match is None:
            return " ".join(self.function(line))
        if line.path and (place := self._match.head_of(line.path, line.line)) is not None:
            return f"{place[0]}:{place[1]}"
        return " ".join((*self.function(line), self._match.base_hunk(line.path, line.line)))

    def head(self, line: Booked) -> str:
        """The site of a line of head, in the same way."""
        if self._match is None:
            return f"{line.path} {line.function}"
        if line.path and self._match.base_of(line.path, line.line) is not None:
            return f"{line.path}:{line.line}"
        return f"{line.path} {line.function} {self._match.head_hunk(line.path, line.line)}"

    def places(self, site: str, old: Booked | None, new: Booked | None) -> tuple[str, str]:
        """`path:line` of a site in base and in head, from a line that it has there; empty where it is not.

        A line that both trees have is named on both sides, whether or not it ran.
        """
        path, _, number = site.rpartition(":")
        if self._match and number.isdigit() and (base := self._match.base_of(path, int(number))):
            return f"{base[0]}:{base[1]}", site
        return _place(old), _place(new)

    def function(self, line: Booked) -> tuple[str, str]:
        """Path and name in head of the function of a line of base."""
        return self._functions[line.path, line.function]


def _place(line: Booked | None) -> str:
    if line is None:
        return ""
    return f"{line.path}:{line.line}" if line.path else "(benchmark)"
