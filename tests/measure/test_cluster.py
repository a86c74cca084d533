"""Which nodes of a cluster take part, by given facts."""

from __future__ import annotations

import pytest

from nbbench.errors import UsageError
from nbbench.measure.cluster_nodes import CANARY_LIMIT, Nodes, set_aside
from nbbench.measure.cluster_task import Node, hardware_class, own_versions, share_files

HERE = ("1.0", "2.13.0", "3.11")


def node(host, canary=1.0, hardware="fast-8", versions=HERE):
    return Node(host, hardware, 8, versions, canary)


def test_a_node_whose_canary_disagrees_with_its_class_is_named():
    nodes = [node("a"), node("b", 1.04), node("c", 0.97), node("d", 1.0 + 2 * CANARY_LIMIT), node("e", 0.5)]
    found = set_aside([*nodes, node("old", 5.0, "slow-4")], HERE, ["fast-8"])
    assert found["d"].startswith("its canary is 20% slower")
    assert found["e"].startswith("its canary is 50% faster")
    assert found["old"].startswith("is of another class: slow-4")
    assert found.keys() == {"d", "e", "old"}


def test_of_two_that_disagree_the_faster_one_measures():
    assert list(set_aside([node("a", 1.5), node("b", 1.0)], HERE, ["fast-8"])) == ["a"]


def test_each_class_has_its_own_speed():
    nodes = [node("a"), node("b"), node("old", 5.0, "slow-4"), node("older", 6.0, "slow-4")]
    assert set_aside(nodes, HERE, ["fast-8", "slow-4"]) == {
        "older": "its canary is 20% slower than its class's"
    }


def test_the_class_of_most_nodes_measures_or_the_one_that_is_asked_for():
    nodes = Nodes(None, {}, print)
    versions = own_versions()
    made = [
        node("old", 5.0, "slow-4", versions),
        node("a", 1.0, versions=versions),
        node("b", versions=versions),
    ]
    made += [node(host, 1.0, "odd-2", HERE) for host in "cdef"]  # other versions: they do not count
    nodes._hosts = {one.host: one for one in made}
    assert [nodes.choose(asked) for asked in ("", "slow-4", "all")] == [
        ["fast-8"], ["slow-4"], ["fast-8", "slow-4"]
    ]  # fmt: skip
    with pytest.raises(UsageError) as info:
        nodes.choose("odd-2")
    assert info.value.hint == "there are: fast-8, slow-4"


def test_ledgers_need_the_same_versions_and_nothing_else():
    nodes = [node("a", 9.0, "slow"), node("b"), node("c", versions=("1.0", "2.9.1", "3.11"))]
    assert set_aside(nodes, HERE) == {"c": "has torch 2.9.1 and not 2.13.0"}


def test_a_class_is_a_name_for_results():
    assert hardware_class() == hardware_class().strip("-.")
    assert all(c.isascii() and (c.isalnum() or c in ".-_") for c in hardware_class())


def test_links_do_not_travel(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "machine.json").symlink_to("/etc/passwd")
    (tmp_path / "benchmarks.json").write_text("{}")
    assert share_files(tmp_path, "m", []) == {"benchmarks.json": b"{}"}
