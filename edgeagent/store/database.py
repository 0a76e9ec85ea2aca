"""The device's one SQLite file: opened, locked, repaired and written here, on one thread.

What a ``write`` returned for is on the disk (WAL, synchronous FULL); writes that come while the
disk is busy share a transaction. A file that is damaged or of a newer program is set aside and a
fresh one made, at start or while running; what the stores hold in memory then goes into the fresh
one, so damage costs nothing that the process still knows. A full or read-only disk is
``StoreBusy``: nothing is lost, the caller tries again. Room that was set aside while there was some
(``reserve``) lets small changes be stored on a disk that is full. Used by the stores only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import sqlite_utils
import structlog

from edgeagent.store import FILE
from edgeagent.store.executor import Executor
from edgeagent.store.gathering import Gathering, Outcome, Work
from edgeagent.store.migrations import PROBES, SCHEMA, known_steps, steps_of
from shared.errors import SettingsError, StoreBusy

log = structlog.get_logger()

Result = TypeVar("Result")
Restore = Callable[[sqlite_utils.Database], None]

BUSY_SECONDS = 5.0
RESERVE = 256 * 1024
"""Bytes that an agent sets aside: the facts, reports and lists of some hundred changes of pods."""
KEPT_ASIDE = 3
"""Damaged files kept for whoever wants to look; older ones are deleted."""

DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
BUSY = frozenset(
    {
        *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR),
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
        *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL),
    }
)


class Damaged(Exception):
    """The file is not a database of ours; never leaves this module."""


class Database:
    def __init__(self, folder: Path, *, executor: Executor) -> None:
        self.path = folder / FILE
        self.trouble = ""
        """Why the last write failed; empty when it did not."""
        self._executor = executor
        self._writes = Gathering(lambda works: executor.run(lambda: self._run_together(works)))
        self._lock = -1
        self._restores: list[Restore] = []
        self._to_restore = False
        self._db: sqlite_utils.Database | None = None

    async def open(self) -> None:
        """Lock the folder and open the file. StoreBusy: not now; SettingsError: another agent."""
        if self._lock < 0:
            self._lock = _lock_folder(self.path.parent)
        await self._executor.run(self._open)

    async def close(self) -> None:
        await self._writes.close()
        await self._executor.run(self._close)
        self._executor.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def read(self, work: Callable[[sqlite_utils.Database], Result]) -> Result:
        return await self._executor.run(lambda: self._run(work))

    async def write(self, work: Callable[[sqlite_utils.Database], Result]) -> Result:
        """Run ``work`` in one transaction; durable when this returns."""
        try:
            result = await self._commit(work)
        except StoreBusy as error:
            self.trouble = str(error)
            raise
        self.trouble = ""
        return result

    async def _commit(self, work: Callable[[sqlite_utils.Database], Result]) -> Result:
        result: Result = await self._writes.add(work)
        return result

    async def reserve(self, size: int) -> None:
        """Give the file this many free bytes and its log that length, which both then keep."""
        await self.write(lambda db: _take_room(db, size))
        await self.write(_give_back)
        await self._executor.run(self._checkpoint)

    def restore_with(self, restore: Restore) -> None:
        """``restore`` writes a store's memory into an empty file that replaces a damaged one."""
        self._restores.append(restore)

    # -- everything below runs on the store's thread

    def _run_together(self, works: Sequence[Work]) -> list[Outcome]:
        if len(works) > 1:
            # Whose fault an error is shows when each is run alone, and is told to that one.
            with contextlib.suppress(Exception):
                return self._transact(lambda db: [Outcome(work(db)) for work in works])
        return [self._outcome(work) for work in works]

    def _outcome(self, work: Work) -> Outcome:
        try:
            return Outcome(self._run(work))
        except Exception as error:
            return Outcome(error=error)

    def _run(self, work: Callable[[sqlite_utils.Database], Result]) -> Result:
        try:
            return self._transact(work)
        except Damaged as error:
            self._set_aside(str(error))
            self._to_restore = True
            return self._transact(work)
        except StoreBusy as error:
            if _code(error.__cause__) != sqlite3.SQLITE_FULL:
                raise
            # The log has grown to where it may: begin it anew, in the room that it has.
            self._checkpoint()
            return self._transact(work)

    def _checkpoint(self) -> None:
        """All of the log into the file, so that the next write begins the log anew."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def _transact(self, work: Callable[[sqlite_utils.Database], Result]) -> Result:
        if self._db is None:
            self._open()
        assert self._db is not None
        with _translated(), self._db.atomic():
            for restore in self._restores if self._to_restore else ():
                restore(self._db)
            result = work(self._db)
        self._to_restore = False
        return result

    def _open(self) -> None:
        self._close()
        try:
            self._connect_somehow()
        except Damaged as error:
            self._set_aside(str(error))
            self._connect_somehow()

    def _connect_somehow(self) -> None:
        """A full disk has no room for the WAL's index: then do without, and without readers."""
        try:
            self._connect(exclusive=False)
        except StoreBusy as error:
            log.warning("database opened with difficulty", error=str(error))
            self._connect(exclusive=True)

    def _connect(self, *, exclusive: bool) -> None:
        with _translated():
            _make_private(self.path)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
            connection.text_factory = _text
            try:
                db = sqlite_utils.Database(connection, execute_plugins=False)
                _prepare(db, exclusive=exclusive)
            except BaseException:
                connection.close()
                raise
        self._db = db

    def _close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _set_aside(self, why: str) -> None:
        self._close()
        place = _free_place(self.path)
        log.error("database set aside, starting with a fresh one", error=why, kept=str(place))
        with _translated():
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(f"{self.path}{suffix}", f"{place}{suffix}")


