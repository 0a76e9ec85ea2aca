"""Opens the runtime that a setting names; loads only that one (the CRI is some 7 MB)."""

from __future__ import annotations

from pathlib import Path

from edgeagent.runtime.port import Runtime
from shared.clock import Clock
from shared.errors import SettingsError


def open_runtime(setting: str, *, data_dir: Path, clock: Clock) -> Runtime:
    """``cri:unix:///run/containerd/containerd.sock`` or ``process``; call it inside the loop."""
    if setting == "process":
        from edgeagent.runtime.process import ProcessRuntime

        return ProcessRuntime(data_dir / "processes", clock=clock)
    kind, _, address = setting.partition(":")
    if kind == "cri" and address.startswith("unix:///"):
        from edgeagent.runtime.cri import CriRuntime

        return CriRuntime(address)
    raise SettingsError(f"runtime {setting!r}: must be process, or cri:unix:///path/to/the.sock")
