"""Dask's own part: processes here, jobs of Slurm, or a scheduler that runs already."""

import logging
import os
import shutil
import signal
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from nbbench.errors import ConfigError, HostError, UsageError
from nbbench.words import clean, last_line

RESOURCE = "nbbench"
"""What every worker has one of (`dask worker --resources nbbench=1`): it measures one thing at a time."""

_JOBS = 4  # of Slurm, where `slurm` says no number
_ANSWER_S = 10  # that a scheduler has to answer
_HINT = "docs/cluster.md: cores, memory, queue and walltime stand in ~/.config/dask/jobqueue.yaml"


@contextmanager
def open_cluster(where: str, logs: Path) -> Iterator[Any]:
    """Dask's client of a cluster: `local:N` processes here, `slurm[:N]` jobs, or a scheduler's address.

    Jobs of Slurm write to `logs`. Raises HostError without Dask or where nothing answers, UsageError for what
    is none of these, ConfigError where Slurm refuses such jobs.
    """
    try:
        import distributed
    except ImportError as error:
        raise HostError("Dask is not installed", hint="pip install 'nbbench[cluster]'") from error
    kind, _, number = where.partition(":")
    if kind in ("local", "slurm") and number and not (number.isdecimal() and int(number)):
        raise UsageError(f"--dask {where}: {number!r} is no number of workers", hint="write it as local:2")
    if kind not in ("local", "slurm") and not number:
        raise UsageError(f"--dask {where} is no address", hint="local:N, slurm:N, or tcp://HOST:8786")
    # A dead worker is told here, and its shares go on.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*Port \d+ is already in use")  # of a page that nobody looks at
        try:
            place: Any = where
            if kind == "local":
                given = {"threads_per_worker": 1, "resources": {RESOURCE: 1}, "dashboard_address": None}
                given |= {"n_workers": int(number or os.cpu_count() or 1), "silence_logs": logging.CRITICAL}
                place = stack.enter_context(distributed.LocalCluster(**given))
            elif kind == "slurm":
                place = stack.enter_context(_slurm(logs))
                _submit(place, int(number or _JOBS))
            client = stack.enter_context(distributed.Client(place, timeout=_ANSWER_S))
        except (OSError, RuntimeError) as error:  # TLS that is asked for and lacks its files, for instance
            first: BaseException = error
            while first.__cause__:
                first = first.__cause__
            raise HostError(f"no scheduler of Dask answers at {where} ({clean(str(first))})") from error
        yield client


def _slurm(logs: Path) -> Any:
    """Jobs with one worker each, which have their nodes to themselves; the site's own settings are Dask's."""
    import dask
    from distributed import Security

    interrupted = signal.getsignal(signal.SIGINT)
    from dask_jobqueue import SLURMCluster

    signal.signal(signal.SIGINT, interrupted)  # importing dask-jobqueue makes Ctrl-C exit 0
    site = dask.config.get("jobqueue.slurm", {})
    given = {
        "log_directory": site.get("log-directory") or str(logs),
        "worker_extra_args": [*(site.get("worker-extra-args") or []), "--resources", f"{RESOURCE}=1"],
        "job_extra_directives": [*(site.get("job-extra-directives") or []), "--exclusive"],
    }
    if dask.config.get("distributed.comm.require-encryption", None):
        given["security"] = Security()  # its files reach the workers' command lines by this alone
    try:
        return SLURMCluster(processes=1, **given)
    except ValueError as error:
        raise ConfigError(f"Dask knows too little of this Slurm: {clean(str(error))}", hint=_HINT) from error


def _submit(cluster: Any, jobs: int) -> None:
    """Submit jobs that Slurm says it takes; one that ends before the run does is followed by another."""
    if not shutil.which("sbatch"):
        raise HostError("there is no Slurm here: sbatch is not found")
    command = ["sbatch", "--test-only"]
    checked = subprocess.run(command, input=cluster.job_script(), capture_output=True, text=True)
    if checked.returncode:
        raise ConfigError(
            f"Slurm takes no such job: {last_line(checked.stderr, 'no reason given')}", hint=_HINT
        )
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
