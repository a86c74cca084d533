"""Changes upon the embedded subject of which everything is known: the verdict, the line that pays, the hunk.

Each is a branch of one commit from the subject's tip. Beside what is planted the commit has a new function
that nobody calls and reworded comments, so that a hunk has to be found among several.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

from planted_history import History, plant

SRC = "src/"
SIMULATOR = "nanobrag_torch/simulator.py"
PHYSICS = "nanobrag_torch/utils/physics.py"
GEOMETRY = "nanobrag_torch/utils/geometry.py"
_UNUSED = (GEOMETRY, "\n\n\ndef unused():\n    return 1\n")
_REWORDED = ("nanobrag_torch/config.py", "\n# Reworded.\n")


@dataclass(frozen=True)
class Planted:
    """A change: the text of a file that is replaced, and what the gate has to say.

    `said` is a part of the sentence of the worst kind of verdict; `{line}` is the place of the line with
    `pays` in it. `unit` is that of the verdict. `more` are other replacements in the file.
    """

    exit: int
    path: str
    old: str
    new: str
    unit: str = ""
    pays: str = ""
    said: str = ""
    more: tuple[tuple[str, str], ...] = ()


PROOF = {
    "loop": Planted(
        3,
        SIMULATOR,
        "        sources = self._sources()\n",
        "        sources = self._sources()\n        for number in range(400):\n            last = number\n",
        unit="steps",
        pays="for number in range(400)",
        said="{line} Simulator.run: executed 0 → ",
    ),
    "print": Planted(
        3,
        SIMULATOR,
        "        image = torch.zeros_like(self._pixels[0])\n",
        "        image = torch.zeros_like(self._pixels[0])\n        print('image', tuple(image.shape))\n",
        unit="B printed",
        pays="print('image'",
        said="{line} Simulator.run: writes to stdout 0 B → ",
    ),
    "import": Planted(
        3,
        SIMULATOR,
        "        image = torch.zeros_like(self._pixels[0])\n",
        "        import wave\n\n        image = torch.zeros_like(self._pixels[0])\n",
        unit="modules",
        pays="import wave",
        said="{line} Simulator.run: imports wave 0 → 1",
    ),
    "constructor": Planted(
        3,
        SIMULATOR,
        "        self.dtype = dtype\n        self.crystal = crystal\n",
        "        self.dtype = dtype\n        for number in range(200):\n"
        "            self.number = number\n        self.crystal = crystal\n",
        unit="steps",
        pays="for number in range(200)",
        said="{line} Simulator.__init__: executed 0 → ",
    ),
    "peak": Planted(
        3,
        SIMULATOR,
        "        return amplitude * amplitude\n",
        "        self.__dict__.setdefault('kept', []).extend((*indices, f_a, f_b, f_c, amplitude))\n"
        "        return amplitude * amplitude\n",
        unit="B (exact)",
        said="reached at nanobrag_torch/",
    ),
    "quadratic": Planted(
        3,
        SIMULATOR,
        "        sources = self._sources()\n",
        "        sources = self._sources()\n        for one in sources:\n"
        "            for other in sources:\n                other = one\n",
        unit="order",
        pays="for other in sources",
        said="grow as N² instead of as N, at {line}",
    ),
    "image": Planted(
        4,
        SIMULATOR,
        "get_structure_factor(*indices) * f_a * f_b * f_c\n",
        "get_structure_factor(*indices) * f_a * f_b\n",
        unit="B/pixel",
        pays="get_structure_factor(*indices) * f_a * f_b",
        said="{line} Simulator._lattice_intensity: mul",
    ),
    "refactoring": Planted(
        0,
        SIMULATOR,
        "        amplitude = self.crystal.get_structure_factor(*indices) * f_a * f_b * f_c\n"
        "        return amplitude * amplitude\n",
        "        structure = self.crystal.get_structure_factor(*indices)\n"
        "        root = structure * f_a * f_b * f_c\n        return root * root\n",
    ),
    "moved": Planted(
        0,
        SIMULATOR,
        "import capture_fraction, dot, kahn_factor, sincg\n",
        "import capture_fraction, dot, sincg\nfrom .utils.polarization import polarize\n",
        more=(("return kahn_factor(", "return polarize("),),
    ),
}


@dataclass
class ProofBranch:
    """The history, the base of all changes, and each change's commit, line and hunk (`path:first-last`)."""

    history: History
    base: str
    commits: dict[str, str]
    lines: dict[str, str]
    hunks: dict[str, str]


def wrong(planted: Planted, document: dict, line: str, hunk: str) -> str:
    """What is wrong with the gate's answer on a change; '' for the right verdict, line and hunk."""
    worse = [one for one in document["verdicts"] if one["outcome"] in ("regressed", "not comparable")]
    if not planted.exit:
        return "" if document["outcome"] == "unchanged" and not worse else "it is not unchanged"
    mine = [one for one in worse if one["unit"] == planted.unit]
    if not any(planted.said.format(line=line) in one["sentence"] for one in mine):
        return f"the line is missing: {[one['sentence'] for one in worse]}"
    sets = [one["figures"] for v in mine for one in v["evidence"] if one["kind"] == "hunks"]
    named = [[each["place"] for each in one["hunks"]] for one in sets]
    if not named or any(places != [hunk] for places in named):
        return f"the hunks are {named}, not {hunk}"
    return "" if all(one["innocent"] for one in sets) else f"the others are not innocent: {sets}"


def plant_proof(folder) -> ProofBranch:
    """Write the history into a folder."""
    history = plant(folder)
    made = ProofBranch(history, history.git("rev-parse", "HEAD"), {}, {}, {})
    for name, one in PROOF.items():
        history.git("checkout", "--quiet", made.base)
        file = history.folder / SRC / one.path
        before = file.read_text()
        for old, new in ((one.old, one.new), *one.more):
            assert before.count(old) == 1, (name, old)
            file.write_text(file.read_text().replace(old, new))
        if name == "moved":
            _move_function(history)
        for path, addition in (_UNUSED, _REWORDED):
            other = history.folder / SRC / path
            other.write_text(other.read_text() + addition)
        made.commits[name] = history.commit(name)
        after = file.read_text().split("\n")
        first, last = _changed(before.split("\n"), after)
        made.hunks[name] = f"{one.path}:{first}" + (f"-{last}" if last > first else "")
        if one.pays:
            number = next(n for n, line in enumerate(after, start=1) if one.pays in line)
            made.lines[name] = f"{one.path}:{number}"
    return made


def _changed(before: list[str], after: list[str]) -> tuple[int, int]:
    """The first and the last line, in `after`, of the first block that differs."""
    codes = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return next((first + 1, last) for how, _, _, first, last in codes if how != "equal")


def _move_function(history: History) -> None:
    """The function `kahn_factor` becomes `polarize` in a file of its own."""
    file = history.folder / SRC / PHYSICS
    head, _, rest = file.read_text().partition("def kahn_factor(")
    body, _, tail = rest.partition("def ")
    file.write_text(f"{head}def {tail}")
    imports = "from __future__ import annotations\n\nfrom typing import Sequence\n\nimport torch\n"
    text = f"{imports}\nfrom .physics import dot\n\n\ndef polarize({body.rstrip()}\n"
    file.with_name("polarization.py").write_text(text)
