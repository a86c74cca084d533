"""summary.md of an evidence folder, in the sections that the STAMP layout asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nbbench.report.blocks import Block, Bullets, Item, Table
from nbbench.report.markdown import as_markdown
from nbbench.words import for_markdown as escape

FILES = {
    "commands.txt": "the exact command, with STAMP and working directory",
    "summary.md": "this page",
    "metrics.json": "figures",
    "benchmark_results.json": "every sample",
    "pytest.log": "what the command printed",
    "stderr.log": "what it printed to stderr",
    "test_records.log": "each test as the pytest plugin saw it, one JSON object a line",
    "time.txt": "resource use (/usr/bin/time -v)",
    "exit_code.txt": "exit code",
    "run_metadata.json": "commit, tree, work tree, machine, versions, times",
    "env.txt": "environment variables; values outside the allowlist are redacted",
    "torch_env.txt": "torch.utils.collect_env",
    "profile.json": "torch profiler trace",
    "dtype_snapshot.json": "dtypes of the audit",
    "sha256.txt": "checksums: sha256sum -c sha256.txt",
}


def stamp_page(cluster: str, plan: str, sections: Mapping[str, Sequence[Block]]) -> str:
    """A page of sections, every one present; an empty one says that nothing was recorded."""
    parts = [f"# {escape(cluster)}: evidence for {escape(plan)}"]
    for name, blocks in sections.items():
        parts += [f"## {name}", as_markdown(blocks).strip("\n") or "Not recorded."]
    return "\n\n".join(parts) + "\n"


def artifacts(names: Iterable[str]) -> Bullets:
    """The files of a folder, with what each is."""
    return Bullets([Item(FILES.get(name, ""), name) for name in in_reading_order(names)])


def fact_table(facts: Iterable[tuple[str, str]]) -> list[Block]:
    """What is known, by name; what is empty is left out."""
    rows = [pair for pair in facts if pair[1]]
    return [Table(("fact", "value"), rows)] if rows else []


def in_reading_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of a folder's files in the order in which a reader wants them."""
    known = list(FILES)
    return tuple(sorted(set(names), key=lambda n: (known.index(n) if n in known else len(known), n)))
