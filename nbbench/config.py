"""Settings: flag > NBBENCH_* variable > [tool.nbbench] in pyproject.toml > subject's profile > default."""

import dataclasses
import json
import os
import re
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from nbbench.errors import ConfigError
from nbbench.metrics import Better
from nbbench.workloads import use_workloads

_T = TypeVar("_T")
_PREFIX = "NBBENCH_"
_PROFILES = Path(__file__).parent / "subject" / "subjects"
FOLDER = "benchmarks"  # of a repository that has its project inside
_TABLES = ("plans", "presets", "subject", "units")

# The forms of settings; a description is what a message says when a value has another form.
Share = Annotated[float, Meta(gt=0, lt=1, description="a number that must lie between 0 and 1")]
Seconds = Annotated[float, Meta(gt=0, le=1e9, description="a time such as 90s or 5m")]
Inside = Annotated[str, Meta(pattern=r"^(?!/)(?!(.*/)?\.\.(/|$))", description="a path inside the subject")]
MachineName = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$", description="letters, digits, '.', '_' and '-' alone"
    ),
]


class ImageTolerance(Struct, frozen=True, forbid_unknown_fields=True):
    """How far two images may lie apart and still be the same within rounding, and why.

    Relative changes of the means of 8 × 8 blocks: `median` over all blocks, `block` of any one.
    """

    median: Annotated[float, Meta(ge=0, le=1)] = 1e-4
    block: Annotated[float, Meta(ge=0, le=1)] = 1e-2
    reason: str = "sums in another order move the means of blocks by less"


@dataclass(frozen=True, slots=True)
class Settings:
    """Validated settings of one project; paths are absolute.

    `floor` and `min_effect` are relative changes (0.03 = 3 %), `alpha` an error rate, `*_s` seconds.
    `profile` is the subject's profile as it stands in its TOML (nbbench/subject/profile.py reads it),
    `directions` says which direction is better, by unit, as `[tool.nbbench.units]` declares it. `said` is no
    setting: the notes that were given once, and need not be again.
    """

    root: Path
    branch: str = "main"
    measured_path: Inside = "."
    import_root: Inside = "."
    package: str = ""
    db: str = ""
    project: str = ""
    machine: MachineName = ""
    plan: str = "performance"
    cluster: str = "CLUSTER-PERF"
    reports_root: str = "reports"
    floor: Share = 0.01
    min_effect: Share = 0.05
    alpha: Share = 0.01
    budget_s: Seconds = 300.0
    threads: Annotated[int, Meta(ge=0, description="a whole number that is not negative")] = 0
    gate_bench: str = "."
    profile: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    directions: Mapping[str, Better] = dataclasses.field(default_factory=dict, hash=False)
    said: set[str] = dataclasses.field(default_factory=set, compare=False, repr=False)

    @property
    def is_project(self) -> bool:
        """Whether `root` is a project; outside of one `nbbench capture` works with the defaults."""
        return (self.root / "asv.conf.json").is_file()

    @property
    def results_dir(self) -> Path:
        """asv's results tree; asv.conf.json names the same folder, so it is not a setting."""
        return self.root / "results"

    @property
    def html_dir(self) -> Path:
        """Where `asv publish` writes, as asv.conf.json says."""
        return self.root / "html"

    @property
    def state_dir(self) -> Path:
        """Scratch that git ignores: the registered subject, extracted trees, locks."""
        return self.root / ".nbbench"

    @property
    def database_url(self) -> str:
        """The database's URL; SQLite beside the results unless another is named."""
        return self.db or f"sqlite:///{self.results_dir / 'nbbench.sqlite'}"

    @property
    def subject_git(self) -> Path:
        """The bare repository that asv reads (objects borrowed from the subject's clone)."""
        return self.state_dir / "subject.git"

    @property
    def env_dir(self) -> Path:
        """Where asv keeps its environments; source trees are extracted below it."""
        return self.state_dir / "env"

    @property
    def decisions_dir(self) -> Path:
        """Flag decisions as text, one file each, so that they travel with git."""
        return self.results_dir / "decisions"


def _check_asv_conf(path: Path) -> None:
    """Raises ConfigError where asv could not read the file: it takes JSON5, which is slower to read."""
    try:
        text = path.read_text(encoding="utf-8")
        lines = ("" if line.lstrip().startswith("//") else line for line in text.splitlines())
        try:
            found = json.loads("\n".join(lines))
        except ValueError:
            import json5

            found = json5.loads(text)
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(
            f"{path} is no configuration that asv can read", hint="look for a missing comma, quote or bracket"
        )


def find_root(start: Path | None = None) -> Path:
    """The nearest folder, from `start` upwards, that holds an asv.conf.json, or whose `benchmarks/` does.

    Raises ConfigError when there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (place for above in (here, *here.parents) for place in (above, above / FOLDER)):
        if (folder / "asv.conf.json").is_file():
            _check_asv_conf(folder / "asv.conf.json")
            return folder
    raise ConfigError(
        f"no asv.conf.json in {here} or above it",
        hint="run nbbench inside its project, or pass --root DIR; `nbbench init` begins one",
    )


def load_settings(
    root: Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read and validate the settings of the project at `root`.

    `overrides` holds flags (None means not given). Raises ConfigError with the name of the
    setting and where it came from.
    """
    base = find_root(root)
    environ = os.environ if environ is None else environ
    table, own = subject_table(base), _from_pyproject(base)
    given = [
        *((name, raw, "pyproject.toml") for name, raw in own.items() if name not in _TABLES),
        *((name, environ[v], v) for name in SETTINGS if (v := _PREFIX + name.upper()) in environ),
        *((n, raw, f"--{n.removesuffix('_s')}") for n, raw in (overrides or {}).items() if raw is not None),
    ]
    values = _of_profile(table) | {name: _setting(name, raw, source) for name, raw, source in given}
    use_workloads(base)
    words = f"is none of {', '.join(Better)}"
    units = {
        unit: typed(word, Better, f"pyproject.toml, [tool.nbbench.units] {unit!r} {words}")
        for unit, word in configured_table(base, "units").items()
    }
    return Settings(root=base, profile=table, directions=units, **values)


