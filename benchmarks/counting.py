"""Counting what a process costs and what a link carries.

Bytes are those of IP packets, headers included, as the kernel counts them on one loopback port:
what a metered link would be billed for, less its own framing.
"""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class LinkBytes:
    """IP bytes to and from one TCP port of loopback since ``reset``."""

    def __init__(self, port: int) -> None:
        self._rules = [
            ["-p", "tcp", "-i", "lo", direction, str(port)] for direction in ("--dport", "--sport")
        ]

    @contextmanager
    def counting(self) -> Iterator[LinkBytes]:
        for rule in self._rules:
            _iptables("-I", "INPUT", *rule)
        try:
            yield self
        finally:
            for rule in self._rules:
                _iptables("-D", "INPUT", *rule)

    def total(self) -> int:
        """Both directions together."""
        listing = _iptables("-L", "INPUT", "-v", "-x", "-n").splitlines()
        ports = {f"dpt:{self._rules[0][-1]}", f"spt:{self._rules[0][-1]}"}
        return sum(int(line.split()[1]) for line in listing if ports & set(line.split()))


def _iptables(*arguments: str) -> str:
    command = ["iptables", "--wait", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def rss_mb(pid: int) -> float:
    """Resident memory in MB of 10^6 bytes, shared pages included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"process {pid} has no VmRSS")


def cpu_seconds(pid: int) -> float:
    """User and system time of the process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def metric_sum(port: int, name: str, **labels: str) -> float:
    """Sum of a Prometheus metric's samples with these labels, from a hub's /metrics.

    LookupError for a name that the hub has no sample of: 0 would be a figure.
    """
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    samples = [line for line in lines if line.split("{")[0].split(" ")[0] == name]
    if not samples:
        raise LookupError(f"no metric {name}")
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    found = (line for line in samples if all(one in line for one in wanted))
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)
