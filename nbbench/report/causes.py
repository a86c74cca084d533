"""The evidence of an event in sentences: one function for each kind of record (`@says`)."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from nbbench import units
from nbbench.host import HostKind
from nbbench.ledger import ImageChange
from nbbench.model import EvidenceRecord
from nbbench.words import plural

Figures = dict[str, Any]
_Sentences = Callable[[Figures], list[str]]
_SENTENCES: dict[str, _Sentences] = {}
# glibc maps each block above a threshold that adapts to what is freed, up to 32 MiB on 64-bit machines
# (DEFAULT_MMAP_THRESHOLD_MAX in malloc.c): a larger block is mapped, faulted in and unmapped every time.
MALLOC_REMEDY = "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592"
_SAMPLING = {
    "number": "calls in each sample (asv's number)",
    "repeat": "samples of a result (asv's repeat)",
}


def says(kind: str) -> Callable[[_Sentences], _Sentences]:
    """Register the sentences of a kind of evidence."""

    def register(sentences: _Sentences) -> _Sentences:
        _SENTENCES[kind] = sentences
        return sentences

    return register


def evidence_sentences(evidence: Iterable[EvidenceRecord]) -> list[str]:
    """Everything that the evidence says, in its order."""
    return [sentence for one in evidence for sentence in _SENTENCES[one.kind](one.figures)]


def evidence_text(evidence: Iterable[EvidenceRecord]) -> str:
    """The same in one line."""
    return "; ".join(evidence_sentences(evidence))


def says_plainly(sentences: Mapping[str, str | Callable[[Figures], str]]) -> None:
    """Register kinds of evidence that are one sentence, in which `{name}` stands for a figure."""
    for kind, sentence in sentences.items():
        _SENTENCES[kind] = partial(_formatted, sentence)


def _formatted(sentence: str | Callable[[Figures], str], f: Figures) -> list[str]:
    return [sentence.format(**f) if isinstance(sentence, str) else sentence(f)]


says_plainly(
    {
        "same work": "the ledger is unchanged: same operations, same bytes",
        "malloc": f"remedy: {MALLOC_REMEDY}",
        "idle process": "a process that imports and does nothing changed: "
        "what is imported differs, not what is computed",
        "reference kernels": lambda f: (
            "the reference kernels, fixed programs timed beside these benchmarks, "
            f"moved by {units.format_change(f['effect'])} with it"
        ),
        "others": lambda f: (
            f"others used {f['before']['others']:.0%} of a core while the older commits were "
            f"measured and {f['after']['others']:.0%} meanwhile "
            f"(steal {f['before']['steal']:.1%} → {f['after']['steal']:.1%})"
        ),
        "setup": lambda f: (
            f"{_SAMPLING.get(f['what'], f['what'])} changed at this step: {f['before']} → {f['after']}"
        ),
    }
)


@says("nothing")
def _nothing(f: Figures) -> list[str]:
    """What does not explain it; what is not on record explains nothing either, and is not claimed."""
    work, load = f.get("work", True), f.get("load", True)
    looked = [*(["work", "allocator"] if work else []), "setup", *(["the machine's load"] if load else [])]
    missing = [*([] if work else ["its work"]), *([] if load else ["the machine's load"])]
    said = (
        f"neither {', '.join(looked[:-1])} nor {looked[-1]} explains it"
        if looked[1:]
        else "the setup is the same"
    )
    if missing:
        said += f"; {' and '.join(missing)} {'are' if missing[1:] else 'is'} not on record"
    return [said]


@says("work")
def _work(f: Figures) -> list[str]:
    """A ledger difference, largest lines named."""
    name = f["workload"]
    said = [
        f"{name}: {f['bytes_before']:,.1f} → {f['bytes_after']:,.1f} B/pixel "
        f"({units.format_change(f['effect'])}), {f['ops_before']:,} → {f['ops_after']:,} operations"
    ]
    if f["retyped"]:
        said.append(f"{name}: the output is {f['dtype_after']}, was {f['dtype_before']}")
    if f["upcasts"]:
        wider = f"{f['upcast_before']:,.1f} → {f['upcast_after']:,.1f}"
        said.append(f"{name}: {wider} B/pixel wider than asked")
    if f["image"] == ImageChange.DIFFERENT:
        said.append(f"{name}: the image changed (sum × {f['image_ratio']:.6g}): not like for like")
    elif f["image"] == ImageChange.SAME_BITS:
        said.append(f"{name}: the image is bit-identical")
    said += [
        f"{line['where']} {line['function']}: {line['op']} {line['dtype']} "
        f"{line['before']:,.1f} → {line['after']:,.1f} B/pixel "
        f"({line['count_before']} → {line['count_after']} calls)"
        for line in f["lines"]
    ]
    if f["more_lines"]:
        said.append(f"{plural(f['more_lines'], 'more line')} ({f['more_bytes']:+,.1f} B/pixel)")
    return said


@says("peak")
def _peak(f: Figures) -> list[str]:
    if f["peak_before"] == f["peak_after"]:
        return ["same peak of live tensors"]
    sizes = f"{units.format_bytes(f['peak_before'])} → {units.format_bytes(f['peak_after'])}"
    before, after = (
        f"{path}:{line} {name}" for path, line, name in (f["peak_line_before"], f["peak_line_after"])
    )
    where = f"reached at {after}" + ("" if before == after else f", before at {before}")
    return [f"{f['workload']}: peak memory {sizes} ({units.format_change(f['peak_effect'])}) {where}"]


_DOES = {
    HostKind.CALL: "called",
    HostKind.LINE: "executed",
    HostKind.OUTSIDE: "calls {}",
    HostKind.MODULE: "imports {}",
    HostKind.OUTPUT: "writes to {}",
    HostKind.MEMORY: "holds",
    HostKind.FILE: "opens to {}",
    HostKind.WARNING: "warns {}",
    HostKind.LAUNCH: "starts {}",
    HostKind.WAIT: "waits in {}",
    HostKind.SETTING: "sets {}",
    HostKind.OPERATION: "issues {}",
    HostKind.MOVED: "moves by {}",
    HostKind.ALIVE: "peak of tensors",
}


_IN_BYTES = (HostKind.OUTPUT, HostKind.MEMORY, HostKind.MOVED, HostKind.ALIVE)


@says("host")
def _host(f: Figures) -> list[str]:
    from nbbench.work.ledger_diff import log_ratio  # difflib and more, which other lists do without

    values = " → ".join(units.format_value(f[when], f["metric"]) for when in ("before", "after"))
    where = f["workload"] if f["workload"] == f["phase"] else f"{f['workload']}, {f['phase']}"
    said = [f"{where}: {values} ({units.format_change(log_ratio(f['before'], f['after']))})"]
    for line in f["lines"]:
        place = f"{line['where']} {line['function']}".strip() or "(no line of the subject)"
        kind = HostKind(line["kind"])
        unit = "bytes" if kind in _IN_BYTES else "modules" if kind is HostKind.MODULE else ""
        amounts = " → ".join(units.format_value(line[when], unit) for when in ("before", "after"))
        said.append(f"{place}: {_DOES[kind].format(line['name'])} {amounts}")
    more = [f"{plural(f['more_lines'], 'more line')} of {where}"] if f["more_lines"] else []
    return [*said, *more]


@says("calls")
def _calls(f: Figures) -> list[str]:
    """Calls that may be why, since nothing that has a price is."""
    where, *lines = _host(f)
    return [f"{where}; what these calls cost, their number does not tell", *lines]


@says("first difference")
def _first_difference(f: Figures) -> list[str]:
    """Where the values of a workload begin to differ on the way to its image, and why."""
    if not f["where"]:
        return [f"{f['workload']}: {_NO_LINE[f['reason']]}"]
    name = " in ".join(filter(None, (f["op"], f["function"])))
    said = f"{f['workload']}: values first differ at {f['where']} ({name}{_by(f['relative'])})"
    later = f"{plural(f['later'], 'operation')} later the image" if f["later"] else "which makes the image"
    change = f": {f['before']} → {f['after']}" if f["before"] else ""
    was = f", {f['op_before']} before" if f["op_before"] not in ("", f["op"]) else ""
    return [f"{said}, {later}{_by(f['image'], ' by ')}; {f['reason']}{change}{was}"]


_NO_LINE = {
    "random numbers": "the images are equal with the seeds of random numbers pinned",
    "values": "the image comes from outside of torch, where nothing of it is seen",
}


def _by(change: float | None, word: str = ", relative ") -> str:
    return "" if change is None else f"{word}{change:.2g}"


@says("hunks")
def _hunks(f: Figures) -> list[str]:
    """Which hunks cause a change, what each carries, and that the others are innocent."""
    what = f["unit"] or f["metric"]
    ends = " → ".join(units.format_value(f[when], f["unit"]) for when in ("before", "after"))
    phase = f", {f['phase']}" if f["phase"] else ""
    found, others = f["hunks"], f["total"] - len(f["hunks"])
    about = f"{f['workload']}{phase}: {ends if f['unit'] else 'another ' + what}"
    if not f["minimal"]:
        return [f"{about} is caused by some of {plural(len(found), 'hunk')} (the search did not end)"]
    apart = [one for one in found if one["share"] is not None]
    joint = " + ".join(one["place"] for one in found if one["share"] is None)
    names = [f"{one['place']} ({100 * one['share']:.0f} %)" for one in apart]
    if joint:
        left = f" ({100 - 100 * sum(one['share'] for one in apart):.0f} %)" if apart else ""
        names.append(f"{joint} together{left}")
    said = f"{about} is caused by {found[0]['place'] if len(found) == 1 else ', '.join(names)}"
    if not others:
        return [said]
    rest = f"the other {plural(others, 'hunk')} {'is' if others == 1 else 'are'} innocent"
    if f["innocent"]:
        return [f"{said}; {rest}"]
    rest = units.format_value(f["rest"], f["unit"]) if f["unit"] else "another image"
    why = "does not run" if f["rest"] is None else f"still gives {rest}"
    return [f"{said}; of {plural(others, 'other hunk')} nothing is shown: head without the set {why}"]


@says("order")
def _order(f: Figures) -> list[str]:
    before, after = (f"as {units.format_power(n)}" if n else "not at all" for n in (f["before"], f["after"]))
    named = ", ".join(f"{one['where']} {one['function']}".strip() or "(benchmark)" for one in f["lines"])
    where = f", {'at' if f['after'] > f['before'] else 'before at'} {named}" if named else ""
    return [f"{f['quantity']} of {f['scale']} grow {after} instead of {before}{where}"]
