"""Settings: flag > NBBENCH_* variable > [tool.nbbench] in pyproject.toml > subject's profile > default."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbbench.errors import ConfigError
from nbbench.metrics import Better
from nbbench.workloads import use_workloads

_PREFIX = "NBBENCH_"
_PROFILES = Path(__file__).parent / "subject" / "subjects"
_PROFILE = "profile.toml"


@dataclass(frozen=True, slots=True)
class Settings:
    """Validated settings of one project; paths are absolute.

    `floor` and `min_effect` are relative changes (0.03 = 3 %), `alpha` an error rate, `*_s` seconds.
    `profile` is the subject's profile as it stands in its TOML (nbbench/subject/profile.py reads it).
    """

    root: Path
    branch: str = "main"
    measured_path: str = "."
    import_root: str = "."
    package: str = ""
    db: str = ""
    project: str = ""
    machine: str = ""
    plan: str = "performance"
    cluster: str = "CLUSTER-PERF"
    reports_root: str = "reports"
    floor: float = 0.01
    min_effect: float = 0.05
    alpha: float = 0.01
    budget_s: float = 300.0
    threads: int = 0
    gate_bench: str = "time_"
    profile: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    units: tuple[tuple[str, Better], ...] = ()

    @property
    def directions(self) -> dict[str, Better]:
        """Which direction is better, by unit, as `[tool.nbbench.units]` declares it."""
        return dict(self.units)

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


def find_root(start: Path | None = None) -> Path:
    """The nearest folder, from `start` upwards, that holds an asv.conf.json.

    Raises ConfigError when there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "asv.conf.json").is_file():
            return folder
    raise ConfigError(
        f"no asv.conf.json in {here} or above it", hint="run nbbench inside its project, or pass --root DIR"
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
    names = _fields()
    table = subject_table(base)
    values = _of_profile(table, names)
    for name, raw in _from_pyproject(base).items():
        if name in ("plans", "presets", "subject", "units"):
            continue
        if name not in names:
            raise ConfigError(f"unknown setting {name!r} in [tool.nbbench] of pyproject.toml")
        values[name] = _convert(names[name], raw, "pyproject.toml")
    for name, fld in names.items():
        if (raw_env := environ.get(_PREFIX + name.upper())) is not None:
            values[name] = _convert(fld, raw_env, _PREFIX + name.upper())
    for name, given in (overrides or {}).items():
        if given is not None:
            values[name] = _convert(names[name], given, f"--{name.replace('_', '-')}")
    use_workloads(base)
    return _checked(Settings(root=base, units=_directions(base), profile=table, **values))


def checkout_settings(root: Path) -> Settings:
    """The settings for a checkout outside of any project: those of the profile whose measured path it has.

    Where it has none, those of the first profile that comes with nbbench.
    """
    tables = [read_profile(name) for name in shipped_profiles()]
    table = next((t for t in tables if (root / str(t.get("measured_path"))).is_dir()), tables[0])
    return Settings(root=root, profile=table, **_of_profile(table, _fields()))


def _fields() -> dict[str, dataclasses.Field[Any]]:
    return {f.name: f for f in dataclasses.fields(Settings) if f.name not in ("root", "units", "profile")}


def _of_profile(table: Mapping[str, Any], names: Mapping[str, dataclasses.Field[Any]]) -> dict[str, Any]:
    """The settings among a profile's fields; its `project` is asv's name, by which it is found."""
    found = {n: raw for n, raw in table.items() if n in names and n != "project"}
    return {n: _convert(names[n], raw, "the subject's profile") for n, raw in found.items()}


def shipped_profiles() -> list[str]:
    """Names of the profiles that come with nbbench."""
    return sorted(f.name for f in _PROFILES.iterdir() if f.joinpath(_PROFILE).is_file())


def read_profile(name: str) -> dict[str, Any]:
    """The table of a profile that comes with nbbench. Raises ConfigError for an unknown name."""
    if name not in (known := shipped_profiles()):
        raise ConfigError(f"there is no subject profile {name!r}", hint=f"known: {', '.join(known)}")
    return tomllib.loads(_PROFILES.joinpath(name, _PROFILE).read_text(encoding="utf-8"))


def subject_table(root: Path) -> dict[str, Any]:
    """The profile of the project's subject as a table; what is not in it is as for any package.

    `[tool.nbbench] subject` names a profile of nbbench's, or is the profile itself, which may begin with
    `extends = "NAME"`. Without it the project's name in asv.conf.json decides. Raises ConfigError for an
    unknown name.
    """
    asked = _from_pyproject(root).get("subject")
    if isinstance(asked, str):
        return read_profile(asked)
    if isinstance(asked, dict):
        start = read_profile(asked["extends"]) if "extends" in asked else _of_asv(root)
        return {**start, **{name: found for name, found in asked.items() if name != "extends"}}
    if asked is not None:
        raise ConfigError("[tool.nbbench] subject in pyproject.toml is neither a name nor a table")
    own = _of_asv(root)
    known = [read_profile(name) for name in shipped_profiles()]
    return next((table for table in known if table["project"] == own["project"]), own)


def _of_asv(root: Path) -> dict[str, Any]:
    """What asv.conf.json says of the project: its name and first branch."""
    path = root / "asv.conf.json"
    branch = asv_setting(path, "branches")
    return {"project": asv_setting(path, "project"), **({"branch": branch} if branch else {})}


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
    found = _from_pyproject(root).get(name, {})
    if not isinstance(found, dict):
        raise ConfigError(f"[tool.nbbench] {name} in pyproject.toml is not a table")
    return found


def _directions(root: Path) -> tuple[tuple[str, Better], ...]:
    """`[tool.nbbench.units]`: the direction in which each unit is better."""
    found = []
    for unit, word in configured_table(root, "units").items():
        if word not in set(Better):
            raise ConfigError(
                f"[tool.nbbench.units] {unit!r} in pyproject.toml is {word!r}",
                hint=f"say one of {', '.join(Better)}",
            )
        found.append((unit, Better(word)))
    return tuple(found)


def _from_pyproject(root: Path) -> dict[str, Any]:
    path = root / "pyproject.toml"
    if not path.is_file():
        return {}
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"pyproject.toml does not parse: {error}") from error
    section = data.get("tool", {}).get("nbbench", {})
    if not isinstance(section, dict):
        raise ConfigError("[tool.nbbench] in pyproject.toml is not a table")
    return section


