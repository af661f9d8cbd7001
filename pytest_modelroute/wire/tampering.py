"""
Defects of a provider, one at a time: from a call and its answer to the same answer with that defect in it.

They test tests: a suite that stays green although its providers misbehave does not look. Pure, and for answers alone,
whoever they come from: a script, a recording, in process or behind the real server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pytest_modelroute.errors import MalformedExchange
from pytest_modelroute.providers.exchange import ProviderReply, Usage
from pytest_modelroute.providers.failures import Failure
from pytest_modelroute.providers.language import Language, is_json, read_wire_error
from pytest_modelroute.wire.answers import Answer, Pace, answer_with_fault, answer_with_reply
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.faults import server_error
from pytest_modelroute.wire.recorded import FIRST_ERROR

SLOW_S: Final = 60.0
"Seconds added to a latency: beyond every limit that a step is likely to have, and most timeouts."
SLOW_REAL_S: Final = 1.0
"The same where somebody has to wait for it."
_WAITS: Final = frozenset({"retry-after", "retry-after-ms"})
_OF_THE_BODY: Final = frozenset({"content-encoding", "content-length", "content-type", "transfer-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A call with its answer, and what the run knows around it."""

    call: ProviderCall
    language: Language
    answer: Answer
    follows: Literal["fallback", "retry"] | None = None
    "Whether the same was asked before and failed: of another model, or of this one alone."
    other_label: str | None = None
    "For a reply that is a label: another one of its kind."
    other_model: str | None = None
    "Another model that the run asks at this provider."
    in_real_time: bool = False
    "Whether its latency is really waited for."

    @property
    def reply(self) -> ProviderReply | None:
        """The reply of a whole, good answer; None for any other."""
        answer = self.answer
        is_good = answer.kind is None and answer.breaks is None and answer.status < FIRST_ERROR
        return answer.reply if is_good else None

    @property
    def text(self) -> str:
        """The text of a good reply that is no vector; else empty."""
        return "" if self.reply is None or self.language.embeds else self.reply.text

    @property
    def lasts_s(self) -> float:
        """Seconds until the answer is complete."""
        return self.answer.delay + sum(gap for gap, _frame in self.answer.frames or ())


def rewritten(seen: Seen, **changes: Any) -> Answer | None:
    """The answer with another reply, at the same pace; None where the format cannot tell the two apart."""
    reply = seen.reply
    if reply is None:
        return None
    told = _written(seen, replace(reply, **changes))
    plain = _written(seen, reply)
    return None if (told.body, told.frames) == (plain.body, plain.frames) else told


def written_anew(seen: Seen) -> Answer | None:
    """A good reply written anew and otherwise as it is: what a suite makes of that is not the doing of a defect."""
    return None if seen.reply is None else _written(seen, seen.reply)


def _written(seen: Seen, reply: ProviderReply) -> Answer:
    answer = seen.answer
    whole = Pace(
        latency=seen.lasts_s,
        ttft=None if answer.frames is None else answer.delay,
        chunks=None if answer.frames is None else len(answer.frames),
    )
    # What was not reported is not made up.
    told = answer_with_reply(
        seen.language, seen.call.request, replace(reply, reports_usage=reply.usage is not None), whole
    )
    kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_THE_BODY}
    return replace(told, headers={**kept, **told.headers}, lasts=answer.lasts)


def flip_label(seen: Seen) -> Answer | None:
    """Another label of its kind in place of a label."""
    return None if seen.other_label is None else rewritten(seen, text=seen.other_label)


def name_another_model(seen: Seen) -> Answer | None:
    """The reply names another model than the one that was asked."""
    return rewritten(seen, model=seen.other_model or f"{seen.call.model}-substitute")


def redirected(seen: Seen) -> Answer | None:
    """The answer to a call that was sent to another model."""
    # The way to the model is changed, and not what comes back; a recording names the model that it was made with.
    reply = seen.reply
    if reply is None or reply.model in ("", seen.call.model):
        return seen.answer
    return rewritten(seen, model=seen.call.model) or seen.answer


def drop_fallback(seen: Seen) -> Answer | None:
    """An error in place of the answer of a model that is asked because another one has failed."""
    return _refused(seen) if seen.follows == "fallback" else None