def checkout_settings(root: Path) -> Settings:
    """The settings for a checkout outside of any project: those of the profile whose measured path it has.

    Where it has none, those of the first profile that comes with nbbench.
    """
    tables = list(shipped_profiles().values())
    table = next((t for t in tables if (root / str(t.get("measured_path"))).is_dir()), tables[0])
    return Settings(root=root, profile=table, **_of_profile(table))


def _of_profile(table: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among a profile's fields; its `project` is asv's name, by which it is found."""
    names = [name for name in table if name in SETTINGS and name != "project"]
    return {name: _setting(name, table[name], "the subject's profile") for name in names}


def _setting(name: str, raw: Any, source: str) -> Any:
    """One setting from anywhere; a time may be written 5m, a share 3%."""
    if name not in SETTINGS:
        raise ConfigError(f"unknown setting {name!r} in [tool.nbbench] of {source}")
    form = SETTINGS[name]
    try:
        found = duration_s(raw) if form is Seconds and isinstance(raw, str) else raw
        if form is Share and isinstance(found, str) and found.strip().endswith("%"):
            found = float(found.strip()[:-1]) / 100
        return msgspec.convert(found, form, strict=False)
    except ValueError as error:
        what = next((m.description for m in getattr(form, "__metadata__", ())), "text")
        raise ConfigError(f"setting {name!r} from {source} is not {what}: {raw!r}") from error


def typed(raw: Any, form: type[_T], where: str) -> _T:
    """`raw`, as it was read from a file that people write, as a `form`.

    Raises ConfigError with `where` and the key that is wrong.
    """
    try:
        return msgspec.convert(raw, form)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `")
        key = place.rstrip("`").removeprefix("$").removeprefix(".")
        said = said.replace("`", "").replace("Object contains unknown field", "there is no field")
        raise ConfigError(f"{where}: {f'{key}: ' if key else ''}{said}") from error


@cache
def shipped_profiles() -> Mapping[str, Mapping[str, Any]]:
    """The profiles that come with nbbench, as tables by name."""
    files = sorted(_PROFILES.glob("*/profile.toml"))
    return {path.parent.name: tomllib.loads(path.read_text(encoding="utf-8")) for path in files}


def subject_table(root: Path) -> Mapping[str, Any]:
    """The profile of the project's subject as a table; what is not in it is as for any package.

    `[tool.nbbench] subject` names a profile of nbbench's, or is the profile itself, which may begin with
    `extends = "NAME"`. Without it the project's name in asv.conf.json decides. Raises ConfigError for an
    unknown name.
    """
    conf, known = root / "asv.conf.json", shipped_profiles()
    own = {"project": asv_setting(conf, "project")}
    if branch := asv_setting(conf, "branches"):
        own["branch"] = branch
    asked = _from_pyproject(root).get("subject")
    if asked is None:
        return next((table for table in known.values() if table["project"] == own["project"]), own)
    if not isinstance(asked, str | dict):
        raise ConfigError("[tool.nbbench] subject in pyproject.toml is neither a name nor a table")
    more = {} if isinstance(asked, str) else dict(asked)
    name = asked if isinstance(asked, str) else more.pop("extends", None)
    if name is not None and name not in known:
        raise ConfigError(f"there is no subject profile {name!r}", hint=f"known: {', '.join(known)}")
    return {**(known[name] if name else own), **more}


def asv_setting(path: Path, name: str) -> str:
    """A text of an asv.conf.json, or the first one of a list; empty where there is none.

    The file is JSON with comments at the beginning of lines, so it is searched, not parsed.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(rf'^(?!\s*//).*?"{name}"\s*:\s*\[?\s*("(?:[^"\\]|\\.)*")', text, re.MULTILINE)
    try:
        return str(json.loads(match[1])) if match else ""
    except ValueError:
        return ""


def configured_table(root: Path, name: str) -> dict[str, Any]:
    """The table `[tool.nbbench.<name>]` of the project's pyproject.toml; empty where there is none.

    Raises ConfigError when it is something else than a table.
    """
    return typed(_from_pyproject(root).get(name, {}), dict[str, Any], f"{name} in pyproject.toml")


def _from_pyproject(root: Path) -> dict[str, Any]:
    path = root / "pyproject.toml"
    if not path.is_file():
        return {}
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"pyproject.toml does not parse: {error}") from error
    tools = typed(data.get("tool", {}), dict[str, Any], "[tool] in pyproject.toml")
    return typed(tools.get("nbbench", {}), dict[str, Any], "[tool.nbbench] in pyproject.toml")


def duration_s(text: str) -> float:
    """A time such as 90, 90s, 5m or 1h in seconds. Raises ValueError when it is none, or not positive."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]+)?)(s|m|h|)", text.strip())
    if match is None or not float(match[1]):
        raise ValueError(f"a time is written 90s, 5m or 1h, not {text!r}")
    return float(match[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[match[2]]


SETTINGS: Mapping[str, Any] = {
    name: form
    for name, form in typing.get_type_hints(Settings, include_extras=True).items()
    if name not in ("root", "profile", "directions", "said")
}
"""The form of every setting by its name."""
