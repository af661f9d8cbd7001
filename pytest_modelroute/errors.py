"""
The exceptions of the package, in one tree.

    ModelRouteError                     everything below; catch this to catch all
    +-- SettingsError                   [tool.modelroute] or modelroute.toml cannot be used
    +-- ThresholdError                  a step_threshold marker or a [thresholds.<step>] table cannot be judged
    +-- CasesError                      a file or list of cases cannot be used
    +-- ScoreError                      a scorer returned something that is not a score
    +-- EvaluationError                 a step cannot be evaluated as asked
    +-- ScriptError                     a scripted reply or fault is described wrongly
    +-- CassetteError                   a cassette, or its journal, cannot be read, written or trusted
    |   +-- SecretsRemain               a cassette was not saved, since it would hold a secret
    +-- RecordingError                  a call cannot be recorded: no key, over the cap, not to be looked into
    +-- MalformedExchange               a request or reply is not in the provider's format
    |   +-- StreamFailed                an answer that began well ended in the provider's error
    +-- PriceUnknown                    a model has no price
    +-- ProviderError                   the router's client got an error from a provider
    |   +-- FallbacksFailed             every candidate of a request failed
    +-- AnswerRejected                  an answer is not good enough; raised in a verifier, with the reason
    +-- VerifierFailed                  a verifier raised something else, or returned neither True nor False
    +-- BudgetExceeded                  a call was not made, since the day's budget does not cover it
    +-- WorkflowError                   a step of a workflow failed, or a workflow is put together wrongly
    +-- AgentError                      agents are put together wrongly, or a model asked for what there is not
    +-- PromiseError                    what a router's test class promises cannot be, or cannot be checked
    +-- SubjectError                    the router under test cannot be built or asked as its class says
    +-- VirtualTimeError                the clock of a test cannot be moved as asked
    +-- TamperingError                  a suite cannot be tested by tampering with its run as asked
    +-- MissingExtra                    an optional package is not installed
    +-- NetworkBlocked                  (also a ConnectionRefusedError) a connection left this machine
    UnscriptedCall                      (a BaseException) no script answers a call
    UnrecordedCall                      (a BaseException) no cassette answers a call
    ScriptRaised                        (a BaseException) the function of a script raised
    WaitsForEver                        (a BaseException) nothing is left that could wake the event loop
    ModelrouteWarning                   (a UserWarning) code that would do harm in life, and that virtual time saw

The BaseExceptions are no Exception on purpose: a router that catches Exception and falls back would take a hole in the
test for an outage, go on, and pass.
"""

from __future__ import annotations

from collections.abc import Sequence


class ModelRouteError(Exception):
    """Base of the errors that this package raises."""


class SettingsError(ModelRouteError):
    """The settings cannot be used; the message names the file, the key and what was expected."""


class ThresholdError(ModelRouteError):
    """A limit of a step is unknown, impossible or missing."""


class CasesError(ModelRouteError):
    """Cases are malformed, duplicated or absent; the message names the file and the line."""


class ScoreError(ModelRouteError):
    """A scorer cannot be asked, or returned something other than a bool or a number from 0 to 1."""


class EvaluationError(ModelRouteError):
    """A step cannot be evaluated as asked, for example an async function inside a running loop."""


class ScriptError(ModelRouteError):
    """A script is described wrongly, or can never match."""


class CassetteError(ModelRouteError):
    """A cassette cannot be read, written or trusted; the message names the file, the line and the interaction."""


class SecretsRemain(CassetteError):
    """A cassette was not saved, since it would hold a secret; the message says where, and never shows it."""


class RecordingError(ModelRouteError):
    """A call cannot be recorded: a key is missing, the cap is reached, or its body cannot be looked into."""


class MalformedExchange(ModelRouteError):
    """A request or a reply is not in the format of its provider."""


class StreamFailed(MalformedExchange):
    """
    An answer that began well, with status 200, ended in an error of the provider; most come in streams.

    Attributes:
        kind: The error class.
        code: The provider's own word for it, or None.

    """

    def __init__(self, message: str, *, kind: str, code: str | None) -> None:
        """Keep what a caller decides on next to the message."""
        super().__init__(message)
        self.kind = kind
        self.code = code


class PriceUnknown(ModelRouteError):
    """A model has no price; the message says how to give it one."""


