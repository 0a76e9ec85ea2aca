"""Child processes of ``kubetide up``: the real programs, each with a log file, ended by pid."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class Program:
    """One of our programs as a child, ``python -m MODULE …``; dies with this process."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        through: Sequence[str] = (),
    ) -> None:
        """``env`` is added to this process's environment, at every start as it is then.

        ``through``: a command that ends in running ours, in its own process.
        """
        self.name = name
        self.log = log
        self.env = dict(env or {})
        self.arguments = list(arguments)
        self._through = tuple(through)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*self._through, sys.executable, "-m", *self.arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.env},
                process_group=0,
            )

    async def stop(self, timeout: float = 15.0) -> int:
        """SIGTERM, then SIGKILL; returns the exit code. Idempotent."""
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout):
                return await self._process.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """SIGKILL, as a crash would."""
        assert self._process is not None, f"{self.name} was not started"
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        return await self._process.wait()

    def check(self) -> None:
        """Raise with the end of its log when it is not running any more."""
        if self._process is not None and self._process.returncode is not None:
            tail = self.log.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}:\n{tail}")
