"""Of a log only what the runtime wrote there is told: a pod may be able to write among the logs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from edgeagent.pods.logs.last_words import last_words
from edgeagent.pods.materials.containers import TERMINATION_POLICY
from edgeagent.pods.ports import Materials
from edgeagent.runtime.port import Container, ContainerState
from tests.edge_pods.world import a_container, a_pod


@dataclass
class Silent:
    """A container that left no message of its own."""

    async def termination_message(self, *_: Any, **__: Any) -> str:
        return ""


async def told(log: Path) -> str:
    container = Container(
        id="c",
        sandbox_id="s",
        name="main",
        attempt=0,
        state=ContainerState.EXITED,
        image="i",
        image_ref="i",
        created_at=1,
        exit_code=3,
        log_path=str(log),
        annotations={TERMINATION_POLICY: "FallbackToLogsOnError"},
    )
    pod = a_pod("web", a_container("main"))
    return await last_words(pod, container, cast("Materials", Silent()))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Of a container of a pod."""
    folder = tmp_path / "default_web_u" / "main"
    folder.mkdir(parents=True)
    path = folder / "0.log"
    path.write_text("2026-01-01T00:00:00Z stderr F it broke\n")
    return path


async def test_the_end_of_the_log_is_what_it_said(log: Path) -> None:
    assert await told(log) == "it broke\n"


async def test_a_link_in_place_of_the_log_is_not_read(log: Path, tmp_path: Path) -> None:
    log.rename(tmp_path / "secret")
    log.symlink_to(tmp_path / "secret")
    assert await told(log) == ""


@pytest.mark.parametrize("up", [0, 1])
async def test_nor_one_in_place_of_its_folders(log: Path, tmp_path: Path, up: int) -> None:
    folder = log.parents[up]
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert await told(log) == ""


async def test_nobody_waits_for_the_other_end_of_a_pipe(log: Path) -> None:
    log.unlink()
    os.mkfifo(log)
    assert await told(log) == ""
