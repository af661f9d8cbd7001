"""The folder of what may be lost, `.modelroute`: its parts, and locks between processes."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from threading import Event
from typing import Final

from pytest_modelroute.errors import CassetteError

WAIT_S: Final = 60.0
"How long a lock is waited for, in seconds of real time."
_PAUSE_S: Final = 0.01
_PRIVATE: Final = 0o700


def part_of(state: Path, name: str) -> Path:
    """
    A folder in `.modelroute` that nobody else on this machine may look into; both are made where they are missing.

    Raises:
        OSError: It cannot be made.

    """
    folder = state / name
    folder.mkdir(parents=True, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) != _PRIVATE:
        with suppress(PermissionError):  # it is another user's, who decides
            folder.chmod(_PRIVATE)
    ignored = state / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n", "utf-8")
    return folder


def short_hash(text: str) -> str:
    """Stands for a path or a name in the name of a file: 16 characters that every file system takes."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


@contextmanager
def locked(state: Path, what: str, *, wait: float = WAIT_S) -> Generator[None]:
    """
    Be the only one, of all threads and processes of this machine, that works on something.

    The system frees the lock of a process that is killed. The lock file stays: to remove it would let two in.

    Args:
        state: The folder `.modelroute`.
        what: The name of what is worked on: the real path of a file.
        wait: Seconds until it is given up.

    Raises:
        CassetteError: Somebody else held it all the time; names the process.
        OSError: The lock file cannot be made.

    """
    path = part_of(state, "locks") / f"{short_hash(what)}.lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _wait_for(file, what, wait)
        with suppress(OSError):  # on a full disk the lock holds all the same
            os.ftruncate(file, 0)
            os.lseek(file, 0, os.SEEK_SET)
            os.write(file, str(os.getpid()).encode())
        try:
            yield
        finally:
            _free(file)
    finally:
        os.close(file)


def _wait_for(file: int, what: str, wait: float) -> None:
    # Not time.sleep and no clock: in a test both may be virtual.
    pause, waited = Event(), 0.0
    while not _take(file):
        if waited >= wait:
            os.lseek(file, 0, os.SEEK_SET)
            holder = os.read(file, 20).decode("ascii", "replace") or "unknown"
            raise CassetteError(
                f"{what}: process {holder} has held its lock for {wait:g} s; end that process, or wait for it, "
                "and run again"
            )
        pause.wait(_PAUSE_S)
        waited += _PAUSE_S


if sys.platform == "win32":  # pragma: no cover - the suite runs on POSIX
    import msvcrt

    _BYTE: Final = 1 << 30
    "The byte that is locked: a locked one cannot be read, and the first ones hold the process."

    def _take(file: int) -> bool:
        os.lseek(file, _BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _free(file: int) -> None:
        os.lseek(file, _BYTE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _take(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _free(file: int) -> None:
        # Closing is not enough: a process forked meanwhile holds the same lock.
        fcntl.flock(file, fcntl.LOCK_UN)
