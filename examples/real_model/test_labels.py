"""The classifiers' questions by themselves, asked with OpenAI's client: is the answer a label, and which?"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from examples.real_model.app import SmallModel, client
from examples.real_model.versions import classifier
from pytest_modelroute import StepEvaluator, load_cases
from pytest_modelroute.router.classifier import CATEGORIES

LABELLED = [
    replace(case, expected_route=None)  # this step asks one model, so that no route of it is right or wrong
    for case in load_cases(Path(__file__).parent / "cases" / "questions.jsonl")
]


@pytest.mark.usefixtures("recorded_providers")
@pytest.mark.step_threshold("rate_difficulty", min_pass_rate=0.95, min_recall=0.50)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_rate_difficulty(evaluate_step: StepEvaluator, asking_version: str, stream: bool) -> None:
    """Nearly every answer is a label, and half of the questions of each get theirs: a constant reaches a third."""
    evaluate_step(LABELLED, run=rating(asking_version, stream=stream), score=is_label)


def rating(version: str, *, stream: bool) -> Callable[[str], str]:
    """Asks the model what a classifier would ask it."""
    asked, model = classifier(version, client()), SmallModel()

    def rate(question: str) -> str:
        found = asked.question(question)
        assert found is not None
        return model.ask(found[1], stream=stream)

    return rate


def is_label(answer: str, expected: str) -> float:
    """1 for the right label, 0.5 for another one, 0 for what is none."""
    label = answer.strip(" .").upper()
    return 1.0 if label == expected else 0.5 * (label in CATEGORIES)


is_label.pass_mark = 0.5  # type: ignore[attr-defined]  # a function may carry the score from which on it passes
