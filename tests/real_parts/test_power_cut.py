"""What a disk may hold after a power cut, decided from the log of what it was told."""

from __future__ import annotations

import random
import struct
from pathlib import Path

from tests.parts.power_cut import (
    DISCARD,
    FLUSH,
    FUA,
    PAGE,
    SECTOR,
    Loss,
    after_power_cut,
    choose_end,
)

SECTORS = PAGE // SECTOR
OLD = b"o"


class Log:
    """As QEMU writes it."""

    def __init__(self) -> None:
        self.data = struct.pack("<QQQI", 0x6A736677736872, 1, 0, SECTOR).ljust(SECTOR, b"\0")

    def write(self, page: int, text: bytes, *, flags: int = 0, pages: int = 1) -> None:
        self._entry(page, pages, flags)
        self.data += text * (PAGE * pages)

    def flush(self) -> None:
        self._entry(0, 0, FLUSH)

    def discard(self, page: int) -> None:
        self._entry(page, 1, DISCARD)

    def _entry(self, page: int, pages: int, flags: int) -> None:
        header = struct.pack("<QQQQ", page * SECTORS, pages * SECTORS, flags, 0)
        self.data += header.ljust(SECTOR, b"\0")


def pages_after(log: Log, folder: Path, seed: int, *, cut: int = 0) -> tuple[str, Loss]:
    """The first letter of every page of a disk of four, and what was lost."""
    before, written, disk = folder / "before", folder / "log", folder / "disk"
    before.write_bytes(OLD * 4 * PAGE)
    written.write_bytes(log.data[: len(log.data) - cut])
    loss = after_power_cut(before, written, disk, random.Random(seed))
    data = disk.read_bytes()
    return "".join(chr(data[at]) for at in range(0, len(data), PAGE)), loss


def test_what_was_flushed_is_there_under_every_seed(tmp_path: Path) -> None:
    log = Log()
    log.write(0, b"a")
    log.write(2, b"b", pages=2)
    log.discard(1)
    log.flush()
    for seed in range(20):
        assert pages_after(log, tmp_path, seed) == ("aobb", Loss(0, 0))


def test_what_was_not_flushed_is_there_or_not_each_page_by_itself(tmp_path: Path) -> None:
    log = Log()
    log.write(0, b"a")
    log.flush()
    log.write(1, b"b", pages=3)
    seen = {pages_after(log, tmp_path, seed)[0] for seed in range(100)}
    some = {f"a{one}{two}{three}" for one in "ob" for two in "ob" for three in "ob"}
    assert seen == some - {"abbb"}, "one page at least is gone"
    assert {pages_after(log, tmp_path, seed)[1].pages for seed in range(3)} == {3}


def test_a_write_past_the_cache_is_there_without_a_flush(tmp_path: Path) -> None:
    log = Log()
    log.write(0, b"a", flags=FUA)
    for seed in range(20):
        assert pages_after(log, tmp_path, seed) == ("aooo", Loss(0, 0))


def test_a_write_that_the_log_has_in_part_never_reached_the_disk(tmp_path: Path) -> None:
    log = Log()
    log.write(0, b"a")
    log.flush()
    log.write(1, b"b")
    for seed in range(20):
        assert pages_after(log, tmp_path, seed, cut=100) == ("aooo", Loss(0, 0))


def test_the_power_can_go_behind_any_write_of_the_log(tmp_path: Path) -> None:
    log = Log()
    log.write(0, b"a")
    log.flush()
    begin = len(log.data)
    log.write(1, b"b")
    log.flush()
    log.write(2, b"c")
    before, written, disk = tmp_path / "before", tmp_path / "log", tmp_path / "disk"
    before.write_bytes(OLD * 4 * PAGE)
    written.write_bytes(log.data)
    seen = set()
    for seed in range(20):
        rng = random.Random(seed)
        end = choose_end(written, rng, after=begin)
        after_power_cut(before, written, disk, rng, end=end)
        seen.add(bytes(disk.read_bytes()[::PAGE]))
    assert seen == {b"aooo", b"aboo"}, "the only page that was not flushed is lost"
