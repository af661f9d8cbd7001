"""Self-reported confidence: the cheap model says how sure it is, and below a threshold the next one is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from pytest_modelroute.router.calls import RequestContext
from pytest_modelroute.router.gates import Gate, Ruling
from pytest_modelroute.router.requests import ModelRequest, ModelResponse

INSTRUCTION: Final = (
    "Give your answer, and after it, on a line of its own, how sure you are that it is right, as a number from 0 to 1. "
    "Use this format:\n"
    "Answer: <your answer>\n"
    "Confidence: <number from 0 to 1>"
)
_MARKS: Final = r"[ \t>*_#`]{0,20}"
_LABEL: Final = re.compile(r"^[ \t>*_#`-]{0,20}confidence\b(?: (?:score|level)\b)?", re.IGNORECASE | re.MULTILINE)
_VALUE: Final = re.compile(
    rf"{_MARKS}(?:[:=]|is\b)?{_MARKS}(?:\r?\n[ \t\r\n]{{0,20}}{_MARKS})?"
    r"(?P<number>0,[0-9]{1,30}|[0-9]{1,9}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})"
    r"[ \t]?(?:(?P<percent>%|percent\b)|(?:/|out of)[ \t]?(?P<scale>[0-9]{1,9})(?![0-9]|[.,][0-9]))?"
    r"[ \t*_`.;!]*(?:\([^()\n0-9]*\)[ \t*_`.;!]*)?\r?$",
    re.IGNORECASE | re.MULTILINE,
)
"Nothing else may follow on the line: of `0.8 or 0.9` and `1 out of ten` nobody knows what is meant."
_ANSWER: Final = re.compile(
    r"^[ \t>#-]{0,20}(?P<mark>[*_`]{0,3})answer(?:(?P=mark)[ \t]?:|[ \t]?:(?P=mark))|^#{1,6} answer[ \t]*\r?$",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfReport:
    """An answer, and how sure the model says it is of it."""

    answer: str
    confidence: float | None
    "0 to 1; None where nothing can be read, or where there is no answer to be sure of."


def read_confidence(text: str) -> SelfReport:
    """
    Read an answer and its confidence: `0.85`, `85%` or `85/100` on the last line that begins with the word.

    Letter case, Markdown and further lines do not matter. A number outside of its range, a bare one above 1 (85 may be
    anything) and a line that says more than one thing are no confidence. Never raises.
    """
    label = None
    for label in _LABEL.finditer(text):  # noqa: B007 - the last one is what counts
        pass
    value = None if label is None else _VALUE.match(text, label.end())
    start, end = (len(text), len(text)) if label is None else (label.start(), value.end() if value else label.end())
    before, after = text[:start], text[end:]
    answer = _answer(before) or _answer(after)
    return SelfReport(answer=answer, confidence=_share(value) if value and answer else None)


def _answer(text: str) -> str:
    label = _ANSWER.search(text)
    return (text[label.end() :] if label else text).strip()


def _share(value: re.Match[str]) -> float | None:
    number = float(value["number"].replace(",", "."))
    scale = 100 if value["percent"] else int(value["scale"] or 1)
    return number / scale if 0 <= number <= scale and scale else None


class ConfidenceGate(Gate):
    """
    Accepts an answer of which the model says that it is sure enough.

    The model is asked for it in its system prompt. What it says of itself is taken out of the answer; where that cannot
    be read, the answer is rejected. Measure before you trust it: many models are sure of everything.
    """

    name: Final = "confidence"

    def __init__(self, at_least: float = 0.8) -> None:
        """
        Ask nobody yet.

        Args:
            at_least: The confidence from which on an answer will do, above 0 and at most 1.

        Raises:
            ValueError: A threshold that accepts everything, or nothing.

        """
        if not 0 < at_least <= 1:
            raise ValueError(f"ConfidenceGate(at_least={at_least!r}): a number above 0 and at most 1 was expected")
        self._at_least = at_least

    def prepare(self, request: ModelRequest, /) -> ModelRequest:
        """The request, with the question how sure the model is."""
        system = INSTRUCTION if not request.system else f"{request.system}\n\n{INSTRUCTION}"
        return replace(request, system=system)

    def check(
        self,
        request: ModelRequest,  # noqa: ARG002 - the answer says it all
        response: ModelResponse,
        *,
        context: RequestContext | None = None,  # noqa: ARG002 - it calls nobody
    ) -> Ruling:
        """Whether the model is sure enough."""
        report = read_confidence(response.text)
        confidence = report.confidence
        if confidence is None:
            return Ruling(accepted=False, reason="no confidence can be read in it", text=report.answer)
        sure = confidence >= self._at_least
        return Ruling(
            accepted=sure,
            reason="" if sure else f"its confidence {confidence:g} is below {self._at_least:g}",
            text=report.answer,
            confidence=confidence,
        )
