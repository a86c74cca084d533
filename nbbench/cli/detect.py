"""`nbbench detect`."""

from __future__ import annotations

import click

from nbbench.cli.app import App
from nbbench.cli.options import project_option


@click.command()
@project_option
@click.option("--machine", metavar="NAME", help="Only series of this machine.")
@click.pass_obj
def detect(app: App, machine: str | None) -> int:
    """Find change points in every series, group them into events, attribute and explain them.

    Exact counters are compared exactly; noisy series by the detector of docs/statistics.md. Where no series
    could be judged, the exit code is 4.
    """
    from collections import Counter

    from nbbench.cli.pages import emit_blocks
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, UsageError
    from nbbench.history.history import current_flags, detect_events, nothing_judged
    from nbbench.model import EventDirection
    from nbbench.record.refresh import import_all, no_results, open_store, result_notes
    from nbbench.report.events import regressions_blocks
    from nbbench.report.not_judged import plain_not_judged
    from nbbench.words import plural

    with open_store(app.settings) as store:
        import_all(app.settings, store)
        known = [one.name for one in store.machines()]
        if machine is not None and machine not in known:
            raise UsageError(
                f"nothing was measured on {machine!r}",
                hint=f"on record: {', '.join(known) or 'no machine'}",
            )
        events = detect_events(app.settings, store, machine=machine)
        info = store.run_info()
        if not info.get("series"):
            raise no_results(store)
        for note in result_notes(store):
            app.say(note)
        flags = current_flags(store, events, app.settings.plan)
        not_judged = store.not_judged()
        nothing = nothing_judged(store)
    counts = Counter(event.direction for event in events)
    kinds = ", ".join(plural(counts[direction], direction) for direction in EventDirection)
    head = f"{info['series']} series, {info['changes']} change points, {len(events)} events: {kinds}"
    blocks = regressions_blocks(flags, not_judged=not_judged, nothing=nothing, evidence=False)
    payload = {**info, "events": events, "not_judged": plain_not_judged(not_judged)}
    emit_blocks(app, "detect", payload, [head, *blocks])
    return EXIT_INCONCLUSIVE if nothing else EXIT_OK
