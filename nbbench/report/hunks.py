"""`nbbench explain --hunks`: the hunks that cause a change of exact work."""

from __future__ import annotations

from typing import Any

from nbbench.model import to_plain
from nbbench.report.blocks import Block, Bullets, Table, Title
from nbbench.report.causes import evidence_sentences
from nbbench.words import plural
from nbbench.work.hunk_causes import HunkCause, HunkSearch


def hunk_blocks(search: HunkSearch) -> list[Block]:
    """A sentence for each change, the hunks of all sets with what they carry, and how it was found out."""
    blocks: list[Block] = [Title("Hunks that cause it")]
    if not search.targets:
        return [*blocks, "no exact work changed by what counts, so no hunk causes anything"]
    blocks.append(Bullets([sentence for one in search.causes for sentence in _said(search, one)]))
    rows = [
        (cause.target.name, one.hunk.place, one.hunk.change, *map(_percent, (one.alone, one.without)))
        for cause in search.causes
        if cause.minimal and len(cause.hunks) > 1
        for one in cause.hunks
    ]
    if rows:
        heads = ("change", "hunk", "lines", "alone", "without it")
        blocks.append(Table(heads, rows, right=(3, 4), codes=(1,), spare=(2,)))
    return [*blocks, "\n".join(f"note: {one}" for one in _notes(search))]


def hunk_payload(search: HunkSearch) -> dict[str, Any]:
    """Everything, for `--json`: the key `hunks` of `nbbench.explain/1`."""
    guilty = {one.hunk for cause in search.causes for one in cause.hunks}
    return {
        "total": len(search.hunks),
        "same_program": len(search.hunks) - len(search.moving),
        "recorded": search.recorded,
        "unresolved": search.unresolved,
        "done": search.done,
        "causes": [
            {**to_plain(one.record(len(search.hunks)).figures), "sentence": " ".join(_said(search, one))}
            for one in search.causes
        ],
        "others": [one.place for one in search.hunks if one not in guilty],
    }


def _said(search: HunkSearch, cause: HunkCause) -> list[str]:
    return evidence_sentences((cause.record(len(search.hunks)),))


def _percent(part: float | None) -> str:
    """The part of a change; `n/a` where it does not run."""
    return "n/a" if part is None else f"{100 * part + 0.0:.0f} %"


def _notes(search: HunkSearch) -> list[str]:
    words = len(search.hunks) - len(search.moving)
    same = f", {words} of which change no program" if words else ""
    said = [f"{plural(len(search.hunks), 'hunk')}{same}; {plural(search.recorded, 'recording')} made"]
    if search.unresolved:
        said.append(f"skipped: {plural(search.unresolved, 'combination')} that did not run")
    if not search.done:
        left = len(search.targets) - len(search.causes)
        said.append(f"the search was interrupted: {plural(left, 'change')} not looked at; run again to go on")
    return said
