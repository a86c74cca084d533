"""What a guarded run refuses, by the name of the rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from nbbench.capture.guards import (
    compile_guards,
    guarded_environment,
    is_isolated,
    is_pytest,
    pinned_malloc,
    violations,
)
from nbbench.config import checkout_settings
from nbbench.report.causes import MALLOC_REMEDY
from nbbench.subject.profile import find_preset

CPU = find_preset(checkout_settings(Path("nowhere")), "cpu-perf")
RUN = ("pytest", "-vv", "tests/test_x.py")


def rules(environ: dict[str, str] | None = None, command: tuple[str, ...] = RUN, timeout_s=None) -> list[str]:
    return [v.rule for v in violations(CPU, environ or {}, command, timeout_s)]


def test_the_guards_are_the_directives() -> None:
    assert guarded_environment(CPU, {"A": "b"}) == {
        "A": "b",
        "CUDA_VISIBLE_DEVICES": "-1",
        "KMP_DUPLICATE_LIB_OK": "TRUE",
        "NANOBRAGG_DISABLE_COMPILE": "1",
        "PYTEST_ADDOPTS": "--maxfail=1 --timeout=900 --durations=0",
        "TORCHDYNAMO_DISABLE": "1",  # the one that holds at every commit
    }
    assert CPU.timeout_s == 900
    assert CPU.command[:2] == ("pytest", "-vv")


def test_a_clean_run_and_equal_values_break_nothing() -> None:
    assert rules() == []
    assert rules(dict(CPU.environment)) == []
    directive = ("/usr/bin/time", "-v", "timeout", "900", "env", *map("=".join, CPU.environment), *RUN)
    assert rules(command=directive) == []
    assert rules(command=(*RUN, "--timeout=1800", "-m", "not gpu and not slow"), timeout_s=1800) == []
    assert rules(command=("python", "-m", "pytest", "-k", "not (cuda or compile)")) == []


@pytest.mark.parametrize(
    ("environ", "rule"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0"}, "gpu-enabled"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "gpu-enabled"),
        ({"KMP_DUPLICATE_LIB_OK": "FALSE"}, "environment-conflict"),
        ({"NANOBRAGG_DISABLE_COMPILE": "0"}, "compile-enabled"),
        ({"NANOBRAGG_DISABLE_COMPILE": ""}, "compile-enabled"),
        ({"NANOBRAGG_DISABLE_COMPILE": "yes"}, "environment-conflict"),
        ({"TORCHDYNAMO_DISABLE": "0"}, "compile-enabled"),
        ({"PYTEST_ADDOPTS": "-x"}, "environment-conflict"),
        ({"PYTEST_ADDOPTS": "--maxfail=1 --timeout=60 --durations=0"}, "timeout-lowered"),
        ({"PYTEST_ADDOPTS": "--timeout 60"}, "timeout-lowered"),
        ({"PYTEST_ADDOPTS": "-p no:timeout"}, "timeout-lowered"),
        ({"PYTEST_TIMEOUT": "30"}, "timeout-lowered"),
    ],
)
def test_the_environment(environ: dict[str, str], rule: str) -> None:
    assert rules(environ) == [rule]


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        ((*RUN, "--timeout=60"), "timeout-lowered"),
        ((*RUN, "--timeout", "60"), "timeout-lowered"),
        ((*RUN, "--timeout=0"), "timeout-lowered"),
        ((*RUN, "-o", "timeout=60"), "timeout-lowered"),
        ((*RUN, "-pno:timeout"), "timeout-lowered"),
        (("timeout", "300", *RUN), "timeout-lowered"),
        (("timeout", "-k", "5", "5m", *RUN), "timeout-lowered"),
        (("env", "PYTEST_ADDOPTS=--timeout=1", *RUN), "timeout-lowered"),
        (("env", "CUDA_VISIBLE_DEVICES=0", *RUN), "gpu-enabled"),
        ((*RUN, "-m", "gpu_smoke"), "gpu-enabled"),
        ((*RUN, "-mgpu"), "gpu-enabled"),
        (("pytest", "-vm", "gpu"), "gpu-enabled"),
        (("pytest", "-xk", "cuda"), "gpu-enabled"),
        (("pytest", "-xvkcuda"), "gpu-enabled"),
        (("pytest", "-qo", "timeout=60"), "timeout-lowered"),
        (("pytest", "--override-ini=timeout=60"), "timeout-lowered"),
        (("uv", "run", "pytest", "-vk", "torch_compile"), "compile-enabled"),
        ((*RUN, "-k", "not slow and cuda"), "gpu-enabled"),
        (("python", "-m", "pytest", "-m", "gpu"), "gpu-enabled"),
        ((*RUN, "-k", "torch_compile"), "compile-enabled"),
        (("sh", "-c", "NANOBRAGG_DISABLE_COMPILE=0 pytest"), "compile-enabled"),
        (("bash", "-ec", "pytest --timeout=9"), "timeout-lowered"),
    ],
)
def test_the_command(command: tuple[str, ...], rule: str) -> None:
    assert rules(command=command) == [rule]


def test_the_outer_timeout() -> None:
    assert rules(timeout_s=899.9) == ["timeout-lowered"]
    assert rules(timeout_s=900) == []
    short = structs.replace(CPU, timeout_s=10.0)
    assert violations(short, {}, ("timeout", "20", "true")) == ()
    assert violations(short, {}, ("timeout", "0", "true")) == ()


def test_every_broken_rule_is_told() -> None:
    found = rules({"CUDA_VISIBLE_DEVICES": "0", "KMP_DUPLICATE_LIB_OK": "0"}, (*RUN, "--timeout=1"), 5)
    assert sorted(found) == ["environment-conflict", "gpu-enabled", "timeout-lowered", "timeout-lowered"]


def test_whose_exit_codes_are_pytests() -> None:
    assert is_pytest(("timeout", "9", "env", "A=1", "/venv/bin/pytest", "-x"))
    assert is_pytest(("python3.11", "-X", "dev", "-m", "pytest"))
    assert is_pytest(("python", "-mpytest"))
    assert is_pytest(("uv", "run", "--frozen", "pytest", "-x"))
    assert is_pytest(("coverage", "run", "-m", "pytest"))
    assert is_pytest(("taskset", "-c", "0", "python", "-m", "pytest"))
    assert not is_pytest(("uv", "run", "ruff"))
    assert not is_pytest(("python", "-m", "http.server"))
    assert not is_pytest(("env",))


def test_a_python_that_ignores_the_environment() -> None:
    assert is_isolated(("timeout", "9", "/venv/bin/python3", "-I", "-m", "pytest"))
    assert is_isolated(("python", "-sE", "-m", "pytest"))
    assert not is_isolated(("python", "-m", "pytest", "-E"))


TUNED = {"GLIBC_TUNABLES": MALLOC_REMEDY.partition("=")[2]}


@pytest.mark.parametrize(
    ("environment", "setting"),
    [
        (TUNED, "GLIBC_TUNABLES"),
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4294967296"}, ""),  # trims all the same
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=65536:glibc.malloc.trim_threshold=65536"}, ""),
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=lots:glibc.malloc.trim_threshold"}, ""),
        (
            {"MALLOC_MMAP_THRESHOLD_": "0x40000000", "MALLOC_TRIM_THRESHOLD_": "1073741824"},
            "MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_",
        ),
        ({"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}, "LD_PRELOAD (jemalloc)"),
        ({"LD_PRELOAD": "/usr/lib/libfaketime.so"}, ""),
        ({}, ""),
    ],
)
def test_what_takes_malloc_out_of_the_way(environment: dict[str, str], setting: str) -> None:
    assert pinned_malloc(environment) == setting


def test_which_switches_keep_dynamo_off() -> None:
    assert compile_guards({"TORCHDYNAMO_DISABLE": "1", "NANOBRAGG_DISABLE_COMPILE": "0"}) == [
        "TORCHDYNAMO_DISABLE=1"
    ]
    assert compile_guards({}) == []
