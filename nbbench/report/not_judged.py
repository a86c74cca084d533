"""What was not judged in words: which series, why, and what helps."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from nbbench import units
from nbbench.model import NotJudged, NotJudgedReason, to_plain
from nbbench.report.blocks import Block, Table, Title
from nbbench.words import plural

_NOT_JUDGED_SHOWN = 20
_MANY = 4  # lines that say the same
_TOO_RECENT = (
    "one or two values are no level: measure one more commit, or these again (`nbbench run --again`)"
)


def not_judged_detail(one: NotJudged) -> str:
    """What there is to say of a series that was not judged: how far it moved, and what helps."""
    said = [one.detail] if one.detail else []
    if one.effect is not None:
        said.append(f"values differ by {units.format_change(one.effect)} from the level before")
    if one.reason is NotJudgedReason.TOO_RECENT:
        said.append(_TOO_RECENT)
    return "; ".join(said)


def plain_not_judged(found: Iterable[NotJudged]) -> list[dict[str, Any]]:
    """The same for JSON."""
    return [{**to_plain(one), "detail": not_judged_detail(one)} for one in found]


def not_judged_counts(found: Sequence[NotJudged]) -> str:
    """How many series were not judged, by reason: `3 series (2 failing, 1 too short)`."""
    counts = Counter(str(one.reason) for one in found).most_common()
    reasons = ", ".join(f"{number} {reason}" for reason, number in counts)
    return f"{plural(len(found), 'series', 'series')} ({reasons})"


def folded(found: Sequence[NotJudged]) -> list[NotJudged]:
    """The same with one line for all of which the same is said (a machine with one commit has hundreds of
    them): series with several levels, those that may have moved by the size of it, then the rest."""
    alike: dict[object, list[NotJudged]] = {}
    for one in found:
        alike.setdefault((one.reason, one.since, one.detail, one.effect), []).append(one)
    lines = [
        some if len(some) < _MANY else [replace(some[0], series=f"{len(some)} series, as {some[0].series}")]
        for some in alike.values()
    ]
    first = {NotJudgedReason.MULTIMODAL: 0, NotJudgedReason.TOO_RECENT: 1}
    every = (one for some in lines for one in some)
    return sorted(every, key=lambda one: (at := first.get(one.reason, 2), at == 1 and -abs(one.effect or 0)))


def not_judged_blocks(found: Sequence[NotJudged], most: int = _NOT_JUDGED_SHOWN) -> list[Block]:
    """How many series were not judged, by reason, and which; nothing where all were."""
    if not found:
        return []
    lines = folded(found)
    rows = [(one.series, str(one.reason), one.since[:8], not_judged_detail(one)) for one in lines[:most]]
    more = len(lines) - len(rows)
    rest = [f"and {more} more; `--json` names all of them"] if more else []
    return [
        Title(f"Not judged: {not_judged_counts(found)}"),
        Table(("series", "why", "since", "detail"), rows, codes=(0, 2)),
        *rest,
    ]
