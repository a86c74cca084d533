"""The house rules that no linter knows: one name for one thing, and short files."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

HOUSE = Path(__file__).parents[2] / "nbbench"
FILES = [path for path in HOUSE.rglob("*.py") if "demo_history" not in path.parts]
PYTEST_PLUGIN = HOUSE / "capture" / "evidence_plugin" / "nbbench_evidence.py"
MOST_LINES = 350
BAR = 38_554


def test_no_public_name_is_defined_in_two_rooms() -> None:
    """A command's function is named like the command, and `main` begins a program: both are left out."""
    places: dict[str, dict[str, str]] = defaultdict(dict)
    for path in FILES:
        parts = path.relative_to(HOUSE).parts
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for name in _defined(node):
                place = f"{'/'.join(parts)}:{node.lineno}"
                places[name][parts[0] if len(parts) > 1 else "nouns"] = place
    twice = {name: sorted(found.values()) for name, found in places.items() if len(found) > 1}
    assert not twice


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(HOUSE)): len(path.read_text().splitlines()) for path in FILES}
    del lengths[str(PYTEST_PLUGIN.relative_to(HOUSE))]
    assert not {name: length for name, length in lengths.items() if length > MOST_LINES}


def test_the_house_does_not_grow() -> None:
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES) <= BAR


def _defined(node: ast.stmt) -> list[str]:
    """Public names that a statement of a module gives a meaning of its own."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        names = [] if _is_command(node) or node.name == "main" else [node.name]
    elif isinstance(node, ast.Assign):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        names = [node.target.id]
    else:
        names = []
    return [name for name in names if not name.startswith("_")]


def _is_command(node: ast.FunctionDef | ast.ClassDef) -> bool:
    return any("command" in ast.unparse(decorator) for decorator in node.decorator_list)
