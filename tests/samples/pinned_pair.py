"""A package and its dependency as two repositories: each commit of one pins a commit of the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.torture.tiny import git

PLAIN = "image * 0.5"
SLOW = "(image.double() * 0.5).float()"
_LENS = "def dim(image):\n    return {}\n"
_FOCUS = "from lens.kernel import dim\n\ndef blur(image):\n    return dim(image) + image.roll({}, 0)\n"
LOST = "1234567890" * 4  # a commit that no repository has


@dataclass(frozen=True)
class Pair:
    """The package's repository, the dependency's, and the commits of the dependency by what they do."""

    focus: Path
    lens: Path
    plain: str
    slow: str

    def commit(self, pin: str = "", *, roll: int = 0, **texts: str) -> str:
        """Commit other texts of files, another roll in the package's own source, or another pin."""
        for name, text in texts.items():
            (self.focus / f"{name}.txt").write_text(text)
        if roll:
            (self.focus / "src" / "focus" / "blur.py").write_text(_FOCUS.format(roll))
        git(self.focus, "add", "--all")
        if pin:
            git(self.focus, "update-index", "--add", "--cacheinfo", f"160000,{pin},vendor/lens")
        git(self.focus, "commit", "--quiet", "--message", "next")
        return git(self.focus, "rev-parse", "HEAD")


def pinned_pair(folder: Path) -> Pair:
    """Both repositories: the package in src/focus on the branch trunk, still without a commit."""
    lens, focus = folder / "lens", folder / "focus"
    (lens / "lib" / "lens").mkdir(parents=True)
    (lens / "lib" / "lens" / "__init__.py").write_text("")
    git(lens, "init", "--quiet", "--initial-branch=main")
    made = []
    for text in (PLAIN, SLOW):
        (lens / "lib" / "lens" / "kernel.py").write_text(_LENS.format(text))
        git(lens, "add", "--all")
        git(lens, "commit", "--quiet", "--message", text)
        made.append(git(lens, "rev-parse", "HEAD"))
    (focus / "src" / "focus").mkdir(parents=True)
    (focus / "src" / "focus" / "__init__.py").write_text("")
    (focus / "vendor" / "lens").mkdir(parents=True)  # as a clone without --recurse-submodules has it
    git(focus, "init", "--quiet", "--initial-branch=trunk")
    return Pair(focus, lens, *made)
