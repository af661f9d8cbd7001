"""Self-reported confidence: what is read, and what is none."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from pytest_modelroute.providers.exchange import Usage
from pytest_modelroute.router import ConfidenceGate, ModelRequest, ModelResponse, SelfReport, read_confidence
from pytest_modelroute.router.confidence import INSTRUCTION


@pytest.mark.parametrize(
    "text",
    [
        "Answer: 4\nConfidence: 0.85",
        "answer: 4\nconfidence: 0.85",
        "ANSWER: 4\nCONFIDENCE: 85%",
        "Answer: 4\nConfidence: 85 %",
        "Answer: 4\nConfidence: 85 percent",
        "Answer: 4\nConfidence: 0,85",
        "Answer: 4\nConfidence: .85",
        "Answer: 4\nConfidence: 85/100",
        "Answer: 4\nConfidence: 85 out of 100.",
        "Answer: 4\nConfidence: 0.85 (fairly sure)",
        "Answer: 4\nConfidence = 0.85",
        "Answer: 4\nConfidence is 0.85",
        "Answer: 4\nConfidence score: 0.85",
        "Answer: 4\nConfidence\n0.85",
        "Answer: 4\r\nConfidence:\r\n\r\n85%\r\n",
        "**Answer:** 4\n**Confidence:** 85%",
        "**Answer**: 4\n- **Confidence: 0.85**",
        "### Answer\n4\n### Confidence\n`0.85`",
        "> Answer: 4\n> Confidence: _0.85_",
        "```\nAnswer: 4\nConfidence: 0.85\n```",
        "Sure! Here you go.\n\nAnswer: 4\n\nConfidence: 0.85\n\nI hope this helps in 2 ways.",
        "Confidence: 0.85\nAnswer: 4",
        "4\nConfidence: 0.85",
        "Answer: 4\nConfidence: 0.85\n",
    ],
)
def test_a_confidence_is_read(text: str) -> None:
    """Whatever its case, its Markdown and the lines around it; a missing label of the answer is no harm."""
    assert read_confidence(text) == SelfReport(answer="4", confidence=0.85)


@pytest.mark.parametrize(
    "value",
    [
        "1.5",
        "-0.5",
        "- 0.5",
        "−0.5",  # noqa: RUF001 - the minus of typographers
        "150%",
        "85",
        "101/100",
        "0/0",
        "1e-3",
        "0.8-0.9",
        "0.8 or 0.9",
        "1 out of ten",
        "0.85 (2 sources)",
        "0.9.5",
        "high",
        "~0.9",
        "NaN",
        "inf",
        "",
        "\n\n",
    ],
)
def test_what_is_no_number_in_its_range_is_no_confidence(value: str) -> None:
    """A guess would send a bad answer to the caller; the answer itself is read all the same."""
    assert read_confidence(f"Answer: 4\nConfidence: {value}") == SelfReport(answer="4", confidence=None)


@pytest.mark.parametrize("text", ["", "  \n", "Confidence: 0.9", "Answer:\nConfidence: 0.9"])
def test_without_an_answer_there_is_nothing_to_be_sure_of(text: str) -> None:
    """However sure the model is."""
    assert read_confidence(text) == SelfReport(answer="", confidence=None)


@pytest.mark.parametrize("text", ["4", "My confidence: 0.9 is high", "I say 4 with confidence 0.9"])
def test_an_answer_without_the_line_has_no_confidence(text: str) -> None:
    """The word has to begin a line; all of the text is the answer."""
    assert read_confidence(text) == SelfReport(answer=text, confidence=None)


@pytest.mark.parametrize(("last", "confidence"), [("Confidence: 0.2", 0.2), ("Confidence: unknown", None)])
def test_the_last_word_counts(last: str, confidence: float | None) -> None:
    """What an answer quotes of confidences is a part of it."""
    report = read_confidence(f"Answer: They wrote:\nConfidence: 0.99\n{last}")
    assert report == SelfReport(answer="They wrote:\nConfidence: 0.99", confidence=confidence)


def test_the_markup_of_an_answer_is_its_own() -> None:
    """Only that of the labels goes."""
    assert read_confidence("**Answer**: **4**\nConfidence: 1").answer == "**4**"


# Laws

LABELS = [
    before + word + after
    for before, word in product(("", "- ", "## "), ("confidence", "CONFIDENCE", "Confidence"))
    for after in (":", " =", ": ")
]
ANSWERS = (
    st.text(st.characters(codec="utf-8"), min_size=1)
    .map(str.strip)
    .filter(lambda text: text and not any(word in text.casefold() for word in ("confidence", "answer")))
)


@law(max_examples=60, deadline=None)
@given(answer=ANSWERS, percent=st.integers(0, 100), label=st.sampled_from(LABELS), is_share=st.booleans())
def test_what_is_written_in_the_format_is_read(answer: str, percent: int, label: str, is_share: bool) -> None:
    """Any answer, any confidence from 0 to 1."""
    value = str(percent / 100) if is_share else f"{percent}%"
    assert read_confidence(f"Answer: {answer}\n{label} {value}") == SelfReport(answer=answer, confidence=percent / 100)


@law(max_examples=100, deadline=None)
@given(
    text=st.lists(
        st.one_of(
            st.sampled_from(["Answer:", "confidence", ":", "0.9", "%", "\n", "**", "-", "1", "/", " "]), st.text()
        )
    ).map("".join)
)
def test_whatever_a_model_says_is_a_share_or_nothing(text: str) -> None:
    """It never raises, and never leaves the range."""
    report = read_confidence(text)
    assert report.confidence is None or 0 <= report.confidence <= 1
    assert report.answer == report.answer.strip()
    assert report.answer in text


@law(max_examples=60, deadline=None)
@given(number=st.floats(allow_nan=True, allow_infinity=True).filter(lambda number: not 0 <= number <= 1))
def test_a_number_out_of_range_is_no_confidence(number: float) -> None:
    """Rather none than a wrong one."""
    assert read_confidence(f"Answer: 4\nConfidence: {number}").confidence is None


def test_a_very_long_answer_is_read_at_once() -> None:
    """Time grows with the text, whatever it is made of."""
    text = "confidence " * 20_000 + "\n" + "confidence:\n" * 20_000 + "#" * 100_000
    assert read_confidence(text).confidence is None


# The gate

REQUEST = ModelRequest(prompt="2+2?")


def _answer(text: str) -> ModelResponse:
    return ModelResponse(
        text=text,
        model="m",
        model_answered="m",
        usage=Usage(),
        finish_reason="stop",
        tool_calls=(),
        elapsed_s=0,
        attempts=1,
    )


@pytest.mark.parametrize(
    ("said", "accepted"), [("0.8", True), ("0.79", False), ("80%", True), ("1", True), ("0", False)]
)
def test_the_gate_accepts_from_its_threshold_on(said: str, accepted: bool) -> None:
    """At it, too."""
    ruling = ConfidenceGate(0.8).check(REQUEST, _answer(f"Answer: 4\nConfidence: {said}"))
    assert (ruling.accepted, ruling.text) == (accepted, "4")


def test_the_gate_says_why_not() -> None:
    """With both numbers, or that there is none."""
    gate = ConfidenceGate(0.8)
    assert gate.check(REQUEST, _answer("4\nConfidence: 30%")).reason == "its confidence 0.3 is below 0.8"
    assert gate.check(REQUEST, _answer("4\nConfidence: high")).reason == "no confidence can be read in it"


@pytest.mark.parametrize(
    ("system", "asked"), [(None, INSTRUCTION), ("", INSTRUCTION), ("Be brief.", f"Be brief.\n\n{INSTRUCTION}")]
)
def test_the_gate_asks_in_the_system_prompt(system: str | None, asked: str) -> None:
    """After what the application says there."""
    assert ConfidenceGate().prepare(ModelRequest(prompt="2+2?", system=system)).system == asked


@pytest.mark.parametrize("threshold", [0, -1, 1.01, float("nan")])
def test_a_threshold_that_decides_nothing_is_refused(threshold: float) -> None:
    """One of 0 would accept every answer that states a number."""
    with pytest.raises(
        ValueError, match=r"^ConfidenceGate\(at_least=.*\): a number above 0 and at most 1 was expected$"
    ):
        ConfidenceGate(threshold)
