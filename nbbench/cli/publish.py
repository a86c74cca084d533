"""`nbbench publish`, and the site for `asv publish` alike."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from itertools import chain, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from nbbench.cli.app import App
from nbbench.cli.options import project_option
from nbbench.config import Settings
from nbbench.errors import InconclusiveError, NbbenchError
from nbbench.model import Series
from nbbench.words import day

if TYPE_CHECKING:
    from nbbench.plan.plan import CriterionState
    from nbbench.plan.plans import Plan
    from nbbench.record.store import Store
    from nbbench.report.site import Site, SiteFacts
    from nbbench.report.site_series import Drawn

PAGE, FILES, ASV_PAGE = "index.html", "nbbench", "asv.html"


@click.command()
@project_option
@click.option("--page-only", is_flag=True, help="Only the site, without asv's own pages.")
@click.pass_obj
def publish(app: App, page_only: bool) -> None:
    """Write the site below html/: open html/index.html, no network and no server are needed.

    It shows what changed and why, the branch, every series, every commit, any two of them, the plan, the
    evidence and the noise. Without JavaScript it still has its verdicts as tables. asv's own pages lie
    beside it (html/asv.html); they load their libraries from the network.
    """
    from nbbench.measure.asv_run import run_asv

    html = app.settings.html_dir
    if page_only or app.settings.project:  # asv knows this project's results only
        write_site(app.settings, html)
    else:
        if not any(path.is_file() for path in app.settings.results_dir.glob("*/*-*.json")):
            raise InconclusiveError(
                "there are no results to publish", hint="measure with `nbbench run` first"
            )
        app.say("asv publish …")
        run_asv(app.settings, ["publish"])
    paths = [html / name for name in (PAGE, ASV_PAGE)]
    wrote = [str(path.relative_to(app.settings.root)) for path in paths if path.is_file()]
    app.emit("publish", {"wrote": wrote}, "\n".join(f"wrote {name}" for name in wrote))


def _put_plotly(folder: Path) -> None:
    from nbbench.report.site import PLOTLY

    found = importlib.util.find_spec("plotly")  # its Python code is not loaded
    assert found is not None and found.submodule_search_locations
    source = Path(found.submodule_search_locations[0]) / "package_data" / PLOTLY
    shutil.copyfile(source, folder / PLOTLY)


def write_site(settings: Settings, html: Path, *, commands: bool = True) -> None:
    """Write the site into `html`; the database is brought up to date first.

    Without `commands` no event shows any: they would not work where there is no suite. Raises
    InconclusiveError when there is nothing to show.
    """
    from nbbench.history.ledger_series import ledger_series
    from nbbench.record.refresh import open_store
    from nbbench.report.site import Site
    from nbbench.report.site_series import Drawn

    html.mkdir(parents=True, exist_ok=True)
    with open_store(settings) as store:
        facts = _facts(settings, store, html)
        facts = facts if commands else replace(facts, trees=frozenset())
        own = ledger_series(facts.commits, facts.ledgers, facts.torch)
        put_site(html, Site(facts), chain(starmap(Drawn, store.iter_columns()), own))


def put_site(html: Path, site: Site, series: Iterator[Series | Drawn]) -> None:
    """Write a site's files in place of an earlier one's: they change places at once, the page itself last."""
    from nbbench.record.atomic import write_text
    from nbbench.report.site import as_script

    fresh, old = html / f".{FILES}-{os.getpid()}", html / f".{FILES}-old-{os.getpid()}"
    for left in html.glob(f".{FILES}-*"):  # of a process that was killed
        try:
            os.kill(int(left.name.rpartition("-")[2]), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except (PermissionError, ValueError):  # somebody else's that runs, and what is none of ours
            continue
    try:
        fresh.mkdir()
        for name, payload in site.documents(series):
            path = fresh / "data" / f"{name}.js"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(as_script(name, payload), encoding="utf-8")
        for one in (files("nbbench.report") / "templates" / "site").iterdir():
            (fresh / one.name).write_bytes(one.read_bytes())
        _put_plotly(fresh)
        with suppress(FileNotFoundError):
            (html / FILES).rename(old)
        fresh.rename(html / FILES)
        if _is_asv(html / PAGE):
            (html / PAGE).replace(html / ASV_PAGE)
        write_text(html / PAGE, site.page())
    finally:
        for folder in (fresh, old):
            shutil.rmtree(folder, ignore_errors=True)


def _is_asv(page: Path) -> bool:
    """Whether a page is asv's own index."""
    return page.is_file() and b"asv_ui.js" in page.read_bytes()


