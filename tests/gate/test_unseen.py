"""What counters miss of a diff: calls whose cost counts once, numbers, files that are not Python."""

from __future__ import annotations

import pytest

from nbbench.gate.unseen import Changed, Hidden, changed_code, unseen
from nbbench.host import IMPORT_WORKLOAD, PYTHON, HostCount, HostKind, HostPhase, HostWork
from nbbench.ledger import FileDiff, Hunk
from nbbench.model import Phase

PATH = "pkg/sim.py"


def changed(removed: str, added: str, source: str = "", at: int = 1) -> Changed:
    """A file of which these lines were rewritten; the rest of it is as `source` has it."""
    hunk = Hunk(at, at, tuple(removed.splitlines()), tuple(added.splitlines()))
    return changed_code([FileDiff(PATH, PATH, (hunk,))], (), lambda path: source or added)


def ran(phase: Phase, *counts: tuple[HostKind, int, str]) -> HostWork:
    """The host work of one phase of which these were counted once, by line and name."""
    found = tuple(HostCount(kind, PATH, line, "f", name, 1) for kind, line, name in counts)
    return HostWork("w", PYTHON, (HostPhase(phase, found),))


def called(name: str, phase: Phase = Phase.WARM, line: int = 1) -> HostWork:
    return ran(phase, (HostKind.LINE, line, ""), (HostKind.OUTSIDE, line, name))


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("sum", Hidden.CALLS),
        ("time.sleep", Hidden.CALLS),
        ("copy.deepcopy", Hidden.CALLS),
        ("torch.set_num_threads", Hidden.CALLS),
        ("Tensor.contiguous", Hidden.CALLS),
        ("math.factorial", Hidden.CALLS),
        ("math.sqrt", Hidden.NOTHING),
        ("len", Hidden.NOTHING),
        ("torch.sin", Hidden.NOTHING),
        ("Tensor.mul_", Hidden.NOTHING),
    ],
)
def test_a_call_on_a_changed_line(name: str, hidden: Hidden) -> None:
    found = unseen(changed("a", "b"), [called(name)])[Phase.WARM]
    assert found.hidden is hidden
    assert (found.where, found.name) == ((f"{PATH}:1", name) if hidden else ("", ""))


def test_lines_that_only_moved_make_no_call() -> None:
    """However short they are, and whatever their indent."""
    assert (
        unseen(changed("x = 1\n    sum(y)", "sum(y)\nx = 2"), [called("sum")])[Phase.WARM]
        == unseen(Changed({}), [])[Phase.WARM]
    )


def test_the_whole_statement_counts() -> None:
    """The argument is on a line of its own."""
    source = "sum(\n    range(9),\n)"
    found = unseen(changed("    range(8),", "    range(9),", source, at=2), [called("sum", line=1)])
    assert found[Phase.WARM].hidden is Hidden.CALLS


def test_the_body_of_a_block_is_no_part_of_its_head() -> None:
    source = "def g(n=2):\n    sum(n)"
    found = unseen(changed("def f(n=2):", "def g(n=2):", source), [called("sum", line=2)])
    assert found[Phase.WARM].hidden is Hidden.NOTHING


def test_a_number_that_differs_may_flow_into_a_call() -> None:
    source = "N = 9\nsum(range(N))"
    works = [ran(Phase.IMPORT, (HostKind.LINE, 1, "")), called("sum", line=2)]
    assert unseen(changed("N = 8", "N = 9", source), works)[Phase.WARM].hidden is Hidden.VALUES
    assert unseen(changed("N = 9", "M = 9", source), works)[Phase.WARM].hidden is Hidden.NOTHING
    assert unseen(changed("K = 'a'", "K = 'b'", "K = 'b'"), works)[Phase.WARM].hidden is Hidden.VALUES
    never = [called("sum", line=2)]
    assert unseen(changed("N = 8", "N = 9", source), never)[Phase.WARM].hidden is Hidden.NOTHING


@pytest.mark.parametrize(
    ("name", "later"), [("torch.set_num_threads", Hidden.CALLS), ("sorted", Hidden.VALUES)]
)
def test_what_starting_up_leaves_behind(name: str, later: Hidden) -> None:
    """Threads and memory layout shape what runs later, whichever call does."""
    found = unseen(changed("a", "b"), [called(name, Phase.CONSTRUCT)])
    assert found[Phase.IMPORT].hidden is Hidden.NOTHING
    assert found[Phase.CONSTRUCT].hidden is Hidden.CALLS
    assert {found[phase].hidden for phase in (Phase.FIRST, Phase.WARM)} == {later}


def test_tensors_are_counted_but_while_importing() -> None:
    for phase, hidden in ((Phase.CONSTRUCT, Hidden.NOTHING), (Phase.IMPORT, Hidden.CALLS)):
        assert unseen(changed("a", "b"), [called("torch.zeros", phase)])[phase].hidden is hidden


def test_files_that_are_not_python_hide_all() -> None:
    found = unseen(Changed({}, others=("table.bin",)), [HostWork(IMPORT_WORKLOAD, PYTHON)])
    assert {(one.hidden, one.where) for one in found.values()} == {(Hidden.CALLS, "table.bin")}
