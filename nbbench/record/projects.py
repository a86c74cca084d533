"""Which project a results tree belongs to, and whose figures are shown: histories of several projects live
side by side and never mix; tables, exports and verdicts are of one machine, and name it."""

import platform
from pathlib import Path

from nbbench.config import Settings, asv_setting
from nbbench.errors import InconclusiveError, UsageError
from nbbench.probe.device import CUDA_MARK, on_cuda
from nbbench.record.asv_results import BENCHMARKS_JSON, MACHINE_JSON, parse_benchmarks
from nbbench.record.asv_values import BadFileError, read_bytes
from nbbench.record.store import Store

CONF = "asv.conf.json"


def own_project(settings: Settings) -> str:
    """The name of this project: asv.conf.json's, or else that of its folder."""
    return asv_setting(settings.root / CONF, "project") or settings.root.resolve().name


def place_of(store: Store, results_dir: Path) -> str:
    """What tells this results tree from others of the same project in the database.

    The tree beside which a SQLite file lies is "", so both may be moved together.
    """
    whole = results_dir.resolve()
    if store.folder == whole:
        return ""
    return f"{platform.node()}:{whole}"


def find_results(folder: Path) -> tuple[Path, str]:
    """The results tree that is meant by a folder, and a sentence where that is another one.

    A project's folder stands for its results, a machine's for the tree in which it lies.
    """
    said = asv_setting(folder / CONF, "results_dir")
    often = [folder / name for name in ((said,) if said else ("results", ".asv/results"))]
    named = next(filter(is_tree, often), often[0])
    if named.is_dir() and ((folder / CONF).is_file() or (not is_tree(folder) and is_tree(named))):
        return named, f"the results in {named} were taken"
    if (folder / MACHINE_JSON).is_file() and not is_tree(folder):
        return folder.parent, f"{folder} is one machine's: the whole tree {folder.parent} was taken"
    return folder, ""


def project_of(settings: Settings, store: Store, results_dir: Path) -> str:
    """The project of a foreign results tree.

    Its asv.conf.json names it. Without one it is this project's where most of its benchmarks are ours (a
    second checkout, another machine's results), and else it has its folder's name. Raises UsageError where
    that is the name of another project.
    """
    own = own_project(settings)
    theirs, ours = _declared(results_dir), _declared(settings.results_dir)
    ours = ours or {(one.name, one.version) for one in store.benchmarks().values()}
    shared = bool(theirs) and 2 * len(theirs & ours) > len(theirs)
    if shared and not _named(results_dir.resolve()):
        return own
    name = folder_name(results_dir.resolve())
    if name == own:
        if shared or not (theirs and ours):
            return own
        raise UsageError(
            f"{results_dir} has the name of this project, {name!r}, and other benchmarks",
            hint="give it a name of its own with --project NAME",
        )
    places = [place for known, place in store.places() if known == name]
    if places and place_of(store, results_dir) not in places:
        raise UsageError(
            f"a project {name!r} was imported from {places[0].partition(':')[2]}",
            hint=f"--project NAME names this one, or with --project {name!r} adds it to that",
        )
    return name


def folder_name(whole: Path) -> str:
    """What results are called: the project that their asv.conf.json names, else their folder."""
    return _named(whole) or (_home(whole).name if whole.name == "results" else whole.name) or whole.name


def _home(whole: Path) -> Path:
    """The folder in which a project has its results, or the folder `.asv` that holds them."""
    return whole.parent.parent if whole.parent.name == ".asv" else whole.parent


def _named(whole: Path) -> str:
    conf = conf_of(whole)
    return asv_setting(conf, "project") if conf else ""


def conf_of(whole: Path) -> Path | None:
    """The asv.conf.json beside results, or one above that names their folder; None where there is none."""
    for above in whole.parents:
        conf = above / CONF
        said = asv_setting(conf, "results_dir")
        if conf.is_file() and (above == _home(whole) or (said and (above / said).resolve() == whole)):
            return conf
    return None


def is_tree(folder: Path) -> bool:
    """Whether a folder looks like asv's results: declared benchmarks, or folders of machines."""
    if (folder / BENCHMARKS_JSON).is_file():
        return True
    return folder.is_dir() and any((one / MACHINE_JSON).is_file() for one in folder.iterdir() if one.is_dir())


def _declared(results_dir: Path) -> set[tuple[str, str]]:
    path = results_dir / BENCHMARKS_JSON
    try:
        found = parse_benchmarks(read_bytes(path), path)
    except BadFileError:
        return set()
    return {(one.name, one.version) for one in found.values()}


def machine_name(settings: Settings) -> str:
    """This machine's name in results: the setting, or asv's own default (the host name).

    Its GPU is another machine: a name of its own keeps the figures of the two apart in every table.
    """
    return settings.machine or (platform.node() or "unknown") + ("-cuda" if on_cuda() else "")


def choose_machine(settings: Settings, store: Store, asked: str | None = None) -> str:
    """The machine whose figures are shown.

    That is the one asked for (by a command's `--machine` or the setting), else this machine where it has
    results, else the only one that has some of the measured device. Raises UsageError for a machine without
    results and where there are several to choose from, InconclusiveError where nothing was measured at all.
    """
    places = store.measured_environments()
    measured = sorted({machine for machine, _ in places})
    if not measured:
        raise InconclusiveError(
            "there are no results of any machine", hint="measure with `nbbench run` first"
        )
    listed = ", ".join(measured)
    if wanted := asked or settings.machine:
        if wanted in measured:
            return wanted
        raise UsageError(f"nothing was measured on {wanted!r}", hint=f"on record: {listed}")
    own = machine_name(settings)
    if own in measured:
        return own
    same = {machine for machine, environment in places if (CUDA_MARK in environment) is on_cuda()}
    if len(same or measured) == 1:
        return next(iter(same or measured))
    raise UsageError(
        f"results of several machines are on record, and none of this one ({own})",
        hint=f"choose one with --machine: {listed}",
    )
