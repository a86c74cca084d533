"""The rules of a guarded run: what the environment and the command may not undo (docs/evidence.md, "Guards").

Each broken rule has a name, so that a sign-off says what it waived.
"""

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

from nbbench.probe.resources import COMPILE_SWITCH
from nbbench.subject.profile import Preset

ENVIRONMENT, TIMEOUT = "environment-conflict", "timeout-lowered"
COMPILE, GPU = "compile-enabled", "gpu-enabled"
_PYTEST = ("pytest", "py.test")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_OFF = ("", "0", "false", "no", "off")  # values with which a switch does not turn compilation off
# A positive mention in `-m` or `-k` selects such tests; `not gpu` leaves them out.
_GPU_WORD = re.compile(r"(?i)(?<![A-Za-z])(?:gpu|cuda)")
_COMPILE_WORD = re.compile(r"(?i)(?<![A-Za-z])(?:torch_?)?(?:compile|dynamo|inductor)")
_NEGATED = re.compile(r"(?i)\bnot\s+(?:\w+|\([^()]*\))")
_TAKES_VALUE = "mkpocrWn"  # pytest's short options with a value; others may stand in front: `-vm gpu`

# glibc raises its own dynamic threshold up to this (mallopt(3), M_MMAP_THRESHOLD): less pins nothing.
MMAP_CEILING = 32 * 2**20
_TUNABLES = ("glibc.malloc.mmap_threshold", "glibc.malloc.trim_threshold")
_MALLOC_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
# They keep what is freed, instead of mapping large blocks anew.
_ALLOCATORS = re.compile(r"(?:^|[/: ])lib(jemalloc|tcmalloc|mimalloc)[\w.+-]*\.so")


class Violation(NamedTuple):
    """A guard that would not hold, and what undoes it."""

    rule: str
    text: str


