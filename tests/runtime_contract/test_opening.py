"""The runtime setting, and what a program pays for that does not use a runtime."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgeagent.runtime.cri import CriRuntime
from edgeagent.runtime.opening import open_runtime
from edgeagent.runtime.port import RuntimeAway
from edgeagent.runtime.process import ProcessRuntime
from shared.clock import SystemClock
from shared.errors import SettingsError


async def test_the_setting_chooses(tmp_path: Path) -> None:
    clock = SystemClock()
    process = open_runtime("process", data_dir=tmp_path, clock=clock)
    assert isinstance(process, ProcessRuntime)
    runtime = open_runtime(f"cri:unix://{tmp_path}/no.sock", data_dir=tmp_path, clock=clock)
    assert isinstance(runtime, CriRuntime)
    with pytest.raises(RuntimeAway, match="No such file"):
        await runtime.info()
    await runtime.close()


@pytest.mark.parametrize("setting", ["", "docker", "cri:", "cri:/run/x.sock", "cri:unix:x"])
def test_a_wrong_setting_says_what_is_right(setting: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cri:unix:///"):
        open_runtime(setting, data_dir=tmp_path, clock=SystemClock())


def test_nothing_of_the_cri_is_loaded_before_it_is_chosen() -> None:
    look = (
        "import sys, edgeagent.runtime.opening, edgeagent.runtime.port\n"
        "print([name for name in ('grpclib', 'h2', 'google.protobuf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_cri_does_not_load_the_heavy_grpc() -> None:
    """Its C core alone would be a quarter of the agent's memory."""
    look = "import sys, edgeagent.runtime.cri; print('grpc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
