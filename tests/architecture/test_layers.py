"""The import rules of docs/architecture.md, read from the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("shared", "cloudhub", "edgeagent", "devcluster", "simulator")
FORBIDDEN = {
    "shared": {"cloudhub", "edgeagent", "devcluster", "simulator"},
    "cloudhub": {"edgeagent", "devcluster", "simulator"},
    "edgeagent": {"cloudhub", "devcluster", "simulator"},
    "devcluster": {"simulator"},
}
DOORS: dict[str, str | tuple[str, ...]] = {
    "paho": "shared/paho_link.py",
    "msgpack": "shared/",
    "kubernetes": ("cloudhub/kube/", "devcluster/apiserver/schema.py"),
    "sqlite_utils": ("edgeagent/store/", "simulator/disk.py"),
    "sqlite3": "edgeagent/store/",
    "grpc": (),
    "grpclib": "edgeagent/runtime/cri",
    "h2": "edgeagent/runtime/cri",
    "hpack": "edgeagent/pods/probing/grpc_health.py",
    "cri_api": "edgeagent/runtime/cri",
    "prometheus_client": "cloudhub/metrics.py",
    "sdnotify": "edgeagent/__main__.py",
    "iotcore": "devcluster/",
    "yaml": ("edgeagent/staticpods/manifests.py", "cloudhub/kube/access.py", "devcluster/"),
    "jeepney": "edgeagent/systembus.py",
}
"""Library → the one file, folder or file-name prefix that may import it (prefixes)."""


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", list(modules()), ids=name)
def test_a_layer_does_not_know_the_ones_above_it(path: Path) -> None:
    forbidden = FORBIDDEN.get(name(path).split("/")[0], set())
    assert not {module for module in imports(path) if module.split(".")[0] in forbidden}


@pytest.mark.parametrize("path", list(modules()), ids=name)
def test_a_client_library_has_one_door(path: Path) -> None:
    used = {module.split(".")[0] for module in imports(path)}
    behind = {
        library for library in used & DOORS.keys() if not name(path).startswith(DOORS[library])
    }
    assert not behind, f"only {[DOORS[library] for library in behind]} may import {behind}"


@pytest.mark.parametrize("path", list(modules()), ids=name)
def test_files_stay_readable(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= 400, f"{lines} lines: split it"


def test_the_rules_see_the_code() -> None:
    """The guards above would pass on an empty tree."""
    assert "paho.mqtt" in imports(ROOT / "shared/paho_link.py")
    assert len(list(modules())) > 20