def _facts(settings: Settings, store: Store, html: Path) -> SiteFacts:
    """What the site tells of, titled by the branch and the plan item where this project has one."""
    from nbbench.history.history import every_flag, nothing_judged, stored_ledgers, up_to_date
    from nbbench.history.telemetry import canary_levels, disturbed_results
    from nbbench.measure.process_env import installed_torch
    from nbbench.plan.plans import plans
    from nbbench.record.branch import subject_or_none
    from nbbench.record.projects import CONF, own_project
    from nbbench.record.side_files import evidence_torch
    from nbbench.record.viewed import commit_address
    from nbbench.report.site import SiteFacts
    from nbbench.subject.repository import last_release

    events = up_to_date(settings, store)
    flags = every_flag(store, events, settings.plan)
    project, own = store.project, store.project == own_project(settings)
    item, name = plans(settings).get(settings.plan) if own else None, project
    commits, release = store.commits(), ("", "")
    if own and (subject := subject_or_none(settings)) is not None:
        release = last_release(subject, {commit.hash for commit in commits})
        clone = Path(subject.source)
        name = clone.parent.name if clone.name == ".git" else clone.name.removesuffix(".git")
    flags = [flag if item else replace(flag, plan="") for flag in flags]
    records, ledgers = store.process_records(), stored_ledgers(store)
    torch = evidence_torch({t: len(found) for t, found in ledgers.items()}, installed_torch())
    return SiteFacts(
        title=f"Regressions for {item.id}" if item else f"Changes of {project}",
        source=f"branch {settings.branch} of {name}" if own and settings.branch else f"project {project}",
        generated_at=datetime.now(UTC),
        flags=flags,
        commits=commits,
        not_judged=store.not_judged(),
        nothing=nothing_judged(store),
        trees=frozenset(commit.hash for commit in commits if commit.tree),
        ledgers=ledgers.get(torch, {}),
        torch=torch,
        directions=settings.directions,
        disturbed=disturbed_results(records),
        canaries=canary_levels(records),
        calibrations=_calibrations(settings) if own else {},
        plan=_plan(settings, store, item) if item else ("", ()),
        folders=_folders(settings, html) if own else (),
        commit_address=commit_address(settings.root / CONF) if own else "",
        release=release,
        asv=(html / ASV_PAGE).is_file() or _is_asv(html / PAGE),
    )


def _plan(settings: Settings, store: Store, item: Plan) -> tuple[str, Sequence[CriterionState]]:
    """How the plan item stands and its criteria, or why they cannot be judged."""
    from nbbench.plan.plan_status import plan_states
    from nbbench.report.plan import headline

    now = datetime.now(UTC)
    try:
        machine, states = plan_states(settings, store, item, now)
    except NbbenchError as error:
        return f"The criteria cannot be judged: {error}. {error.hint}", ()
    return f"{item.id} {item.title}: {headline(states)}; measured on {machine}", states


def _folders(settings: Settings, html: Path) -> list[tuple[Any, str]]:
    """The evidence folders with their addresses as seen from the site."""
    from nbbench.record.evidence_folder import evidence_folders

    found = (
        (folder, os.path.relpath(settings.root / folder.path, html)) for folder in evidence_folders(settings)
    )
    return [(folder, quote(path, errors="surrogateescape")) for folder, path in found]


def _calibrations(settings: Settings) -> dict[str, Mapping[str, Any]]:
    from nbbench.gate.calibration import calibration_path, read_calibration

    found = map(read_calibration, sorted(calibration_path(settings.results_dir, "x").parent.glob("*.json")))
    return {f"{c.machine}, {day(c.measured_at)}, torch {c.torch}": c.series for c in found if c}