def _take_room(db: sqlite_utils.Database, size: int) -> None:
    db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('room', zeroblob(?))", [size])


def _give_back(db: sqlite_utils.Database) -> None:
    """SQLite keeps the pages for what is written next."""
    db.execute("DELETE FROM meta WHERE name = 'room'")


def _prepare(db: sqlite_utils.Database, *, exclusive: bool) -> None:
    """A plain error here, where every statement is ours, means that the file is not."""
    try:
        _check_and_migrate(db, exclusive=exclusive)
    except sqlite3.OperationalError as error:
        if _code(error) == sqlite3.SQLITE_ERROR:
            raise Damaged(f"not our schema: {error}") from error
        raise


def _check_and_migrate(db: sqlite_utils.Database, *, exclusive: bool) -> None:
    if exclusive:
        db.execute("PRAGMA locking_mode = exclusive")
    db.execute("PRAGMA synchronous = full")
    if db.execute("PRAGMA journal_mode = wal").fetchone()[0] != "wal":
        raise StoreBusy("the database cannot use a write-ahead log here")
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise Damaged(f"quick_check: {verdict}")
    _bring_up_to_date(db)


def _bring_up_to_date(db: sqlite_utils.Database) -> None:
    unknown = steps_of(db) - known_steps()
    if unknown:
        raise Damaged(f"made by a newer program: schema step {sorted(unknown)[0]}")
    SCHEMA.apply(db)
    for probe in PROBES:
        db.execute(f"{probe} LIMIT 1").fetchone()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = _code(error)
        if code in DAMAGED:
            raise Damaged(str(error)) from error
        if code in BUSY:
            raise StoreBusy(f"database: {error}") from error
        raise
    except UnicodeDecodeError as error:
        # SQLite quotes the damage in its message, and the Python module cannot read that.
        raise Damaged(str(error)) from error
    except OSError as error:
        raise StoreBusy(f"{error.filename}: {error.strerror}") from error


def _text(stored: bytes) -> str:
    """A flipped bit in a text is the reader's to notice, not an error of the whole file."""
    return stored.decode(errors="replace")


def _code(error: BaseException | None) -> int:
    """SQLite's primary result code; the Python module's own errors have none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _make_private(path: Path) -> None:
    """The file holds the pods' Secrets: it is the agent's alone, and so is what SQLite adds."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    os.chmod(path, 0o600)


def _lock_folder(folder: Path) -> int:
    """Hold the folder for this process; the kernel lets go when the process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SettingsError(
            f"data-dir: {folder}: {error.strerror}; name a folder of the agent's own"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise SettingsError(
            f"data-dir: {folder} is in use by another agent; stop it or use another folder"
        ) from error
    return descriptor


def _free_place(path: Path) -> Path:
    """``agent.db.damaged-7``; forgets all but the newest few before."""
    aside = path.parent.glob(f"{path.name}.damaged-*")
    numbers = sorted({int(text) for one in aside if (text := one.name.split("-")[1]).isdigit()})
    for number in numbers[: max(0, len(numbers) - KEPT_ASIDE + 1)]:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.remove(f"{path}.damaged-{number}{suffix}")
    return path.with_name(f"{path.name}.damaged-{numbers[-1] + 1 if numbers else 1}")
