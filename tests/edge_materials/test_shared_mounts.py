"""subPath on a device whose mounts propagate, as they do under systemd: its own mounts stay."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.parts.missing import need_root

PROJECT = Path(__file__).parents[2]


def left_by(root: Path, *steps: str) -> dict[str, Any]:
    need_root("mounts")
    alone = ["unshare", "--mount", "--propagation", "private"]
    module = [sys.executable, "-m", "tests.edge_materials.shared_mounts"]
    command = [*alone, *module, str(root), *steps]
    done = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("plugged", ["before", "after"])
def test_a_stick_below_a_sub_path_stays_mounted_when_its_pod_ends(
    tmp_path: Path, plugged: str
) -> None:
    steps = ["plug", "start"] if plugged == "before" else ["start", "plug"]
    left = left_by(tmp_path, *steps, "end")
    assert left == {"stick": True, "mounted": [], "pod": False, "seen": []}


@pytest.mark.parametrize("plugged", ["before", "after"])
def test_a_stick_below_a_sub_path_stays_mounted_when_a_container_restarts(
    tmp_path: Path, plugged: str
) -> None:
    steps = ["plug", "start"] if plugged == "before" else ["start", "plug"]
    left = left_by(tmp_path, *steps, "start")
    assert left["stick"]
    assert left["mounted"] == [str(tmp_path / "pods/uid/subpaths/v/main/0")]


def test_a_sub_path_that_is_a_stick_is_let_go_and_the_stick_is_not(tmp_path: Path) -> None:
    left = left_by(tmp_path, "plug", "start below", "look below", "start below", "end")
    assert left == {"stick": True, "mounted": [], "pod": False, "seen": [True]}


def test_a_stick_below_a_sub_path_that_something_else_hides_stays_too(tmp_path: Path) -> None:
    left = left_by(tmp_path, "start", "plug", "cover", "end")
    assert left == {"stick": True, "mounted": [], "pod": False, "seen": []}


def test_a_sub_path_is_bound_without_what_was_mounted_below_it(tmp_path: Path) -> None:
    """As a kubelet binds it; what is mounted later comes through to who asks for it."""
    assert left_by(tmp_path, "plug", "start", "look", "end")["seen"] == [False]
    assert left_by(tmp_path, "start", "plug", "look", "end")["seen"] == [True]
