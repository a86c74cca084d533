"""Branches of the embedded subject for whole gates: harmless changes, and losses of every kind.

Each branch is a few replacements of text in the sources of one base commit: the embedded tip with a module
which each run calls, as what a call of C costs must be there before it can become more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nbbench.subject.subjects.nanobragg.demo import write_demo
from tests.e2e.planted_history import History

Edits = tuple[tuple[str, str, str], ...]
"""Path below the package, the text that stands there ('' is its end), and what takes its place."""

PACKAGE = "src/nanobrag_torch"
_RUN = "        side = oversample if oversample is not None else config.oversample\n"
_NOTES = '''"""What a run notes of itself."""

from __future__ import annotations

TURNS = 30


def turns(count: int = 30) -> int:
    """A checksum of so many turns."""
    return sum(range(count))


def constant() -> int:
    """The same of a constant."""
    return sum(range(TURNS))


def power(exponent: int) -> int:
    """Digits of a power."""
    return 7**exponent % 10


def ordered(count: int) -> list[int]:
    """Numbers in their order."""
    return sorted(range(count))
'''
_SIM, _PHYSICS, _SOURCES, _CRYSTAL = (
    "simulator.py",
    "utils/physics.py",
    "utils/auto_selection.py",
    "models/crystal.py",
)
BASE: Edits = (
    ("utils/notes.py", "", _NOTES),
    (_SIM, "from .utils.physics import", "from .utils import notes\nfrom .utils.physics import"),
    (_SIM, _RUN, f"{_RUN}        notes.turns()\n        notes.constant()\n        notes.power(20)\n"
     "        notes.ordered(20)\n"),
)  # fmt: skip

_DOT = '''def dot(planes: Sequence[torch.Tensor], vector: Sequence[float], out: torch.Tensor) -> torch.Tensor:
    """Write into out the dot product of each pixel's vector (three planes) with one vector."""
    torch.mul(planes[0], vector[0], out=out)
    out.add_(planes[1], alpha=vector[1])
    return out.add_(planes[2], alpha=vector[2])
