"""What `nbbench run --adaptive` found: changes located to one commit, suspicions left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbbench.history.next_tree import NextTrees, Why
from nbbench.model import Commit
from nbbench.report.blocks import Block, Bullets, Table
from nbbench.report.events import commit_range
from nbbench.units import format_change

_STOPPED = {
    "located": "every change is located to one commit",
    "budget": "the budget is spent",
    "limit": "the limit of commits is reached",
}


def adaptive_payload(
    commits: Sequence[Commit], plan: NextTrees, timed: int, broken: int, stopped: str
) -> dict[str, Any]:
    """The search as JSON-ready values; effects are log ratios of the series that moved most."""
    return {
        "trees": len(commits),
        "timed": timed,
        "broken": broken,
        "stopped": stopped,
        "located": [
            {
                "first": commits[one.first].hash,
                "commit": commits[one.index].hash,
                "position": commits[one.index].position,
                "date": f"{commits[one.index].date:%Y-%m-%d}",
                "subject": commits[one.index].subject,
                "effect": one.effect,
                "series": one.series,
                "explained_by_work": one.explained,
            }
            for one in plan.located
        ],
        "suspicions": [
            {
                "after": commits[one.lo].hash,
                "until": commits[one.hi].hash,
                "why": str(one.why),
                "effect": one.weight,
            }
            for one in plan.probes
            if one.why is not Why.COARSE
        ],
    }


def adaptive_blocks(payload: dict[str, Any]) -> list[Block]:
    """The same for people."""
    share = payload["timed"] / max(payload["trees"], 1)
    broken = f", {payload['broken']} broken" if payload["broken"] else ""
    headline = (
        f"{_STOPPED[payload['stopped']]}: {len(payload['located'])} changes, "
        f"{payload['timed']} of {payload['trees']} trees timed ({share:.0%}){broken}"
    )
    rows = [
        (
            str(one["position"] or ""),
            commit_range(one["first"], one["commit"]),
            one["date"],
            format_change(one["effect"]),
            "work" if one["explained_by_work"] else "time alone",
            one["series"],
            one["subject"],
        )
        for one in payload["located"]
    ]
    headers = ("#", "commit", "date", "change", "shown by", "series", "subject")
    suspicions = [
        f"still open: {one['why']} after {one['after'][:8]}, until {one['until'][:8]}"
        for one in payload["suspicions"]
    ]
    found: list[Block] = (
        [Table(headers, rows, right=(0, 3), codes=(1, 5), spare=(2, 0, 4, 6))] if rows else []
    )
    return [headline, *found, *([Bullets(suspicions)] if suspicions else [])]
