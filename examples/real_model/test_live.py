"""
Records everything anew from the server of serve.py: `pytest test_live.py --modelroute-live --modelroute-record=all`.

No limits here: what misses its limits is recorded too, so that the other tests can show how it is caught.
"""

import pytest

from examples.real_model.app import IntentDesk
from examples.real_model.test_labels import LABELLED, is_label, rating
from examples.real_model.test_questions import says_something
from examples.real_model.versions import desk
from pytest_modelroute import StepEvaluator

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("recorded_providers")]


def test_the_answers_to_questions(evaluate_step: StepEvaluator, version: str) -> None:
    """With each classifier."""
    evaluate_step("cases/questions.jsonl", run=desk(version).answer, step="answer", score=says_something)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_labels(evaluate_step: StepEvaluator, asking_version: str, stream: bool) -> None:
    """Of each classifier that asks the model."""
    evaluate_step(LABELLED, run=rating(asking_version, stream=stream), step="rate_difficulty", score=is_label)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_intents(evaluate_step: StepEvaluator, intents: IntentDesk, way: str, stream: bool) -> None:
    """In each way."""
    evaluate_step(
        "cases/intents.jsonl", run=lambda message: intents.ask(message, way, stream=stream), step="classify_intent"
    )
