"""What runs in processes of its own (-m tests.cassettes.workers): to be killed, to fill a disk, to be one of many."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final
from unittest.mock import patch

from pytest_modelroute.cassettes.cache import open_packed
from pytest_modelroute.cassettes.files import CassetteFile
from pytest_modelroute.cassettes.journal import Journal
from pytest_modelroute.cassettes.saving import save
from pytest_modelroute.cassettes.state import locked
from pytest_modelroute.errors import CassetteError
from tests.cassettes.making import Shelf, call

ROOT: Final = Path(__file__).parents[2]
BIG: Final = "x" * 200_000


@contextmanager
def worker(*words: str, before: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """Run one; it is killed at the end where it still runs."""
    command = [*before, sys.executable, "-m", "tests.cassettes.workers", *words]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """The next line of a worker."""
    stream = process.stdout
    assert stream is not None
    return stream.readline().strip()


def go(process: subprocess.Popen[str]) -> None:
    """Let a worker that waits go on."""
    stream: IO[str] | None = process.stdin
    assert stream is not None
    stream.write("\n")
    stream.flush()


def _say(text: object) -> None:
    print(text, flush=True)  # noqa: T201 - a worker speaks to the test through it


def _say_and_wait(text: str) -> None:
    _say(text)
    sys.stdin.readline()


def _replace(shelf: Shelf, question: str) -> None:
    """Put one large call in place of what is there."""

    def changed(current: CassetteFile) -> list[dict[str, Any]]:
        return [call(question, answer=BIG).to_raw()]

    save(shelf.folder / "refund.yaml", changed, folder=shelf.folder, state=shelf.state, check=lambda text: None)


def saves_for_ever(shelf: Shelf) -> None:
    """Save one content after the other, and name each before it is saved."""
    for number in range(1_000_000):
        _say(number)
        _replace(shelf, str(number))


def stops(shelf: Shelf, point: str) -> None:
    """Stop at a point of a save."""
    opened, synced = os.fdopen, os.fsync
    syncs = iter(("before the replacement", "after the replacement"))

    def opening(handle: int, mode: str) -> IO[Any]:
        if point == "after half of the write":
            os.write(handle, b"interactions:\n- request:\n    body: 'half of i")
        if point.endswith("write"):
            _say_and_wait("here")
        return opened(handle, mode)

    def syncing(handle: int) -> None:
        synced(handle)
        if next(syncs) == point:
            _say_and_wait("here")

    with patch.object(os, "fdopen", opening), patch.object(os, "fsync", syncing):
        _replace(shelf, "new")


def adds(shelf: Shelf, name: str) -> None:
    """Save calls one after the other, beside others that do."""
    _say_and_wait("ready")
    for number in range(4):
        shelf.put(call(f"{name} {number}"))
    _say("done")


def journals(shelf: Shelf, name: str) -> None:
    """Append, and remove what is of even number, beside others that do."""
    journal = Journal(shelf.state, "refund")
    _say_and_wait("ready")
    for number in range(10):
        entry = journal.append(call(f"{name} {number}"), test=name)
        if number % 2 == 0:
            journal.remove([entry])
    _say("done")


def appends(shelf: Shelf) -> None:
    """Append until it is killed, and name each call that is kept."""
    journal = Journal(shelf.state, "refund")
    for number in range(1_000_000):
        journal.append(call(str(number)), test="t")
        _say(number)


def opens(shelf: Shelf) -> None:
    """Open a packed cassette, beside others that do."""
    _say_and_wait("ready")
    packed = open_packed(shelf.folder / "refund.yaml", lambda request: request.url, "1", state=shelf.state)
    _say(len(packed))


def holds(shelf: Shelf) -> None:
    """Hold a lock."""
    with locked(shelf.state, "refund"):
        _say_and_wait("held")


def meets_a_limit(shelf: Shelf) -> None:
    """No file may grow beyond 20 kB: what a full disk does, without one."""
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    fills(shelf)


def fills(shelf: Shelf) -> None:
    """Save and journal what fits, then what does not; say what went wrong."""
    journal = Journal(shelf.state, "refund")
    for answer in ("small", BIG, "small again"):
        try:
            shelf.put(call(answer, answer=answer))
        except CassetteError as error:
            _say(error)
        try:
            journal.append(call(answer, answer=answer), test="t")
        except CassetteError as error:
            _say(error)
    _say(" ".join(shelf.questions(shelf.folder / "refund.yaml")))
    _say(" ".join(str(entry.interaction.response.body) for entry in journal.entries()))
    _say(sorted(path.name for path in shelf.folder.iterdir()))


_WORK: Final[dict[str, Callable[..., None]]] = {
    work.__name__: work for work in (saves_for_ever, stops, adds, journals, appends, opens, holds, meets_a_limit, fills)
}

if __name__ == "__main__":
    _WORK[sys.argv[1]](Shelf(Path(sys.argv[2])), *sys.argv[3:])
