"""Which users of the device pods may get for themselves, as its administrator wrote it down.

As on any node: the line ``kubelet:FIRST:COUNT`` in /etc/subuid and /etc/subgid, the same in both.
Without one they are all but the device's own (``NodeFacts.first_ids``). Read once, at the start; a
line that cannot be used is a ``SettingsError``, before anything was done by it.
"""

from __future__ import annotations

from pathlib import Path

from edgeagent.pods.model.nodefacts import FIRST_IDS
from shared.errors import SettingsError

SUBUID, SUBGID = Path("/etc/subuid"), Path("/etc/subgid")
USER = "kubelet"


def read_first_ids(subuid: Path = SUBUID, subgid: Path = SUBGID) -> range:
    users, groups = _lines(subuid), _lines(subgid)
    if users != groups:
        raise SettingsError(
            f"{subuid} and {subgid}: the lines of {USER} differ: write the same ones into both"
        )
    return first_ids(users, where=str(subuid)) if users else FIRST_IDS


def first_ids(lines: list[str], *, where: str) -> range:
    """Where the users of each pod may begin."""
    length = FIRST_IDS.step
    line = lines[0]
    fields = line.split(":")
    if len(lines) > 1 or len(fields) != 3 or not all(map(_is_number, fields[1:])):
        raise SettingsError(f"{where}: {line:.80}: write one line {USER}:FIRST:COUNT")
    first, count = int(fields[1]), int(fields[2])
    if first % length or count % length or not count:
        raise SettingsError(f"{where}: {line}: FIRST and COUNT must be multiples of {length}")
    if first < FIRST_IDS.start or first + count > FIRST_IDS.stop:
        allowed = f"{FIRST_IDS.start} to {FIRST_IDS.stop - 1}"
        raise SettingsError(f"{where}: {line}: pods can have users from {allowed}")
    return range(first, first + count, length)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.startswith(f"{USER}:")]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 11
