"""What is decided is pure: planning modules can reach nothing that acts, waits or looks around."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.test_layers import ROOT, imports

PLANNERS = (
    *sorted((ROOT / "edgeagent/pods/planning").glob("*.py")),
    *sorted((ROOT / "edgeagent/pods/rules").glob("*.py")),
    *sorted((ROOT / "edgeagent/pods/status").glob("*.py")),
    ROOT / "edgeagent/pods/reporting/telling.py",
)
"""Everything that they import of this project counts as well."""
PURE = {
    *("__future__", "abc", "bisect", "collections", "contextlib", "copy", "dataclasses"),
    *("datetime", "decimal", "enum", "fractions", "functools", "graphlib", "hashlib", "heapq"),
    *("ipaddress", "itertools", "json", "math", "operator", "pathlib", "re", "string", "types"),
    *("typing", "unicodedata", "zlib"),
}
"""All of the standard library that a planner may know; of libraries none."""
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "id", "hash"}
CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "random", "uuid4"}
DISK = {"exists", "is_file", "is_dir", "open", "stat", "iterdir", "glob", "rglob", "resolve"} | {
    *("read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink", "rmdir", "touch"),
}
"""A path may be named, not looked at."""
PORTS = {"edgeagent/runtime/port.py", "shared/clock.py"}
"""Only their values are used: both are Protocols, with no implementation of the first."""


def project_file(module: str) -> Path | None:
    path = ROOT / (module.replace(".", "/") + ".py")
    return path if path.exists() else None


def imported(path: Path) -> set[str]:
    """Modules, also those that are named after ``from package import``."""
    found = imports(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def reached() -> Iterator[Path]:
    """The planners and what they import, down to the end."""
    seen: set[Path] = set()
    todo = list(PLANNERS)
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        todo += filter(None, map(project_file, imported(path)))
        yield path


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


REACHED = sorted(one for one in reached() if name(one) not in PORTS)


@pytest.mark.parametrize("path", REACHED, ids=name)
def test_a_planner_imports_only_what_computes(path: Path) -> None:
    ours = {"edgeagent", "shared"}
    tops = {module.split(".")[0] for module in imports(path)}
    assert tops <= PURE | ours, f"{tops - PURE - ours}"


@pytest.mark.parametrize("path", REACHED, ids=name)
def test_a_planner_asks_no_clock_and_no_disk_and_waits_for_nothing(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, (ast.Await, ast.AsyncFunctionDef, ast.Global))
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name):
                assert called.id not in IMPURE_CALLS, f"line {node.lineno}: {called.id}"
            if isinstance(called, ast.Attribute):
                assert called.attr not in CLOCKS | DISK, f"line {node.lineno}: {called.attr}"


def test_the_rules_see_the_planner() -> None:
    """The guards above would pass on an empty list."""
    names = {name(one) for one in REACHED}
    assert {"edgeagent/pods/planning/starting.py", "edgeagent/pods/status/podstatus.py"} <= names
    assert "asyncio" in imports(ROOT / "edgeagent/pods/workers.py")
