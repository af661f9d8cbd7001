"""The defects that `modelroute mutate` tries, by name, with what is said of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal, TypeAlias

from pytest_modelroute.errors import TamperingError
from pytest_modelroute.wire.answers import Answer
from pytest_modelroute.wire.tampering import (
    SLOW_S,
    Seen,
    break_json,
    cut_stream,
    delay,
    double_usage,
    drop_fallback,
    drop_retry,
    drop_tool_call,
    empty_text,
    end_stream_early,
    flip_label,
    name_another_model,
    reach_token_limit,
    redirected,
    strip_retry_after,
    swallow_error,
)

Redirection: TypeAlias = Literal["cheapest", "dearest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """Something that a provider, or the way to it, does wrong."""

    name: str
    green_when: str
    "Ends the sentence: your suite stays green when ..."
    absent: str
    "Why it does not apply to a suite that gives it nothing to do."
    notice: str
    "What a test would do that notices it."
    tamper: Callable[[Seen], Answer | None]
    "The answer with the defect; None for one that cannot show it."
    rewrites: bool = False
    "Whether it writes the reply anew, so that members of the provider's own are lost."
    redirects: Redirection | None = None
    "The model that is asked in place of the one that the application asks for."


def defect_named(name: str) -> Defect:
    """
    The defect of a name.

    Raises:
        TamperingError: There is none.

    """
    if name in DEFECTS:
        return DEFECTS[name]
    nearest = get_close_matches(name, DEFECTS, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are: {', '.join(DEFECTS)}"
    raise TamperingError(f"there is no defect {name!r}; {hint} They are explained by: modelroute mutate --list")


_ONE_MODEL: Final = "the suite asks one model of each provider"
DEFECTS: Final[Mapping[str, Defect]] = {
    defect.name: defect
    for defect in (
        Defect(
            name="flip_label",
            green_when="a label is answered with another one",
            absent="no kind of question is answered with one of a few labels",
            notice="limit the accuracy of the step (min_accuracy=), or its misroutes (max_misroute_rate=)",
            tamper=flip_label,
            rewrites=True,
        ),
        Defect(
            name="misroute_down",
            green_when="every call goes to the cheapest model, hard questions too",
            absent=_ONE_MODEL,
            notice="assert who was asked, [call.model for call in call_log], or limit max_underroute_rate=",
            tamper=redirected,
            redirects="cheapest",
        ),
        Defect(
            name="misroute_up",
            green_when="every call goes to the dearest model, easy questions too",
            absent=_ONE_MODEL,
            notice="assert who was asked, [call.model for call in call_log], or limit max_overroute_rate=",
            tamper=redirected,
            redirects="dearest",
        ),
        Defect(
            name="substitute_model",
            green_when="the reply says that another model has answered",
            absent="no reply names a model",
            notice="assert that call.model_answered is call.model in every call",
            tamper=name_another_model,
            rewrites=True,
        ),
        Defect(
            name="drop_fallback",
            green_when="a fallback's success is dropped",
            absent="no model answers what another one failed to answer",
            notice="assert that the application has an answer after the failure, and which one",
            tamper=drop_fallback,
        ),
        Defect(
            name="drop_retry",
            green_when="a retry's success is dropped",
            absent="no model answers what it failed to answer before",
            notice="assert that the application has an answer after the failure, and which one",
            tamper=drop_retry,
        ),
        Defect(
            name="swallow_error",
            green_when="a failure looks like an answer",
            absent="no call fails",
            notice="assert that the failure was met: who was asked next, or what the application says",
            tamper=swallow_error,
        ),
        Defect(
            name="strip_retry_after",
            green_when="a refusal no longer says how long to wait",
            absent="no refusal says how long to wait",
            notice="assert that nothing is sent before the wait is over: call.started_s of the next call",
            tamper=strip_retry_after,
        ),
        Defect(
            name="delay",
            green_when=f"every answer takes {SLOW_S:.0f} seconds longer",
            absent="no call is answered",
            notice="limit the latency of the step (max_latency_ms=), or assert on virtual_time.now",
            tamper=delay,
        ),
        Defect(
            name="cut_stream",
            green_when="streams break off half way",
            absent="nothing is streamed",
            notice="assert the whole text that the application makes of a stream",
            tamper=cut_stream,
        ),
        Defect(
            name="end_stream_early",
            green_when="streams end half way as if they were complete",
            absent="nothing is streamed",
            notice="assert the whole text that the application makes of a stream",
            tamper=end_stream_early,
        ),
        Defect(
            name="double_usage",
            green_when="every reply reports twice the tokens",
            absent="no reply reports its tokens",
            notice="limit the cost (max_total_cost_usd=, max_cost_usd=), or assert what call_log.cost_usd is",
            tamper=double_usage,
            rewrites=True,
        ),
        Defect(
            name="empty_text",
            green_when="every answer is empty",
            absent="no reply has a text",
            notice="assert what the application makes of an answer",
            tamper=empty_text,
            rewrites=True,
        ),
        Defect(
            name="token_limit",
            green_when="every answer ends half way, at the limit of tokens",
            absent="no reply has a text",
            notice="assert the whole of what the application makes of an answer",
            tamper=reach_token_limit,
            rewrites=True,
        ),
        Defect(
            name="break_json",
            green_when="JSON lacks its last bracket",
            absent="no reply is JSON",
            notice="assert the values that the application reads from the answer",
            tamper=break_json,
            rewrites=True,
        ),
        Defect(
            name="drop_tool_call",
            green_when="no tool is called any more",
            absent="no reply calls a tool",
            notice="assert which tools were called, and with what",
            tamper=drop_tool_call,
            rewrites=True,
        ),
    )
}
"By name, in the order in which they are tried."
