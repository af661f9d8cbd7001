"""One law's test from the plugin's side: what is tried, what comes of it, and what the session is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pytest_modelroute.errors import ModelRouteError
from pytest_modelroute.invariants.binding import promises_of, unpromised
from pytest_modelroute.invariants.checking import Surroundings, check_law
from pytest_modelroute.invariants.telling import tell

if TYPE_CHECKING:
    from pytest_modelroute.config import Settings
    from pytest_modelroute.invariants.search import Finding


@dataclass(frozen=True, slots=True)
class LawVerdict:
    """What becomes of the test."""

    action: Literal["pass", "fail", "skip", "xfail"]
    message: str = ""


class LawRun:
    """
    The test of one law; knows nothing of pytest.

    Attributes:
        notes: What is not the law's business and yet worth a warning: noise, tasks that are left running.

    """

    def __init__(self, *, test: str, settings: Settings | None, profile: str, seed: int) -> None:
        """
        Try nothing yet.

        Args:
            test: The id of the test, for the command that runs it again.
            settings: Of the test's folder; None where it has none.
            profile: How many examples.
            seed: Which ones.

        """
        self._test = test
        self._settings = settings
        self._profile = profile
        self._seed = seed
        self._summary: dict[str, Any] | None = None
        self.notes: tuple[str, ...] = ()

    def check(self, kind: type[Any], law_id: str) -> LawVerdict:
        """
        Try a law.

        Raises:
            PromiseError: The class promises what cannot be.
            SubjectError: The router cannot be built or asked.

        """
        known = dict(kind.known_violations).get(law_id)
        try:
            finding = check_law(
                kind, law_id, profile=self._profile, seed=self._seed, surroundings=surroundings_of(self._settings)
            )
        except ModelRouteError:
            self._summarise(kind, law_id, "error", 0)
            raise
        self.notes = finding.notes
        is_known = known is not None and finding.status == "violated"
        self._summarise(kind, law_id, "known" if is_known else finding.status, finding.examples)
        if finding.status == "violated":
            if known is not None:
                return LawVerdict("xfail", f"known violation of {law_id}: {known}")
            return LawVerdict("fail", tell(finding, name=kind.__name__, test=self._test))
        if known is not None:
            return LawVerdict("fail", _no_longer(kind.__name__, finding, known, self._profile))
        if finding.status == "not exercised":
            return LawVerdict("skip", f"{law_id} was not exercised: {finding.law.idle}")
        return LawVerdict("pass")

    def _summarise(self, kind: type[Any], law_id: str, status: str, examples: int) -> None:
        self._summary = {
            "class": f"{kind.__module__}.{kind.__qualname__}",
            "name": kind.__name__,
            "law": law_id,
            "status": status,
            "examples": examples,
            "unpromised": unpromised(promises_of(kind)),
        }

    def attach_to(self, report: Any, name: str) -> None:
        """Add what came of it to a report, as JSON, which crosses processes."""
        if self._summary is not None:
            setattr(report, name, json.dumps(self._summary))


def surroundings_of(settings: Settings | None) -> Surroundings:
    """What a project's settings say of prices, hosts and names."""
    if settings is None:
        return Surroundings()
    return Surroundings(
        prices=settings.prices(),
        provider_hosts=settings.provider_hosts(),
        allow_hosts=settings.allow_hosts,
        routes=settings.routes(),
    )


def _no_longer(name: str, finding: Finding, known: str, profile: str) -> str:
    tried = (
        f"it held on {finding.examples} examples"
        if finding.examples
        else f"nothing of it was tried ({finding.law.idle})"
    )
    return (
        f"{finding.law.id} is in known_violations of {name} ({known}), but {tried} of the profile {profile}.\n"
        f"If it is mended, take {finding.law.id!r} out of known_violations, so that it stays so"
    )
