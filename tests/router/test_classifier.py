"""The LLM classifier: a label is read as nothing but the whole answer, and everything else is the strongest tier."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import settings as law
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, Settings, faults
from pytest_modelroute.errors import SettingsError
from pytest_modelroute.providers.exchange import Message
from pytest_modelroute.router import LLMClassifier, ModelClient
from pytest_modelroute.router.classifier import INSTRUCTION, LABELS

PADDING = st.text(string.whitespace + string.punctuation, max_size=6)
UNASKED = LLMClassifier(ModelClient(Settings()), "judge")


@st.composite
def _any_case(draw: st.DrawFn, label: str) -> str:
    flips = draw(st.lists(st.booleans(), min_size=len(label), max_size=len(label)))
    return "".join(letter.lower() if flip else letter for letter, flip in zip(label, flips, strict=True))


@law(deadline=None)
@given(data=st.data(), label=st.sampled_from(sorted(LABELS)), before=PADDING, after=PADDING)
def test_a_label_is_read_in_any_case_and_padding(data: st.DataObject, label: str, before: str, after: str) -> None:
    """Models write `Low.`, `**HIGH**` and the like."""
    assert UNASKED.read(before + data.draw(_any_case(label)) + after) == LABELS[label]


@law(deadline=None)
@given(answer=st.text())
def test_any_other_text_is_the_strongest_tier(answer: str) -> None:
    """What is no label counts as hard."""
    assume(answer.strip(string.whitespace + string.punctuation).upper() not in LABELS)
    assert UNASKED.read(answer) == "large"


@law(deadline=None)
@given(
    label=st.sampled_from(sorted(LABELS)),
    before=st.text(string.ascii_letters + string.digits),
    after=st.text(string.ascii_letters + string.digits + " "),
)
def test_a_label_inside_a_word_is_no_label(label: str, before: str, after: str) -> None:
    """A label counts only as the whole answer."""
    assume(before or after.strip())
    assert UNASKED.read(before + label + after) == "large"


@pytest.mark.parametrize(
    "answer", ["SLOW", "ALLOW", "LOW: simple", "LOW or MEDIUM", "", " ", "...", "LOWER", "L O W", "I'd say LOW", "小"]
)
def test_answers_that_only_look_like_labels_are_the_strongest_tier(answer: str) -> None:
    """A careless reader would take each of these for a label, or for none at all."""
    assert UNASKED.read(answer) == "large"


def test_labels_and_strongest_tier_can_be_given() -> None:
    """A project may have words and tiers of its own."""
    classifier = LLMClassifier(ModelClient(Settings()), "judge", labels={"Easy": "cheap"}, strongest="dear")
    assert [classifier.read(answer) for answer in ("easy.", "LOW")] == ["cheap", "dear"]


def test_the_model_is_the_alias_that_is_asked() -> None:
    """The alias is known before any call."""
    assert UNASKED.model == "judge"


def test_the_question_is_cheap_and_certain(mock_providers: MockProviders, client: ModelClient) -> None:
    """The label is asked for at temperature 0 and with five tokens."""
    mock_providers.on(model="gpt-judge").replies("LOW")
    LLMClassifier(client, "judge").classify("2 + 2?")
    assert mock_providers.calls[0].params == {"temperature": 0, "max_tokens": 5}


def test_the_question_is_the_instruction_and_the_prompt(mock_providers: MockProviders, client: ModelClient) -> None:
    """The prompt stands alone in the user message, away from the instruction."""
    mock_providers.on(model="gpt-judge").replies("LOW")
    LLMClassifier(client, "judge").classify("2 + 2?")
    assert mock_providers.calls[0].messages == (
        Message(role="system", text=INSTRUCTION),
        Message(role="user", text="2 + 2?"),
    )


@pytest.mark.parametrize(
    ("answer", "tier"), [("LOW", "small"), ("medium", "medium"), ("High.", "large"), ("?", "large")]
)
def test_the_answer_decides_on_the_tier(
    mock_providers: MockProviders, client: ModelClient, answer: str, tier: str
) -> None:
    """What the model says is read as a label."""
    mock_providers.on(model="gpt-judge").replies(answer)
    assert LLMClassifier(client, "judge").classify("2 + 2?") == tier


@pytest.mark.asyncio
@pytest.mark.parametrize(("answer", "tier"), [("LOW", "small"), ("?", "large")])
async def test_the_answer_decides_on_the_tier_in_async_code(
    mock_providers: MockProviders, client: ModelClient, answer: str, tier: str
) -> None:
    """Async code reads labels alike."""
    mock_providers.on(model="gpt-judge").replies(answer)
    classified = await LLMClassifier(client, "judge").aclassify("2 + 2?")
    await client.aclose()
    assert classified == tier


FAILURES = pytest.mark.parametrize(
    "fault",
    [
        faults.authentication(),
        faults.rate_limit(),
        faults.connect_error(),
        faults.read_timeout(),
        faults.malformed_body(),
    ],
    ids=lambda fault: fault.name,
)


@FAILURES
def test_a_failing_classifier_is_the_strongest_tier(
    mock_providers: MockProviders, client: ModelClient, fault: faults.Fault
) -> None:
    """An outage of the classifier must not send hard requests to a weak model."""
    mock_providers.on(model="gpt-judge").fails(fault)
    assert LLMClassifier(client, "judge", strongest="top").classify("2 + 2?") == "top"


@FAILURES
@pytest.mark.asyncio
async def test_a_failing_classifier_is_the_strongest_tier_in_async_code(
    mock_providers: MockProviders, client: ModelClient, fault: faults.Fault
) -> None:
    """Async code fails safe alike."""
    mock_providers.on(model="gpt-judge").fails(fault)
    classified = await LLMClassifier(client, "judge", strongest="top").aclassify("2 + 2?")
    await client.aclose()
    assert classified == "top"


def test_a_classifier_that_is_set_up_wrongly_is_no_outage(settings: Settings) -> None:
    """A missing key is told, not hidden behind the dearest model."""
    with pytest.raises(SettingsError, match="there is no key for provider 'openai'"):
        LLMClassifier(ModelClient(settings, keys={}), "judge").classify("2 + 2?")
