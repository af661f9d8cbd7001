"""The recording of one test, from its cassette's file to what is saved at its end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from pytest_modelroute.cassettes.cache import Packed, open_packed
from pytest_modelroute.cassettes.checks import refuse_secrets
from pytest_modelroute.cassettes.files import CassetteFile
from pytest_modelroute.cassettes.interaction import Interaction, RecordedRequest
from pytest_modelroute.cassettes.journal import Journal
from pytest_modelroute.cassettes.keys import check_credentials
from pytest_modelroute.cassettes.matching import Matching
from pytest_modelroute.cassettes.misses import Miss, Searched, describe_miss
from pytest_modelroute.cassettes.recorded_price import snapshot
from pytest_modelroute.cassettes.redaction import Redactor
from pytest_modelroute.cassettes.replayed import Replay, note_replay
from pytest_modelroute.cassettes.saving import save, save_beside
from pytest_modelroute.cassettes.spending import Purse
from pytest_modelroute.cassettes.staleness import Stale, find_stale
from pytest_modelroute.cassettes.taking import LiveTake, TakeDown
from pytest_modelroute.cassettes.tape import Paid, RecordMode, Tape
from pytest_modelroute.errors import CassetteError, PriceUnknown, RecordingError
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.case_run import Heard
from pytest_modelroute.wire.places import call_site, short_path
from pytest_modelroute.wire.recorded import Sent

STATE: Final = ".modelroute"
"The folder of what may be lost, beside the settings file."
_GOOD: Final = range(200, 300)
_TEACH: Final = (
    'Teach redaction about it: patterns = [...] or redact = "package.module:function" in [tool.modelroute.recording], '
    "then run again; the calls are kept in the journal"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where and how the calls of a test are recorded and replayed."""

    test: str
    "The id of the test."
    path: Path
    "The cassette's file."
    folder: Path
    "The folder of cassettes."
    state: Path
    "The folder `.modelroute`."
    shared: bool
    "Whether other tests record into the same cassette, so that only what is recorded again is replaced."
    mode: RecordMode
    command: str
    "What records this test again."
    node: str = ""
    "The id of the test as pytest takes it."
    module: Path | None = None
    "The file of the test."
    prices: PriceBook = field(default_factory=PriceBook)
    allowed: Sequence[str] = ()
    "Hosts whose requests pass unrecorded."
    ignore_paths: Sequence[str] = ()
    ignore_query: Sequence[str] = ()
    errors: bool = False
    "Whether replies other than 2xx are recorded too."
    keep_headers: Sequence[str] = ()
    patterns: Sequence[str] = ()
    redact: str | None = None
    max_age_days: int = 180
    "From which age on a recording is stale."
    stale_fails: bool = False
    "Whether a stale recording fails the test that replays it."
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    "Looked at again before each call: an application may load its keys once it runs."
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    since: str = ""
    "When the run began, as `recorded_at` says it: what a shared cassette holds from then on was recorded by it."


