"""H5: one machine's figures, chosen by one rule."""

from __future__ import annotations

import pytest
from store_trees import row, write_result

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.record.projects import choose_machine, machine_name
from nbbench.record.refresh import import_results


@pytest.fixture
def measured(store, tmp_path):
    def on(*machines):
        for name in machines:
            write_result(tmp_path, 1, {"b.time_x": row([1.0], params=())}, machine=name)
        import_results(store, tmp_path)
        return store

    return on


def test_the_machine_that_was_asked_for(measured, tmp_path):
    store, settings = measured("box", "tower"), Settings(tmp_path, machine="tower")
    assert choose_machine(settings, store) == "tower"
    assert choose_machine(settings, store, "box") == "box"
    with pytest.raises(UsageError, match="nothing was measured on 'laptop'") as refused:
        choose_machine(settings, store, "laptop")
    assert refused.value.hint == "on record: box, tower"


def test_this_machine_where_it_has_results(measured, tmp_path):
    own = machine_name(Settings(tmp_path))
    assert choose_machine(Settings(tmp_path), measured("box", own)) == own


def test_the_only_machine_with_results(measured, tmp_path):
    store = measured("box")
    assert choose_machine(Settings(tmp_path), store) == "box"


def test_several_others_are_listed(measured, tmp_path):
    store = measured("box", "tower")
    with pytest.raises(UsageError, match="several machines") as refused:
        choose_machine(Settings(tmp_path), store)
    assert "box, tower" in refused.value.hint


def test_nothing_measured_is_inconclusive(store, tmp_path):
    with pytest.raises(InconclusiveError):
        choose_machine(Settings(tmp_path), store)
