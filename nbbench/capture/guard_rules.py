"""The rules of a guarded run: what the environment and the command may not undo.

Each broken rule has a name, so that a sign-off says what it waived:

- `environment-conflict`: a guarded variable is already set to something else;
- `timeout-lowered`: a test or outer timeout is below the preset's, or switched off;
- `compile-enabled`: torch.compile is turned on;
- `gpu-enabled`: a GPU is made visible, or GPU tests are selected.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from nbbench.subject.presets import Preset

ENVIRONMENT, TIMEOUT, COMPILE, GPU = (
    "environment-conflict",
    "timeout-lowered",
    "compile-enabled",
    "gpu-enabled",
)
_PYTEST = ("pytest", "py.test")
_SHELLS = ("sh", "bash", "dash", "zsh", "ksh")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
# The switches that turn compilation off, and the values with which they do not.
COMPILE_SWITCHES = re.compile(r"(\w+_)?DISABLE_COMPILE|TORCHDYNAMO_DISABLE|TORCH_COMPILE_DISABLE")
_OFF = ("", "0", "false", "no", "off")
# A positive mention in `-m` or `-k` selects such tests; `not gpu` leaves them out.
_GPU_WORD = re.compile(r"(?i)(?<![A-Za-z])(?:gpu|cuda)")
_COMPILE_WORD = re.compile(r"(?i)(?<![A-Za-z])(?:torch_?)?(?:compile|dynamo|inductor)")
_NEGATED = re.compile(r"(?i)\bnot\s+(?:\w+|\([^()]*\))")


@dataclass(frozen=True, slots=True)
class Violation:
    """A guard that would not hold, and what undoes it."""

    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """A command without `time`, `timeout`, `env` and the like in front of it."""

    program: tuple[str, ...]
    assignments: dict[str, str] = field(default_factory=dict)
    timeout_s: float | None = None


def unwrap(command: Sequence[str]) -> Unwrapped:
    """What `time -v timeout 900 env A=B pytest …` runs, with the variables and the timeout set on the way."""
    words = list(command)
    assignments: dict[str, str] = {}
    timeout: float | None = None
    while words:
        name = PurePath(words[0]).name
        if match := _ASSIGNMENT.fullmatch(words[0]):
            assignments[match[1]] = match[2]
            words.pop(0)
        elif name in ("env", "time", "nohup", "nice", "stdbuf", "timeout", "exec"):
            words = _without_options(words[1:], name)
            if name == "timeout" and words:
                timeout = _seconds(words.pop(0), timeout)
        else:
            break
    return Unwrapped(tuple(words), assignments, timeout)


def guarded_environment(preset: Preset, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the command: a guard is added where the variable is not set.

    A conflicting value stays as it is: it was refused, or signed off.
    """
    return {**dict(preset.environment), **environ}


def violations(
    preset: Preset, environ: Mapping[str, str], command: Sequence[str], timeout_s: float | None = None
) -> tuple[Violation, ...]:
    """Every rule that the environment, the command or `--timeout` breaks, in a fixed order."""
    inner = unwrap(command)
    shell = _script_assignments(inner.program)
    found = list(_environment(preset, {**environ, **inner.assignments, **shell}))
    if timeout_s is not None and timeout_s < preset.timeout_s:
        found.append(_lowered(f"--timeout {timeout_s:g}", preset.timeout_s))
    if inner.timeout_s is not None and inner.timeout_s < preset.timeout_s:
        found.append(_lowered(f"timeout {inner.timeout_s:g} in the command", preset.timeout_s))
    words = _words(inner.program)
    found += _test_timeout(words, "the command", preset)
    found += _selected(words)
    return tuple(dict.fromkeys(found))


def is_pytest(command: Sequence[str]) -> bool:
    """Whether the command's exit code is pytest's own."""
    program = unwrap(command).program
    if not program:
        return False
    name = PurePath(program[0]).name
    return name in _PYTEST or (
        name.startswith("python")
        and any(pair in (("-m", known) for known in _PYTEST) for pair in itertools.pairwise(program))
    )


