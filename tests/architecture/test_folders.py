"""Folders import each other one way only: each can be read without those above it."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.architecture.test_layers import ROOT
from tests.architecture.test_purity import imported, project_file

TOPS = (ROOT / "edgeagent", ROOT / "cloudhub")
WITH_FOLDERS = (*TOPS, ROOT / "edgeagent/pods")


def part_of(path: Path) -> str:
    """The folder that a module is in; a module beside the folders is a part of its own."""
    for top in reversed(WITH_FOLDERS):
        if path.is_relative_to(top):
            return f"{top.relative_to(ROOT)}/{path.relative_to(top).parts[0]}"
    return ""


def parts() -> Mapping[str, set[str]]:
    """By part: those that it imports."""
    found: dict[str, set[str]] = {}
    for path in (path for top in TOPS for path in top.rglob("*.py")):
        files = filter(None, map(project_file, imported(path)))
        own = part_of(path)
        found.setdefault(own, set()).update({part_of(file) for file in files} - {own, ""})
    return found


def in_a_circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_folder_is_imported_by_what_it_imports() -> None:
    assert not in_a_circle(parts())


def test_the_words_of_pods_need_none_of_their_folders() -> None:
    assert parts()["edgeagent/pods/model"] <= {"edgeagent/runtime"}


def test_the_rule_sees_a_circle() -> None:
    """The guards above would pass on an empty graph."""
    graph = parts()
    assert "edgeagent/pods/planning" in graph["edgeagent/pods/workers.py"]
    assert in_a_circle({**graph, "edgeagent/runtime": {"edgeagent/pods/workers.py"}})
    assert "cloudhub/fleet" in graph["cloudhub/mirrors"]
    assert in_a_circle({**graph, "cloudhub/kube": {"cloudhub/mirrors"}})
