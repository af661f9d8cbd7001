"""
A run of pytest that is tampered with or watched: what it is told by its environment, what it says, what it leaves.

Its hooks are registered where the environment asks for them, and nowhere else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_modelroute.errors import TamperingError
from pytest_modelroute.wire.defects import Defect, defect_named
from pytest_modelroute.wire.observed import Observed
from pytest_modelroute.wire.tampered import Mutant, Observer, Tampering

VARIABLE: Final = "MODELROUTE_TAMPER"
"Names the defect; `flip_label:2` for the second kind of label alone."
NOTES: Final = "MODELROUTE_TAMPER_NOTES"
"The folder of `modelroute mutate` in which the processes of a run leave what they saw and did."
OBSERVE: Final = "observe"
"In place of a defect: watch, and change nothing."
ANEW: Final = "write_anew"
"In place of a defect: write every reply anew, and change nothing else."
KNOWN: Final = Path(".modelroute") / "mutate" / "seen.json"
"What the last untouched run has shown, below the folder in which pytest is started."


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the environment asks for."""

    text: str
    defect: Defect | None
    number: int | None

    @classmethod
    def read(cls, text: str) -> Asked:
        """
        Read the value of MODELROUTE_TAMPER.

        Raises:
            TamperingError: It names no defect.

        """
        name, colon, number = text.partition(":")
        if text in (OBSERVE, ANEW):
            return cls(text=text, defect=None, number=None)
        defect = defect_named(name)
        if colon and (defect.name != "flip_label" or not number.isdecimal() or not number.isascii() or not int(number)):
            raise TamperingError(
                f"{text!r}: a number from 1 on may follow flip_label alone, such as flip_label:1 for the labels of the "
                "first kind of question"
            )
        return cls(text=text, defect=defect, number=int(number) if colon else None)


class TamperedRun:
    """One process of such a run."""

    def __init__(self, environment: Mapping[str, str], folder: Path, *, refuse: Mapping[str, bool]) -> None:
        """
        Read what is asked for.

        Args:
            environment: The process's.
            folder: Where pytest was started.
            refuse: Option -> whether it is given: what must not be tampered with.

        Raises:
            TamperingError: It names no defect, comes without what it needs to know, or meets such an option.

        """
        self._asked = Asked.read(environment[VARIABLE])
        for option, is_given in refuse.items():
            if is_given:
                raise TamperingError(
                    f"{VARIABLE}={self._asked.text} and {option}: a run that calls providers is never tampered with, "
                    f"so that no defect is recorded, or paid for; leave out one of the two"
                )
        notes = environment.get(NOTES)
        self._notes = None if notes is None else Path(notes)
        self._observed = Observed()
        if self._asked.text != OBSERVE:
            self._observed = _known(self._notes, folder, self._asked)
        self._tests: dict[str, tuple[str, Tampering]] = {}
        self._changed = 0
        self._is_controller = False

    def of(self, node: str, shown: str, *, classifiers: frozenset[str]) -> Tampering:
        """Who stands between answers and clients in a test; `shown`: its id as it can be typed."""
        tampering: Tampering
        if self._asked.text == OBSERVE:
            tampering = Observer(self._observed, classifiers=classifiers)
        else:
            tampering = Mutant(self._asked.defect, number=self._asked.number, known=self._observed)
        self._tests[node] = shown, tampering
        return tampering

    def pytest_sessionstart(self, session: Any) -> None:
        """With xdist the workers run the tests, and the controller hears of each once more."""
        self._is_controller = bool(session.config.pluginmanager.hasplugin("dsession"))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note what became of a test, at its end: a process that is ended by force leaves that at least."""
        if self._is_controller:
            return
        if report.failed:
            self._note({"failed": self._tests[report.nodeid][0] if report.nodeid in self._tests else report.nodeid})
        if report.when == "teardown" and report.nodeid in self._tests:
            shown, tampering = self._tests.pop(report.nodeid)
            self._changed += tampering.changed
            if tampering.changed:
                self._note({"test": shown, "changed": tampering.changed})

    def pytest_sessionfinish(self) -> None:
        """Leave what was seen."""
        if self._asked.text == OBSERVE and not self._is_controller:
            self._note({"seen": self._observed.to_json()})

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Nobody shall take a run that was tampered with for an ordinary one."""
        if self._asked.defect is None:
            return
        counted = "" if self._is_controller else f": {self._changed} call{'' if self._changed == 1 else 's'} changed"
        terminalreporter.section("modelroute: tampered with")
        terminalreporter.line(f"this run was tampered with by {VARIABLE}={self._asked.text}{counted}", yellow=True)
        terminalreporter.line(f"defect: {self._asked.defect.green_when}")

    def _note(self, note: Mapping[str, Any]) -> None:
        if self._notes is None:
            return
        with (self._notes / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(note) + "\n")


def read_notes(folder: Path) -> list[dict[str, Any]]:
    """What the processes of a run have left."""
    lines: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:  # the process was ended in the middle of it
                continue
    return lines


def _known(notes: Path | None, folder: Path, asked: Asked) -> Observed:
    path = folder / KNOWN if notes is None else notes / KNOWN.name
    try:
        return Observed.from_json(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TamperingError(
            f"{path}: what the untouched run has shown cannot be read ({type(error).__name__}: {error}); delete the "
            "file, and run: modelroute mutate -- pytest ..."
        ) from None
    defect = asked.defect
    if defect is not None and (defect.redirects is not None or defect.name == "flip_label"):
        raise TamperingError(
            f"{VARIABLE}={asked.text} has to know which models and labels this suite sees: run "
            f"modelroute mutate -- pytest ... first, in this folder; it leaves them in {KNOWN}"
        )
    return Observed()