def guarded_environment(preset: Preset, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the command: a guard is added where the variable is not set.

    A conflicting value stays as it is: it was refused, or signed off.
    """
    return {**preset.environment, **environ}


def violations(
    preset: Preset, environ: Mapping[str, str], command: Sequence[str], timeout_s: float | None = None
) -> tuple[Violation, ...]:
    """Every rule that the environment, the command or `--timeout` breaks, in a fixed order.

    The words of a script for `sh -c` count as well.
    """
    words: list[str] = []
    for before, word in itertools.pairwise(["", *command]):
        words += _split(word) if re.fullmatch(r"-[a-z]*c", before) else [word]
    assigned = {match[1]: match[2] for word in words if (match := _ASSIGNMENT.fullmatch(word))}
    found = list(_environment(preset, {**environ, **assigned}))
    limits = [(timeout_s, "--timeout {:g}")] if timeout_s is not None else []
    limits += [(seconds, "timeout {:g} in the command") for seconds in _outer_timeouts(words)]
    found += [_lowered(what.format(s), preset) for s, what in limits if s < preset.timeout_s]
    found += [*_test_timeout(words, "the command", preset), *_selected(words)]
    return tuple(dict.fromkeys(found))


def is_pytest(command: Sequence[str]) -> bool:
    """Whether the command's exit code is pytest's own, by its words; the plugin's record knows better."""
    return any(PurePath(word).name in (*_PYTEST, "-mpytest") for word in command)


def is_isolated(command: Sequence[str]) -> bool:
    """Whether a Python in it runs with -I or -E, and so without the plugin that the environment loads."""
    return any(
        PurePath(word).name.startswith("python") and re.fullmatch(r"-[a-zA-Z]*[IE][a-zA-Z]*", following)
        for word, following in itertools.pairwise(command)
    )


def pinned_malloc(environment: Mapping[str, str]) -> str:
    """The variable that keeps malloc from mapping large blocks anew; empty where none does.

    Both thresholds must be set, above what glibc would come to by itself; or another allocator is preloaded.
    """
    pairs = (item.partition("=") for item in environment.get("GLIBC_TUNABLES", "").split(":"))
    tunables = {name.strip(): value for name, _, value in pairs}
    if all(_bytes(tunables.get(name, "")) > MMAP_CEILING for name in _TUNABLES):
        return "GLIBC_TUNABLES"
    if all(_bytes(environment.get(name, "")) > MMAP_CEILING for name in _MALLOC_VARIABLES):
        return " and ".join(_MALLOC_VARIABLES)
    found = _ALLOCATORS.search(environment.get("LD_PRELOAD", ""))
    return f"LD_PRELOAD ({found[1]})" if found else ""


def compile_guards(environment: Mapping[str, str]) -> list[str]:
    """The switches that should keep Dynamo off in this environment, as `NAME=value`."""
    return [
        f"{n}={v}" for n, v in sorted(environment.items()) if COMPILE_SWITCH.fullmatch(n) and not _is_off(v)
    ]


def _environment(preset: Preset, environ: Mapping[str, str]) -> Iterator[Violation]:
    guards = dict(preset.environment)
    for name, wanted in guards.items():
        value = environ.get(name, wanted)
        if value == wanted or (COMPILE_SWITCH.fullmatch(name) and _is_off(value)):
            continue  # a switch is told below
        rule = GPU if name == "CUDA_VISIBLE_DEVICES" else ENVIRONMENT
        lowered = [*_test_timeout(_split(value), name, preset)] if name == "PYTEST_ADDOPTS" else []
        yield from lowered or [Violation(rule, f"{name} is set to {value!r}; the guard is {wanted!r}")]
    if "PYTEST_ADDOPTS" in guards:
        yield from _selected(_split(environ.get("PYTEST_ADDOPTS", "")))
    for name, value in environ.items():
        if COMPILE_SWITCH.fullmatch(name) and _is_off(value):
            yield Violation(COMPILE, f"{name}={value} asks for torch.compile")
    if _is_lower(environ.get("PYTEST_TIMEOUT", ""), preset):
        yield _lowered(f"PYTEST_TIMEOUT={environ['PYTEST_TIMEOUT']}", preset)


def _outer_timeouts(words: Sequence[str]) -> Iterator[float]:
    """The limits of every `timeout -k 10 900 …`; `timeout 0` is none."""
    for place, word in enumerate(words):
        rest = list(words[place + 1 :]) if PurePath(word).name == "timeout" else []
        while rest and rest[0].startswith("-"):
            del rest[: 2 if rest[0] in ("-k", "-s") else 1]
        given = _DURATION.fullmatch(rest[0]) if rest else None
        if given and float(given[1]):
            yield float(given[1]) * _UNIT_S[given[2]]


def _test_timeout(words: Sequence[str], where: str, preset: Preset) -> Iterator[Violation]:
    """pytest-timeout's option, and the ways to take the plugin away."""
    for option, value in _options(words):
        if option == "timeout" and _is_lower(value, preset):
            yield _lowered(f"--timeout={value} in {where}", preset)
        elif option == "p" and value == "no:timeout":
            yield _lowered(f"-p no:timeout in {where}", preset)


def _selected(words: Sequence[str]) -> Iterator[Violation]:
    for option, value in _options(words):
        chosen = _NEGATED.sub(" ", value) if option in ("m", "k") else ""
        if _GPU_WORD.search(chosen):
            yield Violation(GPU, f"-{option} {value!r} selects GPU tests")
        if _COMPILE_WORD.search(chosen):
            yield Violation(COMPILE, f"-{option} {value!r} selects tests that compile")


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(option, value) of the pytest options that matter, in the forms that pytest takes."""
    for word, following in itertools.pairwise([*words, ""]):
        name, _, value = word.partition("=")
        option = "o" if name == "--override-ini" else name.removeprefix("--")
        if not word.startswith("--"):
            match = re.match(rf"-[^{_TAKES_VALUE}]*?([{_TAKES_VALUE}])(.*)", word, re.DOTALL)
            option, value = (match[1], match[2]) if match else ("", "")
        value = value or following
        if option == "o":
            ini, _, setting = value.partition("=")
            yield ini.strip(), setting.strip()
        elif option:
            yield option, value


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an open quote: words by blanks are good enough to look at
        return text.split()


def _is_off(value: str) -> bool:
    return value.strip().lower() in _OFF


def _is_lower(text: str, preset: Preset) -> bool:
    try:
        return float(text) < preset.timeout_s  # 0 switches pytest-timeout off, which is no timeout at all
    except ValueError:
        return False


def _bytes(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0


def _lowered(what: str, preset: Preset) -> Violation:
    return Violation(TIMEOUT, f"{what} is below the guard of {preset.timeout_s:g} s")