class TestRecording:
    """The recording of one test."""

    __test__ = False  # the name is not an invitation to pytest

    def __init__(
        self, plan: Plan, *, purse: Purse | None = None, progress: Callable[[str], None] | None = None
    ) -> None:
        """
        Open the cassette, and what an earlier run has paid for.

        Args:
            plan: Where and how.
            purse: Pays for live calls of models.
            progress: Is told what they have cost, at the end of each that belongs to no evaluation.

        Raises:
            CassetteError: The cassette or the journal cannot be read.

        """
        self._plan = plan
        self._purse = purse
        self._progress = progress
        self._saved = False
        self._redactor = Redactor(
            environment=plan.environment,
            patterns=plan.patterns,
            keep_headers=plan.keep_headers,
            hook=None if plan.redact is None else load_hook(plan.redact),
        )
        self._matching = Matching(ignore_paths=plan.ignore_paths, ignore_query=plan.ignore_query)
        self._packed: Packed = open_packed(plan.path, self._key_of_file, self._fingerprint(), state=plan.state)
        self._journal = Journal(plan.state, str(plan.path))
        self._kept: list[str] = []
        self.stale: list[Stale] = []
        self.tape = Tape(
            self._packed,
            mode=plan.mode,
            shown=short_path(str(plan.path)),
            redactor=self._redactor,
            key_of=self._matching.key,
            allowed=plan.allowed,
            paid=self._paid(),
            miss=self._describe_miss,
            begin_take=self._begin_take,
        )

    @property
    def outcomes_path(self) -> Path:
        """The file of what every model made of every case, beside the cassette."""
        return outcomes_of(self._plan.path)

    def redact(self, text: str) -> str:
        """A text without its secrets."""
        return self._redactor.text(text)

    def save_outcomes(self, write: Callable[[str | None, str], str]) -> None:
        """
        Save what every model made of every case.

        Args:
            write: Is given what the file holds of other tests that share the cassette, None where there is nothing to
                keep, and the file's name for messages; returns the new text.

        Raises:
            CassetteError: The file cannot be read or written; it is as it was.
            SecretsRemain: It would hold a secret.

        """
        plan, path = self._plan, self.outcomes_path
        shown = short_path(str(path))
        save_beside(
            path,
            lambda current: write(current if plan.shared else None, shown),
            folder=plan.folder,
            state=plan.state,
            check=refuse_secrets(self._redactor, path, remedy=_TEACH),
        )

    def save(self) -> None:
        """
        Save what this run has recorded; nothing where it has recorded nothing.

        Raises:
            CassetteError: The cassette cannot be written; it is as it was, and the calls stay in the journal.
            SecretsRemain: It would hold a secret.

        """
        plan = self._plan
        if self.tape.new:
            check = refuse_secrets(self._redactor, plan.path, remedy=_TEACH)
            save(plan.path, self._merge, folder=plan.folder, state=plan.state, check=check)
        if self._kept:
            # Also what an earlier run has left, and this one did not ask for: nobody will. What another process has
            # kept for this test meanwhile is its own to save.
            self._journal.remove(self._kept)
        self._saved = True

    def spending(self) -> str:
        """What recording has cost so far, for a line of progress; empty where nothing is recorded."""
        if self._purse is None:
            return ""
        calls, spent, _unpriced = self._purse.spent()
        cap = "" if self._purse.cap is None else f" of {self._purse.cap:f}"
        return f"{calls} live calls, {spent:f}{cap} USD"

    def end_progress(self) -> None:
        """Clear the line."""
        if self._progress is not None:
            self._progress("")

    @property
    def stale_fails(self) -> bool:
        """Whether what `stale` finds fails the test."""
        return self._plan.stale_fails

    def find_stale(self) -> None:
        """
        Note in `stale` what is not to be trusted any more of what was replayed.

        Raises:
            CassetteError: A time or a price in the cassette is none.

        """
        plan = self._plan
        if plan.mode != "none" or not self.tape.facts:
            return
        try:
            self.stale = find_stale(
                self.tape.facts,
                now=plan.now(),
                max_age_days=plan.max_age_days,
                prices=plan.prices,
                command=plan.command.removesuffix("=new") + "=all",
            )
        except CassetteError as error:
            raise CassetteError(f"{short_path(str(plan.path))}: {error}") from None

    def summary(self, live: Sequence[ProviderCall]) -> dict[str, Any]:
        """What the end of the run says of this test; of what JSON knows."""
        new = len(self.tape.new)
        cost, unpriced = Decimal(0), 0
        for call in live:
            try:
                cost += call.cost_usd
            except PriceUnknown:
                unpriced += 1
        return {
            "cassette": short_path(str(self._plan.path)),
            "replayed": len(self.tape.played),
            "recorded": new if self._saved else 0,
            "kept": 0 if self._saved else new,
            "live": len(live),
            "usd": str(cost),
            "unpriced": unpriced,
            "stale": [[stale.kind, stale.model, stale.count, stale.message] for stale in self.stale],
        }

    def note_replay(self) -> None:
        """Note which interactions the test has replayed, for those who look for what nobody uses any more."""
        plan, digest = self._plan, self._packed.digest
        if plan.mode == "none" and digest:
            home, module = plan.state.parent, plan.module
            # By its real name: several may lead to one file.
            cassette = plan.path.resolve().relative_to(plan.folder.resolve()).as_posix()
            inside = module is not None and module.is_relative_to(home)
            replay = Replay(
                test=plan.node,
                module=module.relative_to(home).as_posix() if module is not None and inside else str(module or ""),
                cassette=cassette,
                shared=plan.shared,
                digest=digest,
                played=tuple(sorted({*self.tape.played})),
            )
            note_replay(plan.state, replay)

    def _merge(self, current: CassetteFile) -> list[dict[str, Any]]:
        """What is to stay of the cassette as it is now, then what it lacks of what was recorded."""
        again = {key for key, _interaction in self.tape.new}
        kept: list[dict[str, Any]] = []
        there = Counter[str]()
        for raw, interaction in zip(current.raw, current.interactions, strict=True):
            key = self._key_of_file(interaction.request)
            if self._stays(interaction, again=key in again):
                kept.append(raw)
                there[key] += 1
        # Another process may have recorded the same meanwhile: one recording of it is enough for both.
        had = Counter(self._packed.keys if self._plan.mode == "new" else ())
        for key, interaction in self.tape.new:
            had[key] += 1
            if there[key] < had[key]:
                kept.append(interaction.to_raw())
        return kept

    def _stays(self, interaction: Interaction, *, again: bool) -> bool:
        if self._plan.mode == "new":
            return True
        if not self._plan.shared:
            return False
        facts = interaction.facts
        return not again or (facts is not None and facts.recorded_at >= self._plan.since)

    def _key_of_file(self, request: RecordedRequest) -> str:
        # Other tools save requests with what redaction takes out of ours.
        return self._matching.key(self._redactor.request(request))

    def _fingerprint(self) -> str:
        plan = self._plan
        return repr((self._matching.fingerprint, tuple(plan.patterns), plan.redact))

    def _paid(self) -> list[Paid]:
        if self._plan.mode == "none" or not self._journal.path.exists():
            return []
        entries = [entry for entry in self._journal.entries() if entry.test == self._plan.test]
        self._kept += [entry.id for entry in entries]
        return [
            Paid(key=self._matching.key(entry.interaction.request), interaction=entry.interaction) for entry in entries
        ]

    def _begin_take(
        self, tape: Tape, sent: Sent, request: RecordedRequest, key: str, call: ProviderCall | None
    ) -> LiveTake:
        if call is not None:
            check_credentials(sent, call.provider)
        done = None if self._purse is None or call is None else self._admit(self._purse, call)
        shared = TakeDown(
            redactor=self._redactor,
            price=self._price,
            keep=partial(self._keep, tape, key, sent.heard),
            done=done,
        )
        return LiveTake(shared, request, call, client=sent.client, attempt=tape.attempt(key))

    def _admit(self, purse: Purse, call: ProviderCall) -> Callable[[], None]:
        pay = purse.admit(call)

        def done() -> None:
            pay()
            if self._progress is not None and call.case is None:
                self._progress(f"recording: {self.spending()}")

        return done

    def _keep(self, tape: Tape, key: str, heard: Heard | None, interaction: Interaction) -> None:
        if interaction.response.status in _GOOD or self._plan.errors:
            self._kept.append(self._journal.append(interaction, test=self._plan.test))
            tape.add(key, interaction)
            if heard is not None:
                heard.add(key, (interaction.response, interaction.facts, "an earlier run of this case"))

    def _price(self, call: ProviderCall) -> Mapping[str, str] | None:
        return snapshot(self._plan.prices, call.provider, call.model)

    def _describe_miss(self, request: RecordedRequest, call: ProviderCall | None, recorded: int) -> str:
        packed = self._packed
        names = ("model", "prompt", "step", "case")
        known: dict[str, Any] = {} if call is None else {name: getattr(call, name) for name in names}
        positions = range(len(packed))
        message = describe_miss(
            Miss(request=request, site=call_site(), replayed=recorded, **known),
            Searched(
                path=short_path(str(self._plan.path)),
                requests=[packed.interaction(position).request for position in positions],
                lines=[packed.line(position) for position in positions],
                exists=self._plan.path.exists(),
            ),
            command=self._plan.command,
            redact=self._redactor.text,
            matching=self._matching,
        )
        if call is None:
            host = urlsplit(request.url).netloc
            message += f'\nIf it may go out unrecorded: allow_hosts = ["{host}"] in [tool.modelroute]'
        return message


def outcomes_of(cassette: Path) -> Path:
    """The file of what every model made of every case, beside a cassette; it need not exist."""
    return cassette.with_name(f"{cassette.name}.outcomes.jsonl")


def load_hook(name: str) -> Callable[[str], str]:
    """
    The function of `redact = "package.module:function"`.

    Raises:
        RecordingError: There is none.

    """
    module, separator, function = name.partition(":")
    try:
        found: object = getattr(import_module(module), function) if separator else None
    except (ImportError, AttributeError) as error:
        raise RecordingError(f'redact = "{name}": {error}; package.module:function was expected') from None
    if not callable(found):
        raise RecordingError(f'redact = "{name}": package.module:function was expected, such as app.testing:redact')
    return cast("Callable[[str], str]", found)
