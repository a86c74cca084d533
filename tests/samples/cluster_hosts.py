"""Hosts for tests of clusters: network namespaces with a name and an address each, on a switch; Slurm there.

Namespaces and daemons are of one test process, and end with it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REQUIRED = "NBBENCH_TEST_REQUIRE"
"""What may not be lacking (`netns slurm`): there a test that would skip fails."""

HEAD = "head"
_NET = "10.213.7"
# No name is asked of a name server, which no host can reach.
_ON_HOST = """
hostname "$0" && mount --bind "$1/hosts" /etc/hosts && mount --bind "$1/resolv.conf" /etc/resolv.conf
[ ! -e "$1/$0.cpuinfo" ] || mount --bind "$1/$0.cpuinfo" /proc/cpuinfo
shift && exec "$@"
"""


# In the canary's process alone a clock that runs by calls: no processor decides what it says.
_CLOCK = """
import itertools, sys, time
if "reference_times" in " ".join(sys.orig_argv):
    ticks = itertools.count()
    time.perf_counter = lambda: next(ticks) * {step}
"""


def canary_clock(folder: Path, step: float) -> str:
    """The PYTHONPATH of processes whose canary takes `step` seconds."""
    made = folder / f"clock-{step}"
    made.mkdir(exist_ok=True)
    (made / "sitecustomize.py").write_text(_CLOCK.format(step=step))
    return str(made)


def tls_settings(folder: Path) -> dict[str, str]:
    """Dask's settings as variables: all is encrypted, by a certificate that is made in a folder."""
    files = {"CERT": str(folder / "cert.pem"), "KEY": str(folder / "key.pem")}
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=nbbench"]
    made += ["-out", files["CERT"], "-keyout", files["KEY"]]
    subprocess.run(["openssl", "req", *made], check=True, capture_output=True)
    found = {"REQUIRE_ENCRYPTION": "true", "TLS__CA_FILE": files["CERT"]}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        found |= {f"TLS__{role}__{kind}": path for kind, path in files.items()}
    return {f"DASK_DISTRIBUTED__COMM__{name}": value for name, value in found.items()}


def skip_without(what: str, reason: str) -> None:
    """Skip a test for a reason, or fail it where `what` is required."""
    if what in os.environ.get(REQUIRED, "").split():
        pytest.fail(f"{what} is required here: {reason}")
    pytest.skip(f"no {what}: {reason}")