def duration_s(text: str) -> float:
    """A time such as 90, 90s, 5m or 1h in seconds. Raises ValueError when it is none, or not positive."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]+)?)(s|m|h|)", text.strip())
    if match is None or not float(match[1]):
        raise ValueError(f"a time is written 90s, 5m or 1h, not {text!r}")
    return float(match[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[match[2]]


def _convert(fld: dataclasses.Field[Any], raw: Any, source: str) -> Any:
    kind = {"str": str, "float": float, "int": int}[str(fld.type)]
    is_time = fld.name.endswith("_s")
    try:
        if is_time and isinstance(raw, str):
            return duration_s(raw)
        if kind is float and isinstance(raw, str) and raw.strip().endswith("%"):
            return float(raw.strip()[:-1]) / 100
        return kind(raw)
    except (TypeError, ValueError) as error:
        what = "time such as 90s or 5m" if is_time else kind.__name__.lower()
        raise ConfigError(f"setting {fld.name!r} from {source} is not a {what}: {raw!r}") from error


def _checked(settings: Settings) -> Settings:
    for name in ("floor", "min_effect", "alpha"):
        if not 0 < getattr(settings, name) < 1:
            raise ConfigError(f"setting {name!r} must lie between 0 and 1, got {getattr(settings, name)}")
    if not 0 < settings.budget_s < math.inf:
        raise ConfigError(f"setting 'budget_s' must be a positive time, got {settings.budget_s}")
    if settings.threads < 0:
        raise ConfigError(f"setting 'threads' must not be negative, got {settings.threads}")
    if settings.machine and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", settings.machine):
        raise ConfigError(
            f"machine name {settings.machine!r} may hold only letters, digits, '.', '_' and '-'"
        )
    for name in ("measured_path", "import_root"):
        value = getattr(settings, name)
        if Path(value).is_absolute() or ".." in Path(value).parts:
            raise ConfigError(f"setting {name!r} must be a path inside the subject, got {value!r}")
    return settings
