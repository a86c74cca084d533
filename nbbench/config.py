"""Settings: flag > NBBENCH_* variable > [tool.nbbench] in pyproject.toml > default."""

from __future__ import annotations

import dataclasses
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


@dataclass(frozen=True, slots=True)
class Settings:
    """Validated settings of one project; paths are absolute.

    `floor` and `min_effect` are relative changes (0.03 = 3 %), `alpha` an error rate,
    `*_s` seconds.
    """

    root: Path
    branch: str = "feature/spec-based-2"
    measured_path: str = "src/nanobrag_torch"
    import_root: str = "src"
    package: str = "nanobrag_torch"
    db: str = ""
    project: str = ""
    machine: str = ""
    plan: str = "PERF-PYTORCH-004"
    cluster: str = "CLUSTER-PERF-001"
    reports_root: str = "reports/2026-01-test-suite-refresh/phase_d/20251015T113531Z"
    floor: float = 0.01
    min_effect: float = 0.05
    alpha: float = 0.01
    budget_s: float = 300.0
    threads: int = 0
    gate_bench: str = (
        r"bandwidth\.Warm\.time_run\((512|1024), "
        r"|vectorisation\.(Tricubic\.time_interpolate\((1000|100000), 'float32'\)"
        r"|Sources\.time_generate|MultiSource\.time_run\(3\))"
    )
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
    names = {f.name: f for f in dataclasses.fields(Settings) if f.name not in ("root", "units")}
    values: dict[str, Any] = {}
    for name, raw in _from_pyproject(base).items():
        if name in ("plans", "presets", "units"):
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
    return _checked(Settings(root=base, units=_directions(base), **values))


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


def _convert(fld: dataclasses.Field[Any], raw: Any, source: str) -> Any:
    kind = {"str": str, "float": float, "int": int}[str(fld.type)]
    try:
        if kind is float and isinstance(raw, str) and raw.strip().endswith("%"):
            return float(raw.strip()[:-1]) / 100
        return kind(raw)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"setting {fld.name!r} from {source} is not a {kind.__name__.lower()}: {raw!r}"
        ) from error


def _checked(settings: Settings) -> Settings:
    for name in ("floor", "min_effect", "alpha"):
        if not 0 < getattr(settings, name) < 1:
            raise ConfigError(f"setting {name!r} must lie between 0 and 1, got {getattr(settings, name)}")
    if settings.budget_s <= 0:
        raise ConfigError(f"setting 'budget_s' must be positive, got {settings.budget_s}")
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
