"""Runs somebody's command for pytest, untouched or with a defect at the wire, and says how it ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_modelroute.errors import TamperingError
from pytest_modelroute.report.tampered import KNOWN, NOTES, VARIABLE, read_notes

_NO_CACHE: Final = "-p no:cacheprovider"
"What failed with a defect must not be what `--lf` runs next."
_FIRST_FAILURE: Final = f"-x -q {_NO_CACHE}"
_TAIL: Final = 15
"Lines of output that are shown of a run that went wrong."


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run of pytest ended."""

    code: int | None
    "The exit code; None where it took too long."
    seconds: float
    notes: Sequence[Mapping[str, Any]]
    "What the plugin left."
    output: str = field(repr=False)

    @property
    def tail(self) -> str:
        """The last lines that it printed, indented."""
        lines = [line for line in self.output.splitlines() if line.strip()]
        return "\n".join(f"    {line}" for line in lines[-_TAIL:])

    @property
    def changed(self) -> dict[str, int]:
        """Test -> its calls that were changed."""
        return {note["test"]: note["changed"] for note in self.notes if "test" in note}

    @property
    def failed(self) -> list[str]:
        """The tests that failed, each once."""
        return list(dict.fromkeys(note["failed"] for note in self.notes if "failed" in note))


class Suite:
    """A command that runs pytest."""

    def __init__(self, command: Sequence[str]) -> None:
        """
        Take the words of the command.

        Raises:
            TamperingError: It would record, or call providers.

        """
        self.command = list(command)
        for word in self.command:
            option, _, value = word.partition("=")
            if (option == "--modelroute-record" and value != "none") or word == "--modelroute-live":
                raise TamperingError(
                    f"{word}: a run that calls providers is never tampered with, so that no defect is recorded, or "
                    "paid for; leave it out: what is recorded is replayed"
                )

    def run(self, asked: str, *, seen: bytes | None = None, timeout: float | None = None) -> Ended:
        """
        Run it once.

        Args:
            asked: The value of MODELROUTE_TAMPER; for a defect, the run ends with the first failure.
            seen: What the untouched run has shown, as its file holds it.
            timeout: Seconds until it is ended by force.

        Raises:
            TamperingError: There is no such program.

        """
        with tempfile.TemporaryDirectory(prefix="modelroute-mutate-") as name:
            notes = Path(name)
            if seen is not None:
                (notes / KNOWN.name).write_bytes(seen)
            options = _NO_CACHE if seen is None else _FIRST_FAILURE
            environment = {
                **os.environ,
                VARIABLE: asked,
                NOTES: name,
                "PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} {options}".strip(),
            }
            started = time.perf_counter()
            with (notes / "output").open("w+b") as output:
                code = _ended(self._start(environment, output), timeout)
                seconds = time.perf_counter() - started
                output.seek(0)
                said = output.read().decode("utf-8", "replace")
            return Ended(code=code, seconds=seconds, notes=read_notes(notes), output=said)

    def _start(self, environment: Mapping[str, str], output: Any) -> subprocess.Popen[bytes]:
        program, *rest = self.command
        beside = Path(sys.executable).parent / program
        if shutil.which(program) is None and beside.is_file():  # an environment that is not activated
            program = str(beside)
        try:
            return subprocess.Popen(  # noqa: S603 - the user's own command
                [program, *rest],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise TamperingError(
                f"{program}: the command cannot be run ({error.strerror}); after -- comes what you type to run the "
                "suite: modelroute mutate -- pytest tests"
            ) from None


def _ended(process: subprocess.Popen[bytes], timeout: float | None) -> int | None:
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:  # out of time, or interrupted: its workers too
            _kill(process)
            process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":  # pragma: no cover - no groups there
        process.kill()
    else:
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.killpg(process.pid, signal.SIGKILL)
