"""Lines matched through git's own diff: real repositories with moved, renamed and edited code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nbbench.errors import SubjectError
from nbbench.subject.hunks import diff_trees, parse_diff
from nbbench.work.line_match import LineMatch
from tests.torture.tiny import git

PHYSICS = """import torch


def sincg(u, n):
    ratio = torch.sin(u * n) / torch.sin(u)
    return torch.where(u == 0, n, ratio)


def polarization(incident, diffracted):
    cos2 = (incident * diffracted).sum(-1)
    return 0.5 * (1.0 + cos2 * cos2)
"""
SIMULATOR = """from physics import sincg


class Simulator:
    def run(self, coords):
        image = sincg(coords, 5)
        return image * self.solid_angle(coords)

    def solid_angle(self, coords):
        airpath = torch.linalg.vector_norm(coords, dim=-1)
        return 1.0 / (airpath * airpath)
"""


@pytest.fixture
def matched(tmp_path: Path):
    """Match two versions of a source tree, given as texts by path."""

    def commit(files: dict[str, str]) -> str:
        git(tmp_path, "rm", "-rq", "--ignore-unmatch", ".")
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", "x", "--allow-empty")
        return git(tmp_path, "rev-parse", "HEAD^{tree}")

    git(tmp_path, "init", "-q")

    def match(base: dict[str, str], head: dict[str, str], folder: str = "") -> LineMatch:
        return LineMatch(diff_trees(tmp_path / ".git", commit(base), commit(head), folder))

    return match


def line(text: str, part: str) -> int:
    """The number of the one line that holds `part`."""
    (number,) = [i for i, row in enumerate(text.split("\n"), 1) if part in row]
    return number


def both_ways(match: LineMatch, base: tuple[str, int], head: tuple[str, int]) -> None:
    assert match.head_of(*base) == head
    assert match.base_of(*head) == base


def test_equal_trees_match_line_by_line(matched) -> None:
    match = matched({"p.py": PHYSICS}, {"p.py": PHYSICS})
    both_ways(match, ("p.py", 5), ("p.py", 5))
    both_ways(match, ("never_seen.py", 7), ("never_seen.py", 7))


def test_lines_below_an_insertion_and_a_deletion_shift(matched) -> None:
    head = PHYSICS.replace("import torch\n", "import math\nimport os\nimport torch\n")
    head = head.replace("    return torch.where(u == 0, n, ratio)\n", "")
    match = matched({"p.py": PHYSICS}, {"p.py": head})
    both_ways(match, ("p.py", line(PHYSICS, "ratio =")), ("p.py", line(head, "ratio =")))
    both_ways(match, ("p.py", line(PHYSICS, "cos2 = ")), ("p.py", line(head, "cos2 = ")))
    assert match.head_of("p.py", line(PHYSICS, "torch.where")) is None
    assert match.base_of("p.py", line(head, "import os")) is None


def test_an_edited_line_is_gone_and_new(matched) -> None:
    head = PHYSICS.replace("0.5 * (1.0 + cos2 * cos2)", "0.5 + 0.5 * cos2.square()")
    match = matched({"p.py": PHYSICS}, {"p.py": head})
    number = line(PHYSICS, "return 0.5")
    assert match.head_of("p.py", number) is None
    assert match.base_of("p.py", number) is None
    both_ways(match, ("p.py", number - 1), ("p.py", number - 1))


def test_a_renamed_file_maps(matched) -> None:
    head = "# moved here\n" + PHYSICS
    match = matched({"utils/physics.py": PHYSICS}, {"models/optics.py": head})
    both_ways(match, ("utils/physics.py", 5), ("models/optics.py", 6))
    assert match.renamed("utils/physics.py") == "models/optics.py"


def test_a_rename_without_a_change_maps(matched) -> None:
    match = matched({"a.py": PHYSICS, "b.py": SIMULATOR}, {"c.py": PHYSICS, "b.py": SIMULATOR})
    both_ways(match, ("a.py", 10), ("c.py", 10))


def test_a_function_that_moved_to_another_file_maps(matched) -> None:
    body = PHYSICS[PHYSICS.index("def polarization") :]
    base = {"physics.py": PHYSICS, "simulator.py": SIMULATOR}
    head = {"physics.py": PHYSICS.replace(body, ""), "simulator.py": body + "\n\n" + SIMULATOR}
    match = matched(base, head)
    for part in ("cos2 = (", "return 0.5"):
        both_ways(
            match,
            ("physics.py", line(PHYSICS, part)),
            ("simulator.py", line(head["simulator.py"], part)),
        )
    both_ways(
        match,
        ("simulator.py", line(SIMULATOR, "airpath =")),
        ("simulator.py", line(head["simulator.py"], "airpath =")),
    )


def test_functions_that_changed_places_in_a_file_map(matched) -> None:
    first = PHYSICS[PHYSICS.index("def sincg") : PHYSICS.index("def polarization")]
    head = PHYSICS.replace(first, "") + "\n\n" + first
    match = matched({"p.py": PHYSICS}, {"p.py": head})
    for part in ("ratio =", "torch.where", "cos2 = ("):
        both_ways(match, ("p.py", line(PHYSICS, part)), ("p.py", line(head, part)))


def test_a_method_that_became_a_function_maps_whatever_its_indent(matched) -> None:
    head = SIMULATOR[: SIMULATOR.index("    def solid_angle")] + (
        "\n\ndef solid_angle(coords):\n"
        "    airpath = torch.linalg.vector_norm(coords, dim=-1)\n"
        "    return 1.0 / (airpath * airpath)\n"
    )
    match = matched({"s.py": SIMULATOR}, {"s.py": head})
    both_ways(match, ("s.py", line(SIMULATOR, "airpath =")), ("s.py", line(head, "airpath =")))


def test_short_lines_that_agree_by_chance_do_not_map(matched) -> None:
    base = {"a.py": "def f():\n    return x\n", "b.py": "y = 1\n"}
    head = {"a.py": "def f():\n    pass\n", "b.py": "y = 1\n\n\ndef g():\n    return x\n"}
    match = matched(base, head)
    assert match.head_of("a.py", 2) is None
    assert match.base_of("b.py", 5) is None


def test_lines_that_occur_twice_do_not_map_by_their_text(matched) -> None:
    twice = "    intensity = intensity * polarization_factor_of(beam)\n"
    base = {"a.py": "def f():\n" + twice + "\n\ndef g():\n" + twice}
    head = {"a.py": "def f():\n    pass\n\n\ndef g():\n    pass\n", "b.py": "def h():\n" + twice}
    match = matched(base, head)
    assert match.head_of("a.py", 2) is None
    assert match.base_of("b.py", 2) is None


def test_a_deleted_file_has_no_head(matched) -> None:
    match = matched({"a.py": PHYSICS, "b.py": SIMULATOR}, {"b.py": SIMULATOR})
    assert match.head_of("a.py", 5) is None
    assert match.renamed("a.py") == "a.py"


def test_odd_files_do_no_harm(matched) -> None:
    base = {"ünï code.py": PHYSICS, "no_end.py": "x = 1", "form.py": "a = 1\x0cb = 2\r\nc = 3\r\n"}
    head = {
        "ünï code.py": "# more\n" + PHYSICS,
        "no_end.py": "x = 1\ny = 2",
        "form.py": "z = 0\na = 1\x0cb = 2\r\nc = 3\r\n",
    }
    match = matched(base, head)
    both_ways(match, ("ünï code.py", 5), ("ünï code.py", 6))
    both_ways(match, ("form.py", 2), ("form.py", 3))
    assert match.base_of("no_end.py", 2) is None


def test_paths_are_put_below_the_import_roots_folder(matched) -> None:
    match = matched({"p.py": PHYSICS}, {"p.py": "\n" + PHYSICS}, folder="nanobrag_torch")
    both_ways(match, ("nanobrag_torch/p.py", 5), ("nanobrag_torch/p.py", 6))


def test_what_is_no_diff_has_no_files() -> None:
    assert parse_diff("") == ()
    assert parse_diff("diff --git a/x.py b/x.py\nold mode 100644\nnew mode 100755\n") == ()


def test_unknown_trees_are_an_error(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path)], check=True)
    with pytest.raises(SubjectError):
        diff_trees(tmp_path, "0" * 40, "1" * 40)