class ProviderError(ModelRouteError):
    """
    A provider answered the router's own client with an error, or not at all.

    Attributes:
        kind: The error class, decided from status and code; see `ErrorClass`.
        status: HTTP status, or None where no answer came.
        code: The provider's own word for the error, or None.
        model: The model that was asked for.
        retry_after: Seconds the provider asked to wait, or None.
        text: What came of a stream before it broke off, and is with the caller already; empty for nothing.
        attempts: How often the model was asked; 0 where it was spared, since it rests or the time is over.

    """

    def __init__(
        self,
        message: str,
        *,
        model: str,
        status: int | None,
        code: str | None,
        retry_after: float | None,
        kind: str = "server_error",
        text: str = "",
    ) -> None:
        """Keep what a caller decides on next to the message."""
        super().__init__(message)
        self.model = model
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.kind = kind
        self.text = text
        self.attempts = 1


class FallbacksFailed(ProviderError):
    """
    Every candidate of a request failed; its attributes are those of the error of the first.

    Attributes:
        failures: The error of each candidate, in the order in which they were tried.

    """

    def __init__(self, failures: Sequence[ModelRouteError]) -> None:
        """Say what failed first, and list them all."""
        first = failures[0]
        assert isinstance(first, ProviderError)  # noqa: S101 - nobody falls back from anything else
        lines = [f"every candidate failed, the first because {first}", *(f"  {_summary(error)}" for error in failures)]
        super().__init__(
            "\n".join(lines),
            model=first.model,
            status=first.status,
            code=first.code,
            retry_after=first.retry_after,
            kind=first.kind,
        )
        self.failures = tuple(failures)


class AnswerRejected(ModelRouteError):
    """An answer is not good enough. A verifier of one's own may raise it with the reason, in place of False."""


class VerifierFailed(ModelRouteError):
    """
    A verifier could not judge an answer: it raised something other than `AnswerRejected`, or returned no verdict.

    Attributes:
        verifier: Its name.

    """

    def __init__(self, message: str, *, verifier: str) -> None:
        """Keep the name next to the message."""
        super().__init__(message)
        self.verifier = verifier


class BudgetExceeded(ModelRouteError):
    """A call was not made, since what remains of the day's budget does not cover what it may cost."""


class WorkflowError(ModelRouteError):
    """
    A step of a workflow failed, or a workflow is put together wrongly.

    Attributes:
        step: The name of the step, or None.

    """

    def __init__(self, message: str, *, step: str | None = None) -> None:
        """Keep the step next to the message."""
        super().__init__(message)
        self.step = step


class AgentError(ModelRouteError):
    """
    Agents are put together wrongly, a model asked for an agent or a tool that there is not, or a tool failed.

    Attributes:
        agent: The name of the agent, or of the coordinator, whose doing it was; None before any request.

    """

    def __init__(self, message: str, *, agent: str | None = None) -> None:
        """Keep the agent next to the message."""
        super().__init__(message)
        self.agent = agent


class PromiseError(ModelRouteError):
    """A class of `RoutingInvariants` promises what cannot be, or names a law or an attribute that does not exist."""


class SubjectError(ModelRouteError):
    """The router under test cannot be built, or asked, as its test class says."""


class VirtualTimeError(ModelRouteError):
    """The clock of a test cannot be moved as asked."""


class TamperingError(ModelRouteError):
    """A run cannot be tampered with as asked: an unknown defect, a suite that is not green, or one that records."""


class MissingExtra(ModelRouteError):
    """An optional package is not installed."""

    def __init__(self, package: str, *, extra: str, needed_for: str) -> None:
        """Name the package, what needs it and the extra that brings it."""
        super().__init__(f"{needed_for} needs {package}: pip install 'pytest-modelroute[{extra}]'")


class NetworkBlocked(ModelRouteError, ConnectionRefusedError):
    """
    A connection beyond this machine was refused.

    It is a ConnectionRefusedError, so client libraries treat it as what it is for them: a host that cannot be reached.
    """


class UnscriptedCall(BaseException):
    """A provider was called and no script answers; derives from BaseException so that no fallback hides it."""


class UnrecordedCall(BaseException):
    """A call that the cassette does not hold; derives from BaseException so that no fallback hides it."""


class ScriptRaised(BaseException):
    """The function of a script raised; derives from BaseException so that it is not taken for an outage."""


class WaitsForEver(BaseException):
    """An event loop would wait for ever; derives from BaseException so that no fallback hides it."""


class ModelrouteWarning(UserWarning):
    """
    The code under test does what would do harm in life: it leaves tasks running, or blocks the event loop.

    It fails the test with `filterwarnings = ["error::pytest_modelroute.errors.ModelrouteWarning"]`; with `ignore` for
    `error` it is left out.
    """


def _summary(error: ModelRouteError) -> str:
    """One line of a list of failures."""
    if not isinstance(error, ProviderError):
        return f"not asked: {error}"
    status = "" if error.status is None else f", status {error.status}"
    times = {0: "not asked", 1: "asked once"}.get(error.attempts, f"asked {error.attempts} times")
    return f"{error.model}: {error.kind}{status}, {times}"
