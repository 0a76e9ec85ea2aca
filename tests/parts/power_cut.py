"""What a disk may hold after a power cut: all that was flushed, and some of what was not.

QEMU's ``blklogwrites`` keeps every write and flush in their order, in the format of Linux's
dm-log-writes. ``after_power_cut`` makes of a disk as it was at power on, and of the beginning of
that log, a disk on which each page that came after the last flush is there or not, as a seed says;
one at least is not. A write that the guest wanted past the cache (FUA) is there always.
"""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
PAGE = 4096
"""What a disk writes whole or not at all."""

FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
_MAGIC = 0x6A736677736872
_HEADER = struct.Struct("<QQQQ")


@dataclass(frozen=True)
class Entry:
    sector: int
    sectors: int
    flags: int
    at: int
    """Where its data is in the log."""

    @property
    def has_data(self) -> bool:
        return self.sectors > 0 and not self.flags & DISCARD

    @property
    def end(self) -> int:
        """Where the next one begins in the log."""
        return self.at + (self.sectors * SECTOR if self.has_data else 0)


@dataclass(frozen=True)
class Loss:
    """How many pages were written since the last flush, and how many of them are gone."""

    pages: int
    lost: int


def logging_drive(disk: Path, log: Path) -> list[str]:
    """QEMU's options for a disk whose writes and flushes are kept in ``log``."""
    log.write_bytes(b"")
    return [
        *("-blockdev", f"driver=file,node-name=disk,filename={disk}"),
        *("-blockdev", f"driver=file,node-name=log,filename={log}"),
        *(
            "-blockdev",
            f"driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size={SECTOR}",
        ),
        *("-device", "virtio-blk-pci,drive=logged,write-cache=on"),
    ]


def copy_disk(disk: Path, to: Path) -> None:
    """Holes stay holes."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", disk, to], check=True)


def entries_of(log: Path, *, end: int | None = None) -> Iterator[Entry]:
    """In the order in which the disk got them; ends where the power did, or at ``end``."""
    size = log.stat().st_size if end is None else end
    with log.open("rb") as file:
        magic, version, _, sector_size = struct.unpack("<QQQI", file.read(28))
        assert (magic, version, sector_size) == (_MAGIC, 1, SECTOR), "not a log of writes"
        at = SECTOR
        while at + _HEADER.size <= size:
            file.seek(at)
            sector, sectors, flags, _ = _HEADER.unpack(file.read(_HEADER.size))
            if not sectors and not flags:
                return
            entry = Entry(sector, sectors, flags, at + SECTOR)
            at = entry.end
            if at > size:
                return
            yield entry


def choose_end(log: Path, rng: random.Random, *, after: int) -> int:
    """Where the log is cut: behind a write that was told later than ``after``.

    The more was written since the last flush, the likelier.
    """
    ends, weights, waiting = [], [], 0
    for one in entries_of(log):
        waiting = 0 if one.flags & FLUSH else waiting
        if one.has_data and not one.flags & FUA:
            waiting += _pages(one)
            if one.end > after:
                ends.append(one.end)
                weights.append(waiting)
    return rng.choices(ends, weights)[0]


def after_power_cut(
    before: Path, log: Path, disk: Path, rng: random.Random, *, end: int | None = None
) -> Loss:
    """Writes ``disk``; ``before`` and ``log`` stay as they are."""
    copy_disk(before, disk)
    entries = [one for one in entries_of(log, end=end) if one.has_data or one.flags & FLUSH]
    flushed = max((i + 1 for i, one in enumerate(entries) if one.flags & FLUSH), default=0)
    open_ones = [one for one in entries[flushed:] if not one.flags & FUA]
    kept = _choose_kept(sum(_pages(one) for one in open_ones), rng)
    fates = iter(kept)
    with log.open("rb") as source, disk.open("r+b") as target:
        for number, entry in enumerate(entries):
            certain = number < flushed or bool(entry.flags & FUA)
            source.seek(entry.at)
            data = source.read(entry.sectors * SECTOR if entry.has_data else 0)
            for start in range(0, len(data), PAGE):
                if certain or next(fates):
                    target.seek(entry.sector * SECTOR + start)
                    target.write(data[start : start + PAGE])
    return Loss(len(kept), kept.count(False))


def _pages(entry: Entry) -> int:
    return -(-entry.sectors * SECTOR // PAGE) if entry.has_data else 0


def _choose_kept(pages: int, rng: random.Random) -> list[bool]:
    kept = [rng.random() < 0.5 for _ in range(pages)]
    if pages and all(kept):
        kept[rng.randrange(pages)] = False
    return kept
