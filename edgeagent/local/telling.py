"""Telling and asking the running agent: the near end of ``edgeagent/commanding.py``."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from edgeagent import snapshot
from edgeagent.commanding import PATIENCE, SOCKET
from edgeagent.snapshot import Snapshot
from shared.errors import SettingsError

LONGEST = 16 << 20
"""Bytes of an answer that are read at most."""


def ask_snapshot(data_dir: Path) -> Snapshot | None:
    """How the running agent stands; None when none answers, or one of another version."""
    try:
        return snapshot.read(_tell(data_dir, {"tell": "snapshot"}))
    except (SettingsError, KeyError, TypeError, ValueError):
        return None


def release(data_dir: Path, namespace: str, name: str) -> str:
    """What was on hold and goes on now; SettingsError when there is nothing or nobody."""
    answer = _tell(data_dir, {"release": name, "namespace": namespace})
    if not answer.get("released"):
        why = answer.get("error") or "see `edgeagent status`"
        raise SettingsError(f"nothing is on hold for the pod {namespace}/{name}: {why}")
    return str(answer["released"])


def _tell(data_dir: Path, command: dict[str, str]) -> dict[str, object]:
    try:
        folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX) as agent:
                agent.settimeout(PATIENCE)
                agent.connect(f"/proc/self/fd/{folder}/{SOCKET}")
                agent.sendall(json.dumps(command).encode() + b"\n")
                line = agent.makefile("rb").readline(LONGEST)
        finally:
            os.close(folder)
        answer = json.loads(line)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"data-dir: no agent answers in {data_dir} ({error}): start it, be root, or name"
            " another folder"
        ) from error
    return answer if isinstance(answer, dict) else {}