def drop_retry(seen: Seen) -> Answer | None:
    """An error in place of the answer of a model that is asked again because it has failed."""
    return _refused(seen) if seen.follows == "retry" else None


def _refused(seen: Seen) -> Answer | None:
    if seen.reply is None:
        return None
    return answer_with_fault(seen.language, seen.call.request, server_error(), seen.lasts_s, seen.call.provider)


def swallow_error(seen: Seen) -> Answer | None:
    """A short, good reply in place of a failure."""
    answer = seen.answer
    if answer.kind in (None, "content_filtered") or seen.language.embeds:
        return None
    return answer_with_reply(seen.language, seen.call.request, ProviderReply(text="OK."), Pace(latency=seen.lasts_s))


def strip_retry_after(seen: Seen) -> Answer | None:
    """A refusal that does not say how long to wait."""
    answer = seen.answer
    if answer.status < FIRST_ERROR:
        return None
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in _WAITS}
    body = _without_wait(seen) if seen.language.vocabulary.retry_in_body else answer.body
    if body == answer.body and len(headers) == len(answer.headers):
        return None
    return replace(answer, headers=headers, body=body, retry_date_s=None)


def _without_wait(seen: Seen) -> bytes:
    """The body of an error without the wait that it asks for; as it is where it cannot be read, or asks for none."""
    answer, language = seen.answer, seen.language
    if b"retryDelay" not in answer.body:
        return answer.body
    try:
        message = read_wire_error(language, answer.body, answer.headers)[1]
    except MalformedExchange:
        return answer.body
    kind: Any = answer.kind
    return language.write_error(Failure(kind=kind, message=message)).body


def delay(seen: Seen) -> Answer | None:
    """The same answer, much later."""
    answer = seen.answer
    if seen.reply is None:
        return None
    more = SLOW_REAL_S if seen.in_real_time else SLOW_S
    return replace(answer, delay=answer.delay + more, lasts=None if answer.lasts is None else answer.lasts + more)


def cut_stream(seen: Seen) -> Answer | None:
    """A stream whose connection is lost half way."""
    begun = _begun(seen)
    return None if begun is None else replace(seen.answer, frames=begun, breaks="cut", kind="connection")


def end_stream_early(seen: Seen) -> Answer | None:
    """A stream that ends half way, without an error of the transport."""
    begun = _begun(seen)
    return None if begun is None else replace(seen.answer, frames=begun, kind="cut off")


def _begun(seen: Seen) -> tuple[tuple[float, bytes], ...] | None:
    """The first half of a stream: of its pieces, or of its one piece."""
    frames = seen.answer.frames
    if frames is None or seen.reply is None or not seen.call.stream:
        return None
    if len(frames) > 1:
        return frames[: len(frames) // 2]
    return tuple((gap, frame[: len(frame) // 2]) for gap, frame in frames)


def double_usage(seen: Seen) -> Answer | None:
    """Twice the tokens in every bucket."""
    usage = None if seen.reply is None else seen.reply.usage
    if usage is None:
        return None
    twice: Mapping[str, int] = {name: 2 * getattr(usage, name) for name in Usage.__dataclass_fields__}
    return rewritten(seen, usage=Usage(**twice))


def empty_text(seen: Seen) -> Answer | None:
    """A good reply that says nothing."""
    return None if not seen.text or _calls_tools(seen) else rewritten(seen, text="")


def reach_token_limit(seen: Seen) -> Answer | None:
    """The first half of a text, with the finish reason of an answer that was cut at the limit of tokens."""
    text = seen.text
    if not text or _calls_tools(seen):
        return None
    return rewritten(seen, text=text[: len(text) // 2], finish_reason="length")


def break_json(seen: Seen) -> Answer | None:
    """JSON without its last character."""
    text = seen.text.rstrip()
    return rewritten(seen, text=text[:-1]) if is_json(text, begins="{[") and not _calls_tools(seen) else None


def drop_tool_call(seen: Seen) -> Answer | None:
    """A reply that calls no tool."""
    return rewritten(seen, tool_calls=(), finish_reason="stop") if _calls_tools(seen) else None


def _calls_tools(seen: Seen) -> bool:
    return seen.reply is not None and bool(seen.reply.tool_calls)