def _environment(preset: Preset, environ: Mapping[str, str]) -> Iterator[Violation]:
    guards = dict(preset.environment)
    for name, wanted in guards.items():
        value = environ.get(name, wanted)
        if value == wanted:
            continue
        if COMPILE_SWITCHES.fullmatch(name) and value.strip().lower() in _OFF:
            yield Violation(COMPILE, f"{name}={value} enables torch.compile; the guard is {name}={wanted}")
        elif name == "CUDA_VISIBLE_DEVICES":
            yield Violation(GPU, f"{name}={value} may show a GPU; the guard is {name}={wanted}")
        elif name == "PYTEST_ADDOPTS":
            lowered = list(_test_timeout(_split(value), "PYTEST_ADDOPTS", preset))
            yield from lowered
            if not lowered:
                yield Violation(ENVIRONMENT, f"{name} is set to {value!r}; the guarded string is {wanted!r}")
        else:
            yield Violation(ENVIRONMENT, f"{name} is set to {value!r}; the guard is {wanted!r}")
    if "PYTEST_ADDOPTS" in guards:
        yield from _selected(_split(environ.get("PYTEST_ADDOPTS", "")))
    for name, value in environ.items():
        if COMPILE_SWITCHES.fullmatch(name) and name not in guards and value.strip().lower() in _OFF:
            yield Violation(COMPILE, f"{name}={value} asks for torch.compile")
    seconds = _number(environ.get("PYTEST_TIMEOUT", ""))
    if seconds is not None and _is_lower(seconds, preset):
        yield _lowered(f"PYTEST_TIMEOUT={seconds:g}", preset.timeout_s)


def _test_timeout(words: Sequence[str], where: str, preset: Preset) -> Iterator[Violation]:
    """pytest-timeout's option, and the ways to take the plugin away."""
    for option, value in _options(words):
        if option in ("--timeout", "timeout"):
            seconds = _number(value)
            if seconds is not None and _is_lower(seconds, preset):
                yield _lowered(f"--timeout={value} in {where}", preset.timeout_s)
        elif option == "-p" and value == "no:timeout":
            yield _lowered(f"-p no:timeout in {where}", preset.timeout_s)


def _is_lower(seconds: float, preset: Preset) -> bool:
    return seconds < preset.timeout_s  # 0 switches pytest-timeout off, which is no timeout at all


def _selected(words: Sequence[str]) -> Iterator[Violation]:
    for option, value in _options(words):
        if option not in ("-m", "-k"):
            continue
        chosen = _NEGATED.sub(" ", value)
        if _GPU_WORD.search(chosen):
            yield Violation(GPU, f"{option} {value!r} selects GPU tests")
        if _COMPILE_WORD.search(chosen):
            yield Violation(COMPILE, f"{option} {value!r} selects tests that compile")


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(option, value) of the pytest options that matter, in the forms that pytest takes.

    The `-m` that names a module for Python is none of pytest's.
    """
    for word, following in itertools.pairwise([*words, ""]):
        if word == "-m" and following in _PYTEST:
            continue
        if word in ("-m", "-k", "-p", "--timeout"):
            yield word, following
        elif word in ("-o", "--override-ini"):
            name, _, value = following.partition("=")
            yield name.strip(), value.strip()
        elif word.startswith("--timeout="):
            yield "--timeout", word.partition("=")[2]
        elif word[:2] in ("-m", "-k", "-p") and not word.startswith("--"):
            yield word[:2], word[2:]


def _words(program: Sequence[str]) -> list[str]:
    """The command's words, those of a shell script given with -c among them."""
    words = list(program)
    script = _script(program)
    return words + _split(script) if script else words


def _script(program: Sequence[str]) -> str:
    if program and PurePath(program[0]).name in _SHELLS:
        for word, following in itertools.pairwise(program[1:]):
            if re.fullmatch(r"-[a-z]*c", word):
                return following
    return ""


def _script_assignments(program: Sequence[str]) -> dict[str, str]:
    found = (_ASSIGNMENT.fullmatch(word) for word in _split(_script(program)))
    return {match[1]: match[2] for match in found if match}


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an open quote: words by blanks are good enough to look at
        return text.split()


def _without_options(words: list[str], name: str) -> list[str]:
    """The words behind a wrapper's own options."""
    taking = {"env": ("-u", "-C"), "time": ("-o", "-f"), "nice": ("-n",), "timeout": ("-s", "-k")}
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "--":
            break
        if word in taking.get(name, ()) and words:
            words.pop(0)
    return words


def _seconds(text: str, otherwise: float | None) -> float | None:
    match = _DURATION.fullmatch(text)
    if match is None:
        return otherwise
    seconds = float(match[1]) * _UNIT_S[match[2]]
    return seconds or None  # `timeout 0` is no timeout


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _lowered(what: str, guard_s: float) -> Violation:
    return Violation(TIMEOUT, f"{what} is below the guard of {guard_s:g} s")