'''
_INDICES = """        indices = []
        for axis, name in zip(axes, "abc"):
            origin = sum(x * y for x, y in zip(axis, incident))
            indices.append((frames[name] - origin) / wavelength)
"""
_FACTOR = "                total.add_(intensity if factor is None else intensity * factor)\n"

HARMLESS: Mapping[str, Edits] = {
    "comment": ((_SIM, "class Simulator:", "# Joins everything.\nclass Simulator:"),),
    "docstring": ((_PHYSICS, "Formulae that work on one pixel", "Formulae for one pixel"),),
    "renamed function": (
        (_PHYSICS, "def sincg(", "def grating_amplitude("),
        (_SIM, "kahn_factor, sincg", "grating_amplitude, kahn_factor"),
        (_SIM, "self._sincg = sincg", "self._sincg = grating_amplitude"),
        (_SIM, "torch.compile(sincg)", "torch.compile(grating_amplitude)"),
    ),
    "moved function": (
        (_PHYSICS, f"{_DOT}\n\n", ""),
        (_PHYSICS, "import torch\n", "import torch\n\nfrom .geometry import dot\n"),
        ("utils/geometry.py", "", f"\n\n{_DOT}"),
    ),
    "unused helper": (
        (_PHYSICS, "", "\n\ndef half(x: torch.Tensor) -> torch.Tensor:\n    return x * 0.5\n"),
    ),
    "changed default": ((_SOURCES, "source_distance_m: float = 10.0", "source_distance_m: float = 20.0"),),
    "another default": ((_SOURCES, "round_div: bool = True", "round_div: bool = False"),),
    "extracted method": (
        (_SIM, _FACTOR, "                self._add(total, intensity, factor)\n"),
        (
            _SIM,
            "    def _band(\n",
            "    @staticmethod\n    def _add(total, intensity, factor) -> None:\n"
            '        """Add one source of one orientation."""\n'
            "        total.add_(intensity if factor is None else intensity * factor)\n\n"
            "    def _band(\n",
        ),
    ),
    "comprehension": (
        (
            _SIM,
            _INDICES,
            "        origins = [sum(x * y for x, y in zip(axis, incident)) for axis in axes]\n"
            '        indices = [(frames[n] - o) / wavelength for n, o in zip("abc", origins)]\n',
        ),
    ),
    "renamed locals": (
        (_PHYSICS, "    below = torch.sin(phase)\n", "    lower = torch.sin(phase)\n"),
        (_PHYSICS, "    above = torch.sin(phase * n)\n", "    upper = torch.sin(phase * n)\n"),
        (_PHYSICS, "on_peak = below.abs()", "on_peak = lower.abs()"),
        (
            _PHYSICS,
            "n, above / torch.where(on_peak, 1.0, below)",
            "n, upper / torch.where(on_peak, 1.0, lower)",
        ),
    ),
    "type hints": (
        (_SIM, "        device=None,\n", "        device: str | torch.device | None = None,\n"),
        (_SIM, "from typing import Optional, Sequence", "from typing import Any, Optional, Sequence"),
    ),
    "named constant": (
        (_PHYSICS, "def sincg(", "_ON_PEAK = 1e-9\n\n\ndef sincg("),
        (_PHYSICS, "below.abs() < 1e-9", "below.abs() < _ON_PEAK"),
    ),
    "inverted condition": (
        (
            _CRYSTAL,
            "        if self.interpolate:\n            return self._tricubic_interpolation(h, k, l)\n"
            "        return self._nearest(h, k, l)\n",
            "        if not self.interpolate:\n            return self._nearest(h, k, l)\n"
            "        return self._tricubic_interpolation(h, k, l)\n",
        ),
    ),
    "checked argument": (
        (_SIM, _RUN, f'{_RUN}        if side < 1:\n            raise ValueError("oversample below 1")\n'),
    ),
    "new file": (
        ("utils/export.py", "", '"""Nothing imports this yet."""\n\n\ndef export() -> None:\n    pass\n'),
    ),
    "new method": (
        (
            _CRYSTAL,
            "    def orientations(",
            "    def cell_volume(self) -> float:\n"
            "        return float(torch.linalg.det(self._cell_axes()))\n\n    def orientations(",
        ),
    ),
    "logger": (
        (_SIM, "import os\n", "import logging\nimport os\n"),
        (
            _SIM,
            "R_E_SQUARED =",
            "_LOG = logging.getLogger(__name__)\n\nR_E_SQUARED =",
        ),
    ),
    "unused field": (
        ("utils/auto_selection.py", "    step: float\n", "    step: float\n    label: str = ''\n"),
    ),
    "keyword argument": ((_SIM, "dot(unit, axis, frames[name])", "dot(unit, axis, out=frames[name])"),),
    "loop by enumerate": (
        (_SIM, "        for first in range(0, len(image), self._band_rows):\n"
         "            last = min(first + self._band_rows, len(image))\n",
         "        rows = len(image)\n        for first in range(0, rows, self._band_rows):\n"
         "            last = min(first + self._band_rows, rows)\n"),
    ),
}  # fmt: skip


def _each_run(line: str, *more: tuple[str, str, str]) -> Edits:
    return ((_SIM, _RUN, f"{_RUN}        {line}\n"), *more)


def _note(old: str, new: str) -> Edits:
    return (("utils/notes.py", old, new),)


_BUILD = "        self._pixels = self.detector.get_pixel_coords().movedim(-1, 0).contiguous()\n"
LOSSES: Mapping[str, Edits] = {
    "passes": ((_SIM, "                image.add_(part)\n",
                "                for _ in range(12):\n                    part = part * 1.0\n"
                "                image.add_(part)\n"),),
    "passes over sources": ((_SOURCES, "    directions = sources.repeat",
                             "    for _ in range(8):\n        sources = sources * 1.0\n"
                             "    directions = sources.repeat"),),
    "loop": _each_run("self._total = [i * i for i in range(4000)]"),
    "print": _each_run('print("side", side)'),
    "lazy import": _each_run("import wave  # noqa"),
    "slower constructor": ((_SIM, _BUILD, f"        for _ in range(3):\n    {_BUILD}"),),
    "peak": ((_SIM, "        return image.mul_(self._photons",
              "        kept = [image * 1.0 for _ in range(1)] + [image.double(), image.double()]\n"
              "        del kept\n        return image.mul_(self._photons"),),
    "upcast": ((_PHYSICS, "(x - torch.round(x)) * math.pi", "(x - torch.round(x)).double() * math.pi"),),
    "long call": _note("return sum(range(count))", "return sum(range(count * 100_000))"),
    "long constant": _note("TURNS = 30", "TURNS = 3_000_000"),
    "long default": _note("count: int = 30", "count: int = 3_000_000"),
    "long operator": _note("return 7**exponent % 10", "return 7 ** (exponent * 20_000) % 10"),
    "long sort": _note("sorted(range(count))", "sorted(range(count * 100_000))"),
    "sleep": _each_run("time.sleep(0.03)", (_SIM, "import os\n", "import os\nimport time\n")),
    "sleep in the constructor": (
        (_SIM, _BUILD, f"{_BUILD}        time.sleep(1.0)\n"),
        (_SIM, "import os\n", "import os\nimport time\n"),
    ),
    "sleep at import": (("__init__.py", "", "\nimport time\n\ntime.sleep(1.0)\n"),),
    "process": _each_run('subprocess.run(["true"], check=True)',
                         (_SIM, "import os\n", "import os\nimport subprocess\n")),
    "file": _each_run("open(__file__).close()"),
    "heavy import": (("__init__.py", "", "\nimport wave, chunk, imaplib, poplib, nntplib, telnetlib, ftplib\n"
                      "import smtplib, sqlite3, xmlrpc.server, turtledemo, pydoc_data.topics, mailbox\n"),),
    "strided planes": ((_SIM, _BUILD, _BUILD.replace(".contiguous()", "")),),
}  # fmt: skip


def plant_branches(folder: Path) -> dict[str, str]:
    """Commit every branch upon one base in a clone of the embedded subject; hashes by name, and of `base`."""
    write_demo(folder)
    history = History(folder)
    _apply(folder, BASE)
    made = {"base": history.commit_all("base")}
    for name, edits in (*HARMLESS.items(), *LOSSES.items()):
        history.git("checkout", "--quiet", "--detach", made["base"])
        _apply(folder, edits)
        made[name] = history.commit_all(name)
    return made


def _apply(folder: Path, edits: Edits) -> None:
    for path, old, new in edits:
        file = folder / PACKAGE / path
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        if old and text.count(old) < 1:
            raise ValueError(f"{path} has no {old!r}")
        file.write_text(text.replace(old, new) if old else text + new, encoding="utf-8")
