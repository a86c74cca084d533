"""Calls into the suite in warm processes: the machine's ceilings, a few runs of a workload."""

import json
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.ledger import Roof
from nbbench.measure import warm_client
from nbbench.measure.process_env import server_environment
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_server import TIMEOUT_CODE
from nbbench.record.redact import redact_value
from nbbench.words import last_line

_TIMEOUT_S = 300.0
# The subject's first run imports it, which takes a second: here once for all trees of a server.
_SHARED = ("torch._dynamo",)
_RECORDERS = ("nbbench.measure.recording",)
_TWO = 2  # trees at a time: those that are compared


class Servers(AbstractContextManager["Servers"]):
    """The warm servers that the recordings of one command share, each started when it is first asked for.

    A context that ends them. `given` takes the place of `full`, and is not ended. Each holds `suites` trees.
    """

    def __init__(self, given: WarmServer | None = None, *, suites: int = _TWO) -> None:
        self.suites, self._given, self._own = suites, given, dict[str, WarmServer]()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def full(self) -> WarmServer:
        """One that has what the subject's first run imports."""
        if self._given is not None:
            return self._given
        return self._server("full", server_environment(), (*_SHARED, *_RECORDERS))

    @property
    def bare(self) -> WarmServer:
        """One for host work: it holds torch and what records, and hashes alike each time."""
        return self._server("bare", {**server_environment(), "PYTHONHASHSEED": "0"}, _RECORDERS)

    def _server(self, name: str, environment: Mapping[str, str], preload: Sequence[str]) -> WarmServer:
        if name not in self._own:
            self._own[name] = warm_client.WarmServer(environment, preload=preload, suites=self.suites)
        return self._own[name]

    def close(self) -> None:
        """End those that were started."""
        for server in self._own.values():
            server.close()
        self._own.clear()


@contextmanager
def shared_servers(servers: Servers | None, *, suites: int = _TWO) -> Iterator[Servers]:
    """The servers given, or some of our own that end with the block."""
    with Servers(suites=suites) as own:
        yield servers or own


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call of `module:function` in a fork of the tree that `open` has a (bare) server hold."""

    open: Callable[[WarmServer], dict[str, str]]
    target: str
    arguments: Mapping[str, Any]
    bare: bool = False


def invoke_all(
    settings: Settings, servers: Servers, calls: Sequence[Invocation], timeout_s: float = _TIMEOUT_S
) -> list[str]:
    """Run the calls, as many at a time as each server holds trees; why each failed, '' where it did not.

    One tree after the other leaves a core idle, and gets less of a busy machine. Raises HostError when a
    server is gone.
    """
    reasons = [""] * len(calls)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    left = list(range(len(calls)))
    while left:
        begun: list[tuple[int, warm_client.Job]] = []
        for bare in (False, True):
            for number in [one for one in left if calls[one].bare is bare][: servers.suites]:
                left.remove(number)
                try:
                    job = _begin(settings, servers, calls[number], timeout_s)
                except InconclusiveError as error:
                    reasons[number] = str(error)
                else:
                    begun.append((number, job))
        for number, job in begun:
            done = job.finish()
            if done.exit_code:
                reasons[number] = _how_it_ended(done.exit_code, done.output, timeout_s)
    return reasons


def _begin(settings: Settings, servers: Servers, call: Invocation, timeout_s: float) -> warm_client.Job:
    server = servers.bare if call.bare else servers.full
    environment = call.open(server)
    argv = ["call", call.target, json.dumps(dict(call.arguments))]
    return server.begin(argv, cwd=str(settings.state_dir), environment=environment, timeout_s=timeout_s)


def invoke(
    settings: Settings,
    server: WarmServer,
    environment: dict[str, str],
    target: str,
    timeout_s: float = _TIMEOUT_S,
    /,
    **arguments: Any,
) -> None:
    """Run `module:function` of the suite in a fork of the open tree.

    Raises InconclusiveError when the process fails: with the signal that ended it, or its last line.
    """
    one = Invocation(lambda _: environment, target, arguments)
    if why := invoke_all(settings, Servers(server), [one], timeout_s)[0]:
        raise InconclusiveError(why)


def _how_it_ended(code: int, output: str, timeout_s: float) -> str:
    """What ended a process that failed: a signal or the time limit, or else the last line of its output."""
    if code == TIMEOUT_CODE:
        return f"it timed out after {timeout_s:.0f} s"
    if code < 0:
        return f"it was ended by signal {-code} ({signal.Signals(-code).name})"
    return last_line(output, f"it ended with exit code {code}")


def call(
    settings: Settings, server: WarmServer, environment: dict[str, str], target: str, **arguments: Any
) -> Any:
    """Run `module:function` of the suite in a fork of the open tree; what it wrote to `path` as JSON.

    Raises InconclusiveError when the process fails.
    """
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=server.scratch) as folder:
        path = Path(folder) / "answer.json"
        try:
            invoke(settings, server, environment, target, **arguments, path=str(path))
            return redact_value(json.loads(path.read_text(encoding="utf-8")), environment)
        except InconclusiveError as error:
            raise InconclusiveError(f"the measuring process failed: {error}") from error
        except FileNotFoundError as error:
            raise InconclusiveError("the measuring process failed: it wrote no answer") from error


def measure_roof(settings: Settings, server: WarmServer, environment: dict[str, str]) -> Roof:
    """The machine's ceilings, measured now."""
    answer = call(settings, server, environment, "nbbench.measure.recording:machine")
    return Roof(**{**answer, "curve": tuple((int(size), float(rate)) for size, rate in answer["curve"])})


def measure_runs(
    settings: Settings, server: WarmServer, environment: dict[str, str], workload: str
) -> list[float]:
    """Seconds of a few warm runs of one workload. Raises InconclusiveError with the subject's own error."""
    answer = call(settings, server, environment, "nbbench.measure.recording:runs", workload=workload)
    if answer.get("error"):
        raise InconclusiveError(f"{workload}: {answer['error']}")
    return [float(seconds) for seconds in answer["seconds"]]
