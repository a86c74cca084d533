"""Ledgers recorded in warm processes, on the embedded subject."""

from __future__ import annotations

import re

import pytest
from e2e_project import planted

from nbbench.config import load_settings
from nbbench.measure import warm_client
from nbbench.measure.ledgers import workload_ledgers
from nbbench.measure.process_env import server_environment
from nbbench.measure.warm_runs import Servers
from nbbench.subject.repository import describe, open_subject

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bench(new_project):
    import os

    project = new_project("ledgers")
    settings = load_settings(project.root, environ={})
    server = warm_client.WarmServer({**server_environment(project.environment), "HOME": os.devnull})
    yield settings, server, open_subject(settings)
    server.close()


def test_fused_bytes_and_peak_of_a_ledger(bench):
    settings, server, subject = bench
    name = "phi_steps-4"
    commit = describe(subject, planted(18))
    one = workload_ledgers(settings, commit, re.compile(f"^{name}$"), say=str, servers=Servers(server))[name]
    assert 0 < one.fused_bytes < one.bytes / 4
    assert one.peak_line[0].endswith(".py")
