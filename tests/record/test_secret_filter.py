"""A stream without credentials: whatever the pieces, nothing secret passes and every other byte does."""

from __future__ import annotations

import tracemalloc

import pytest
from credential_samples import IN_CONTEXT, SURVIVORS, TOKENS, rnd
from hypothesis import given, settings
from hypothesis import strategies as st

from nbbench.credentials import REDACTED
from nbbench.record.redact import SecretFilter, redact_text

MARK = REDACTED.encode()
VALUE = rnd(10) + "!" + rnd(10)
PEM_LINES = [rnd(64) for _ in range(12)]
PEM = (
    "-----BEGIN " + "RSA PRIVATE KEY-----\n" + "\n".join(PEM_LINES) + "\n-----END " + "RSA PRIVATE KEY-----\n"
)


def filtered(data: bytes, size: int, environ: dict[str, str] | None = None) -> bytes:
    stream = SecretFilter(environ or {})
    pieces = [stream.feed(data[i : i + size]) for i in range(0, len(data), size)]
    return b"".join([*pieces, stream.flush()])


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
@pytest.mark.parametrize("name", TOKENS)
def test_tokens_do_not_pass_however_they_are_cut(name: str, size: int) -> None:
    text = f"before\nsent {TOKENS[name]} there\nafter\n"
    assert filtered(text.encode(), size) == redact_text(text).encode()


@pytest.mark.parametrize("size", [1, 13, 100_000])
@pytest.mark.parametrize("name", IN_CONTEXT)
def test_credentials_in_context_do_not_pass(name: str, size: int) -> None:
    text, secret = IN_CONTEXT[name]
    shown = filtered(f"before\n{text}\nafter it all is well\n".encode(), size)
    assert shown.startswith(b"before\n") and shown.endswith(b"after it all is well\n")
    assert MARK in shown
    assert not secret or secret.encode() not in shown


@pytest.mark.parametrize("size", [1, 64, 100_000])
def test_harmless_lines_pass_whole(size: int) -> None:
    data = "\n".join(SURVIVORS).encode()
    assert filtered(data, size) == data


@pytest.mark.parametrize("size", [1, 17, 64, 100_000])
def test_no_line_of_a_private_key_passes(size: int) -> None:
    data = f"one\n{PEM}two words\n".encode()
    assert filtered(data, size) == b"one\n" + (MARK + b"\n") * (len(PEM_LINES) + 2) + b"two words\n"


def test_a_key_without_its_end_does_not_swallow_the_log() -> None:
    cut = "-----BEGIN " + "RSA PRIVATE KEY-----\n" + "\n".join(PEM_LINES[:3]) + "\n"
    log = "tests/test_x.py::test_a PASSED [ 50%]\n=== 1 passed in 0.1 s ===\n"
    assert filtered((cut + log).encode(), 50) == (MARK + b"\n") * 4 + log.encode()
    dots = "." * 70 + "\n"
    mention = "-----BEGIN " + "RSA PRIVATE KEY-----\n"
    assert filtered((mention + dots * 2000).encode(), 71).count(dots.encode()) > 1000


@pytest.mark.parametrize(
    "spelling",
    [
        VALUE,
        VALUE.replace("!", "%21"),
        f"'{VALUE}'",
        f"postgresql://bench:{VALUE}@db/nb",
    ],
)
@pytest.mark.parametrize("size", [1, 9, 4096])
def test_values_of_the_environment_do_not_pass(spelling: str, size: int) -> None:
    environ = {"BENCH_PASSWORD": VALUE, "NB_C_BIN": "/opt/bin/nanoBragg"}
    shown = filtered(f"the value is {spelling} and NB_C_BIN=/opt/bin/nanoBragg\n".encode(), size, environ)
    assert VALUE.encode() not in shown and b"%21" not in shown
    assert b"NB_C_BIN=/opt/bin/nanoBragg" in shown


def test_a_value_of_several_lines_does_not_pass_line_by_line() -> None:
    value = f"{{\n  first-line-of-it {VALUE},\n  second line of the same\n}}"
    shown = filtered(
        f"  second line of the same\n{{\nfirst-line-of-it {VALUE},\n".encode(), 5, {"X_SECRET": value}
    )
    assert b"second line" not in shown and VALUE.encode() not in shown
    assert b"\n{\n" in shown


@pytest.mark.parametrize("size", [4096, 65_536, 10**7])
@pytest.mark.parametrize("filling", ["x ", "abc,", "é ", "0123456789abcdef"])
def test_lines_without_end_pass_in_parts_that_cut_no_secret(size: int, filling: str) -> None:
    environ = {"BENCH_PASSWORD": VALUE}
    token = TOKENS["github personal"]
    gap = filling * (160_000 // len(filling.encode()))
    text = f" {VALUE} ".join([gap] * 3) + f" {token} Authorization: Bearer {VALUE[:5]}-99 " + gap
    shown = filtered(text.encode(), size, environ)
    assert VALUE.encode() not in shown and token.encode() not in shown
    assert shown.count(MARK) >= 3
    assert shown.decode().replace(REDACTED, "").count(filling) >= 3 * (len(gap) // len(filling))


def test_every_place_in_a_long_line_is_safe() -> None:
    environ = {"BENCH_PASSWORD": VALUE}
    for offset in range(0, 120, 12):  # the cut falls on each part of the value
        text = "word " * 26_000 + "x" * offset + f" api_key = {VALUE} " + "word " * 26_000
        assert VALUE.encode() not in filtered(text.encode(), 10_000, environ)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_bytes_are_accepted_and_pieces_make_no_difference(pieces: list[bytes]) -> None:
    stream = SecretFilter({})
    shown = b"".join([*map(stream.feed, pieces), stream.flush()])
    assert shown == filtered(b"".join(pieces), 10**9)


def test_binary_passes_unharmed() -> None:
    data = bytes(range(256)) * 50
    assert filtered(data, 100) == data


def test_memory_does_not_grow_with_the_log() -> None:
    stream = SecretFilter({"BENCH_PASSWORD": VALUE})
    line = b"tests/test_x.py::TestThing::test_the_other_thing PASSED [ 50%]\n" * 500
    stream.feed(line)
    tracemalloc.start()
    for _ in range(10):
        stream.feed(line)
        stream.feed(b"no line end here, " * 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000