@dataclass
class Hosts:
    """A head and some nodes: each a network namespace, whose processes see its name as the host's."""

    nodes: Sequence[str]
    folder: Path
    prefix: str = field(default_factory=lambda: f"nbb{os.getpid()}")
    cores: dict[str, int] = field(default_factory=dict)

    def address(self, host: str) -> str:
        """A host's address on the switch."""
        return f"{_NET}.{1 + [HEAD, *self.nodes].index(host)}"

    def command(self, host: str, *arguments: object) -> list[str]:
        """A command line that runs on a host."""
        within = [
            "nsenter",
            f"--net=/run/netns/{self._space(host)}",
            "unshare",
            "--uts",
            "--mount",
            "sh",
            "-c",
        ]
        bound = ["taskset", "--cpu-list", str(self.cores[host])] if host in self.cores else []
        return [*within, _ON_HOST, host, str(self.folder), *bound, *map(str, arguments)]

    @contextmanager
    def processor(self, host: str, name: str) -> Iterator[None]:
        """What starts on a host meanwhile sees a processor of this name, and may use one core of it."""
        said = re.sub(r"(?m)^(model name|cpu model|Model)\s*:.*", "", Path("/proc/cpuinfo").read_text())
        (shown := self.folder / f"{host}.cpuinfo").write_text(f"model name\t: {name}\n{said}")
        self.cores[host] = min(os.sched_getaffinity(0))
        yield
        shown.unlink()
        del self.cores[host]

    def cut(self, host: str) -> None:
        """Take a node's link down."""
        _ip("-n", self._space(HEAD), "link", "set", host, "down")

    def join(self, host: str) -> None:
        """Take a node's link up again."""
        _ip("-n", self._space(HEAD), "link", "set", host, "up")

    def processes(self, host: str) -> list[int]:
        """The ids of the processes that run on a host."""
        return [int(pid) for pid in _ip("netns", "pids", self._space(host)).split()]

    def commands(self, host: str) -> dict[int, str]:
        """The command lines of the processes that run on a host, by their ids."""
        found = {}
        for pid in self.processes(host):
            with suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
        return found

    def kill(self, host: str) -> None:
        """End all processes of a host at once, as a power cut does."""
        for _ in range(100):
            for pid in (found := self.processes(host)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not found:
                return
            time.sleep(0.05)

    def _space(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    def _begin(self) -> None:
        names = "".join(f"{self.address(host)} {host}\n" for host in (HEAD, *self.nodes))
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        (self.folder / "resolv.conf").write_text("")
        for host in (HEAD, *self.nodes):
            _ip("netns", "add", self._space(host))
            _ip("-n", self._space(host), "link", "set", "lo", "up")
        head = self._space(HEAD)
        _ip("-n", head, "link", "add", "switch", "type", "bridge")
        _ip("-n", head, "address", "add", f"{self.address(HEAD)}/24", "dev", "switch")
        _ip("-n", head, "link", "set", "switch", "up")
        for host in self.nodes:
            space = self._space(host)
            _ip("-n", head, "link", "add", host, "type", "veth", "peer", "name", "net", "netns", space)
            _ip("-n", head, "link", "set", host, "master", "switch", "up")
            _ip("-n", space, "address", "add", f"{self.address(host)}/24", "dev", "net")
            _ip("-n", space, "link", "set", "net", "up")
        for host in (HEAD, *self.nodes):  # Dask asks the route to the internet for its own address
            device = "switch" if host == HEAD else "net"
            _ip("-n", self._space(host), "route", "add", "default", "dev", device)

    def _end(self) -> None:
        for host in (HEAD, *self.nodes):
            with suppress(subprocess.CalledProcessError):
                self.kill(host)
                _ip("netns", "delete", self._space(host))


@contextmanager
def hosts(*nodes: str) -> Iterator[Hosts]:
    """A head and these nodes; the test is skipped where this process may not make namespaces."""
    if os.geteuid() or not shutil.which("ip"):
        skip_without("netns", "network namespaces take root and the program ip")
    made = Hosts(nodes, Path(tempfile.mkdtemp(prefix="nbbench-hosts-")))
    try:
        try:
            made._begin()
        except subprocess.CalledProcessError as error:
            skip_without("netns", f"{error.cmd}: {error.stderr.strip()}")
        yield made
    finally:
        made._end()
        shutil.rmtree(made.folder, ignore_errors=True)


@contextmanager
def slurm(place: Hosts) -> Iterator[dict[str, str]]:
    """Slurm on the hosts, its controller on the head; the variables by which its commands find it."""
    lacking = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
    if lacking:
        skip_without("slurm", f"{', '.join(lacking)} of Debian's munge, slurmctld, slurmd, slurm-client")
    folder = Path(tempfile.mkdtemp(prefix="nbbench-slurm-"))
    started: list[subprocess.Popen] = []

    def start(host: str, *command: object) -> None:
        with (folder / "daemons.txt").open("ab") as output:
            both = {"stdout": output, "stderr": output, "stdin": subprocess.DEVNULL}
            started.append(subprocess.Popen(place.command(host, *command), **both, env=environment))

    environment = {"PATH": os.environ["PATH"], "SLURM_CONF": str(folder / "slurm.conf")}
    try:
        folder.chmod(0o755)
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # never used, and never looked for
        (folder / "state").mkdir()
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        socket = folder / "munge.socket"
        nodes = "".join(
            f"NodeName={name} NodeAddr={place.address(name)} CPUs={os.cpu_count()} RealMemory=4000\n"
            for name in place.nodes
        )
        text = _SLURM_CONF.format(folder=folder, address=place.address(HEAD), nodes=nodes)
        (folder / "slurm.conf").write_text(text)
        files = {"key-file": "munge.key", "pid-file": "munge.pid", "log-file": "m.log", "seed-file": "m.seed"}
        given = [f"--{option}={folder / name}" for option, name in files.items()]
        start(HEAD, "munged", "--foreground", "--force", f"--socket={socket}", *given)
        _wait(socket.exists, folder)
        start(HEAD, "slurmctld", "-D")
        for name in place.nodes:
            start(name, "slurmd", "-D", "-N", name)
        idle = place.command(HEAD, "sinfo", "--noheader", "--states=idle", "--Node")

        def answers() -> bool:
            done = subprocess.run(idle, capture_output=True, text=True, env=environment)
            return len(done.stdout.splitlines()) == len(place.nodes)

        _wait(answers, folder)
        yield {"SLURM_CONF": environment["SLURM_CONF"]}
    finally:
        for process in started[::-1]:
            process.terminate()
        for process in started:
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(condition: Callable[[], bool], folder: Path) -> None:
    end = time.monotonic() + 120
    while not condition():
        if time.monotonic() > end:
            skip_without("slurm", f"its daemons do not start: {(folder / 'daemons.txt').read_text()[-3000:]}")
        time.sleep(0.1)


_SLURM_CONF = """
ClusterName=nbbench
SlurmctldHost=head({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,sched_min_interval=10000,batch_sched_delay=0
KillWait=2
MpiDefault=none
ReturnToService=2
MailProg=/bin/true
{nodes}PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP
"""


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
