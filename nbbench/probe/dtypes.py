"""The dtype audit of one call: what went in, what came out, what was widened and where.

docs/dtypes.md says what each verdict means.
"""

import contextlib
import io
import re
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from nbbench.ledger import Ledger, LedgerLine
from nbbench.probe.traffic import dtype_name
from nbbench.probe.verdicts import BROKEN, NOT_HERE, judge
from nbbench.probe.workload import record_ledger

Record = dict[str, Any]

# Interpolating a linear table with cubic polynomials is exact but for rounding: about 70 products
# and sums of values near 100 stay within a thousand units in the last place.
_ROUNDING_UNITS = 1000
_HALF_WORD = 4  # bytes of a pixel in half of a float64 frame
_MAX_MESSAGES = 20
_MAX_TEXT = 200
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][\w.+ -]+)+[\\/](?=[\w.+-])")
_WARNING = re.compile("warn|error", re.IGNORECASE)
_NUMBER_OR_FILE = re.compile(r"\b0x[0-9a-f]+\b")


@dataclass(frozen=True)
class Call:
    """A call to audit.

    `run` returns every tensor that the subject gave back; all of them should be `asked`.
    `exact` are the values of the first one (float64), where they are known. `fallbacks` are
    what the subject would return instead of computing them, by name. `switched_off` tells after
    the call whether the subject gave up for good; `may_fall_back` that this is its specified
    answer to such an input.
    """

    asked: torch.dtype
    pixels: int
    inputs: Mapping[str, torch.Tensor]
    run: Callable[[], tuple[torch.Tensor, ...]]
    exact: torch.Tensor | None = None
    fallbacks: Mapping[str, torch.Tensor] | None = None
    switched_off: Callable[[], bool] = lambda: False
    may_fall_back: bool = False


def audit(
    case: str,
    dtype: str,
    build: Callable[[], Call],
    *,
    source_root: str,
    clean: Callable[[str], str] = str,
) -> Record:
    """Build and run one case under the traffic ledger; never raises for what the subject does.

    `clean` takes secrets out of what the subject says, before anything is cut off.
    NotImplementedError from `build` or the call means that the commit lacks the feature.
    """
    said: list[str] = []
    found = {**_EMPTY, "case": case, "dtype": dtype}
    call: Call | None = None
    try:
        with _listening(said):
            call = build()
            found["inputs"] = [_tensor(name, tensor) for name, tensor in call.inputs.items()]
            made, ledger = _run(case, call, source_root)
        found |= _facts(call, made, ledger)
        found["verdict"], found["reason"] = judge(found, dtype=dtype, may_fall_back=call.may_fall_back)
    except NotImplementedError as error:
        return {**found, "inputs": [], "verdict": NOT_HERE, "reason": first_line(clean(str(error)))}
    except Exception as error:
        where = _line_of(error, source_root.rstrip("/") + "/") if source_root else ""
        reason = first_line(clean(f"{type(error).__name__}: {error}")) + where
        found |= {"verdict": BROKEN, "reason": reason}
    return {**found, "warnings": counted(map(clean, said))}


def _line_of(error: Exception, root: str) -> str:
    """The innermost line of the subject below `root` that raised the error."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(root)]
    return f" ({frames[-1].filename.removeprefix(root)}:{frames[-1].lineno})" if frames else ""


def counted(messages: Iterable[str]) -> list[Record]:
    """Messages with their counts, commonest first; first lines only, without folders."""
    counts = Counter(first_line(text) for text in messages if text.strip())
    return [{"message": text, "count": count} for text, count in counts.most_common(_MAX_MESSAGES)]


def first_line(text: str) -> str:
    """The first line of a message without folders and addresses of a machine."""
    line = next((part for part in text.splitlines() if part.strip()), "").strip()
    return _NUMBER_OR_FILE.sub("0x…", _PATH.sub("", line))[:_MAX_TEXT]


_EMPTY: Record = {
    "inputs": [],
    "outputs": [],
    "operations": 0,
    "upcasts": [],
    "small_upcast_bytes": 0,
    "fell_back": None,
    "switched_off": False,
    "relative_error": None,
    "rounding_limit": None,
    "warnings": [],
}


@contextlib.contextmanager
def _listening(said: list[str]) -> Iterator[None]:
    """Collect warnings, and printed lines that call themselves warnings or errors."""
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
        warnings.simplefilter("always")
        try:
            yield
        finally:
            said += [f"{w.category.__name__}: {w.message}" for w in caught]
            said += [line for line in printed.getvalue().splitlines() if _WARNING.search(line)]


def _run(case: str, call: Call, source_root: str) -> tuple[tuple[torch.Tensor, ...], Ledger]:
    made: list[tuple[torch.Tensor, ...]] = []

    def run() -> torch.Tensor:
        made.append(call.run())
        return made[0][0]

    ledger = record_ledger(case, run, pixels=call.pixels, asked=call.asked, source_root=source_root)
    return made[0], ledger


def _facts(call: Call, made: tuple[torch.Tensor, ...], ledger: Ledger) -> Record:
    wide = [line for line in ledger.lines if line.upcast_bytes]
    large = [line for line in wide if _grows(line, call.pixels)]
    names = ("output",) if len(made) == 1 else tuple(f"output {i}" for i in range(len(made)))
    error = _relative_error(made[0], call.exact)
    # An input rounded to a narrower type was rounded before the subject saw it: `exact` knows.
    limit = _ROUNDING_UNITS * torch.finfo(call.asked).eps
    return {
        "outputs": [_tensor(name, tensor) for name, tensor in zip(names, made, strict=True)],
        "operations": ledger.ops,
        "upcasts": sorted(map(_row, large), key=lambda row: (-row["bytes"], row["path"], row["line"])),
        "small_upcast_bytes": sum(line.upcast_bytes for line in wide if line not in large),
        "fell_back": _fallback(made[0], call) if error is not None and error > limit else None,
        "switched_off": call.switched_off(),
        "relative_error": error,
        "rounding_limit": limit if error is not None else None,
    }


def _tensor(name: str, tensor: torch.Tensor) -> Record:
    dtype, shape = dtype_name(tensor.dtype), list(tensor.shape)
    return {"name": name, "dtype": dtype, "shape": shape, "device": str(tensor.device)}


def _relative_error(made: torch.Tensor, exact: torch.Tensor | None) -> float | None:
    """Largest error relative to the largest value; infinite where the shape is another."""
    if exact is None:
        return None
    if made.shape != exact.shape:
        return float("inf")
    scale = exact.abs().max()
    return float(((made.detach().to(torch.float64) - exact).abs().max() / scale).item())


def _fallback(made: torch.Tensor, call: Call) -> str | None:
    for name, values in (call.fallbacks or {}).items():
        if made.shape == values.shape and torch.allclose(made.detach().to(torch.float64), values, rtol=1e-5):
            return name
    return None


def _grows(line: LedgerLine, pixels: int) -> bool:
    """Whether a line's wider bytes are of the work's own size: constants and rotation matrices are not.

    All calls of the line together make half a frame or more (a frame may be worked on in bands),
    and they are no scalars, unless the work is one point.
    """
    size = line.upcast_bytes
    return size >= pixels * _HALF_WORD and (pixels == 1 or size > line.count * 2 * _HALF_WORD)


def _row(line: LedgerLine) -> Record:
    told = {name: getattr(line, name) for name in ("path", "line", "function", "dtype", "count")}
    return {**told, "operation": line.op, "bytes": line.upcast_bytes}
