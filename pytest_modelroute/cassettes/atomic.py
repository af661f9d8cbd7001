"""A file is replaced whole or not at all."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

from pytest_modelroute.cassettes.state import short_hash


def replace_whole(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """
    Put a file in place of another one: whoever reads sees the old or the new one, also after a kill or a power cut.

    Args:
        path: What is replaced, in a folder that exists.
        data: What it holds afterwards.
        mode: Its permissions; None for those that a new file has.

    Raises:
        OSError: It cannot be written; the old file is as it was, and nothing is left over.

    """
    temporary = path.parent / f"{_prefix(path)}{os.getpid()}-{secrets.token_hex(4)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(temporary, flags, 0o666 if mode is None else mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_left_over(path: Path) -> None:
    """Remove what processes that were killed while they replaced a file left beside it; call it under its lock."""
    for temporary in path.parent.glob(f"{_prefix(path)}*.tmp"):
        with suppress(OSError):
            temporary.unlink()


def _prefix(path: Path) -> str:
    # Not the name itself: it may be as long as the file system allows.
    return f".modelroute-{short_hash(path.name)}-"


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":  # pragma: no cover - a folder cannot be opened there
        return
    with suppress(OSError):  # the file is in place; some file systems cannot promise more
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
