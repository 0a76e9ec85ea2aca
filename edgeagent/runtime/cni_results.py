"""What CNI wrote down of a sandbox's network, and what a power cut may have left of that.

CNI's library keeps a result for every sandbox below ``/var/lib/cni`` and flushes none of them. One
that is empty keeps containerd and CRI-O from giving back the network for ever, so the sandbox can
be neither stopped nor removed; one that is not there keeps them from nothing: the plugins go by the
sandbox's id. Removed is only what is named for the sandbox in question and cannot be read as JSON.
Called by ``cri.py`` when a sandbox could not be stopped. Blocking.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import structlog

log = structlog.get_logger()

RESULTS = Path("/var/lib/cni/results")
_ID = re.compile(r"[0-9a-f]{32,64}")
_MOST_BYTES = 1024 * 1024


def remove_damaged(sandbox_id: str, *, folder: Path = RESULTS) -> bool:
    """Whether there was something that could be removed."""
    if not _ID.fullmatch(sandbox_id):
        return False
    removed = False
    try:
        with os.scandir(folder) as entries:
            of_sandbox = [one for one in entries if f"-{sandbox_id}-" in one.name]
        for one in of_sandbox:
            if one.is_file(follow_symlinks=False) and _is_damaged(Path(one.path)):
                os.unlink(one.path)
                removed = True
                log.warning("damaged CNI result removed", file=one.path)
    except OSError as error:
        log.info("CNI results not looked at", folder=str(folder), error=str(error))
    return removed


def _is_damaged(path: Path) -> bool:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        return False
    try:
        json.loads(data)
    except ValueError:
        return True
    return False
