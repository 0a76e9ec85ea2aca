"""A containerd that does not answer for a while: stopped by a signal, as by a disk that hangs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.containerd import Containerd
from tests.edge_pods.device import OBEYS, a_device, a_script
from tests.parts.containerd import new_containerd


@pytest.fixture
def own(image_archive: Path) -> Iterator[Containerd]:
    private = new_containerd(image_archive)
    yield private
    os.kill(private.pid, signal.SIGCONT)
    private.close()


async def test_while_the_runtime_does_not_answer_probes_decide_and_tell_nothing(
    own: Containerd, tmp_path: Path
) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": 1}
    probe |= {"timeoutSeconds": 4}  # A runtime that wakes up has much to do at first.
    async with a_device(own, tmp_path) as device:
        uid = device.apply(a_script(OBEYS, livenessProbe=probe, readinessProbe=probe))
        await device.until(lambda: device.container(uid).get("ready") is True)
        os.kill(own.pid, signal.SIGSTOP)
        await asyncio.sleep(30)  # Several periods, and longer than any call is waited for.
        os.kill(own.pid, signal.SIGCONT)
        late = device.apply(a_script(OBEYS))
        await device.until(lambda: device.runs(late))
        container = device.container(uid)
        assert (container["restartCount"], container["ready"]) == (0, True)
        assert not {"Unhealthy", "Killing"}.intersection(device.reasons(uid))
