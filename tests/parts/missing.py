"""What happens when a real part is not on this machine: a skip that says how to get it.

In CI (``CI=true``) mosquitto and containerd must be there, so their absence is an error instead.
The end of the run counts the skips, so that a green run never hides how little it ran.
"""

from __future__ import annotations

import os
import shutil

import pytest

from devcluster.containerd import search_path

MUST_HAVE_IN_CI = {"mosquitto", "containerd", "test images"}

__all__ = ["need", "need_root", "refuse", "search_path"]


def need(part: str, *programs: str, packages: str) -> None:
    """Skip (or fail, in CI) unless every program is there; names the Debian packages."""
    absent = [name for name in programs if shutil.which(name, path=search_path()) is None]
    if absent:
        refuse(part, f"{', '.join(absent)} not found: apt-get install {packages}")


def need_root(part: str) -> None:
    if os.geteuid() != 0:
        refuse(part, "needs root")


def refuse(part: str, reason: str) -> None:
    if os.environ.get("CI") == "true" and part in MUST_HAVE_IN_CI:
        pytest.fail(f"CI must have {part}: {reason}", pytrace=False)
    pytest.skip(f"no {part}: {reason}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests skipped; each names its reason above")
