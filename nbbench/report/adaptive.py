"""What `nbbench run --adaptive` found: changes located to one commit, suspicions left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbbench.history.next_tree import Plan, Why
from nbbench.model import Commit
from nbbench.report.text import table
from nbbench.units import format_change

_STOPPED = {
    "located": "every change is located to one commit",
    "budget": "the budget is spent",
    "limit": "the limit of commits is reached",
}


def adaptive_payload(
    commits: Sequence[Commit], plan: Plan, timed: int, broken: int, stopped: str
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


def adaptive_text(payload: dict[str, Any]) -> str:
    """The same for people."""
    share = payload["timed"] / max(payload["trees"], 1)
    lines = [
        f"{_STOPPED[payload['stopped']]}: {len(payload['located'])} changes, "
        f"{payload['timed']} of {payload['trees']} trees timed ({share:.0%})"
        + (f", {payload['broken']} broken" if payload["broken"] else "")
    ]
    rows = [
        [
            str(one["position"] or ""),
            one["commit"][:8]
            if one["first"] == one["commit"]
            else f"{one['first'][:8]}..{one['commit'][:8]}",
            one["date"],
            format_change(one["effect"]),
            "work" if one["explained_by_work"] else "time alone",
            one["series"],
            one["subject"][:50],
        ]
        for one in payload["located"]
    ]
    if rows:
        head = ["#", "commit", "date", "change", "shown by", "series", "subject"]
        lines.append(table(head, rows, right=(0, 3)))
    lines += [
        f"still open: {one['why']} after {one['after'][:8]}, until {one['until'][:8]}"
        for one in payload["suspicions"]
    ]
    return "\n".join(lines)
