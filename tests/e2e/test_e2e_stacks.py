"""Ledgers and stacks recorded in warm processes, on the embedded subject."""

from __future__ import annotations

import pytest
from e2e_project import planted

from nbbench.config import load_settings
from nbbench.errors import InconclusiveError
from nbbench.measure import warm_client
from nbbench.measure.ledgers import record_ledgers, workload_stacks
from nbbench.measure.process_env import server_environment
from nbbench.subject.repository import describe, open_subject

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bench(new_project):
    import os

    project = new_project("stacks")
    settings = load_settings(project.root, environ={})
    server = warm_client.WarmServer({**server_environment(project.environment), "HOME": os.devnull})
    yield settings, server, open_subject(settings)
    server.close()


def test_stacks_add_up_to_the_ledger(bench):
    settings, server, subject = bench
    commit = describe(subject, planted(18))
    name, said = "phi_steps-4", []
    stacks = workload_stacks(settings, commit, [name, "nothing"], say=said.append, server=server)
    one = record_ledgers(settings, server, commit, [name])[name]
    assert stacks.keys() == {name}
    assert sum(cost.bytes for cost in stacks[name]) == one.bytes
    assert sum(cost.count for cost in stacks[name]) == one.ops
    assert all(cost.frames[0].endswith(" Simulator.run") for cost in stacks[name])
    assert any(line.startswith("nothing: ") for line in said)
    run = next(f for f in one.functions if f.function == "Simulator.run")
    assert (run.calls, run.count, run.bytes) == (1, one.ops, one.bytes)
    assert one.fused_bytes == run.fused_bytes < one.bytes / 4
    assert one.peak_line[0].endswith(".py")


def test_nothing_to_record(bench):
    settings, server, subject = bench
    with pytest.raises(InconclusiveError, match="no stacks of"):
        workload_stacks(settings, describe(subject, planted(18)), ["nothing"], say=str, server=server)
