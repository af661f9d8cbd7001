"""The cases of the example on a real model: complete, labelled as their provenance says, and apart from the prompts."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from examples.real_model.app import EXAMPLES, INTENTS, SETTINGS, one_of
from examples.real_model.versions import WithExamples
from pytest_modelroute import Case, load_cases

FOLDER = Path(__file__).parents[2] / "examples" / "real_model" / "cases"
NAMES = ("questions", "intents")
SMALL = ("qwen2.5-7b-instruct", "llama-3.1-8b-instruct", "mistral-7b-instruct-v0.3", "gemma-2-9b-it")
TIER_OF = {"LOW": "small", "MEDIUM": "medium", "HIGH": "large"}


@cache
def cases(name: str) -> tuple[Case, ...]:
    """The cases of a file."""
    return tuple(load_cases(FOLDER / f"{name}.jsonl"))


def words(text: str) -> str:
    """A text without letter case and punctuation."""
    return " ".join(re.findall(r"\w+", text.lower()))


def gold(case: Case) -> str | None:
    """The label of a question by the rule of the provenance."""
    right = case.metadata["right"]
    if sum(right[model] for model in SMALL) >= 3:
        return "LOW"
    if right["llama-3.1-nemotron-51b-instruct"]:
        return "MEDIUM"
    return "HIGH" if right["llama-3.3-nemotron-super-49b-v1"] else None


@pytest.mark.parametrize("name", NAMES)
def test_there_are_at_least_200_cases(name: str) -> None:
    """Fewer would leave the limits empty."""
    assert len(cases(name)) >= 200


@pytest.mark.parametrize("name", NAMES)
def test_a_line_is_a_case_in_one_spelling(name: str) -> None:
    """Files do not change when a tool reads and writes them again."""
    lines = (FOLDER / f"{name}.jsonl").read_text("utf-8").split("\n")[:-1]
    assert lines == [json.dumps(json.loads(line), ensure_ascii=False) for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_no_text_stands_twice_in_a_file(name: str) -> None:
    """Equal requests would be answered in the order in which they were recorded."""
    texts = Counter(case.inputs for case in cases(name))
    assert [text for text, times in texts.items() if times > 1] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_provenance_counts_the_rows(name: str) -> None:
    """PROVENANCE.md says how many rows each file has."""
    assert f"`{name}.jsonl`: {len(cases(name))} rows" in (FOLDER / "PROVENANCE.md").read_text("utf-8")


def test_the_label_of_a_question_follows_from_what_the_models_got_right() -> None:
    """No label was set by hand."""
    assert [case.id for case in cases("questions") if case.expected_output != gold(case)] == []


def test_the_route_of_a_question_follows_from_its_label() -> None:
    """LOW is small, MEDIUM medium, HIGH large."""
    assert [case.id for case in cases("questions") if case.expected_route != TIER_OF[case.expected_output]] == []


def test_the_provenance_counts_the_labels() -> None:
    """How many questions have which label."""
    counted = Counter(case.expected_output for case in cases("questions"))
    text = (FOLDER / "PROVENANCE.md").read_text("utf-8")
    paragraphs = re.findall(r"^- (LOW|MEDIUM|HIGH),(.*?)(?=^- |\n\n)", text, re.MULTILINE | re.DOTALL)
    written = {label: int(re.findall(r"(\d+) questions", rule)[-1]) for label, rule in paragraphs}
    assert written == dict(counted)


def test_each_intent_has_as_many_messages() -> None:
    """15 intents and out of scope, 13 messages each."""
    assert Counter(case.expected_output for case in cases("intents")) == dict.fromkeys(INTENTS, 13)


def test_the_cases_name_their_source() -> None:
    """The attribution travels with each case."""
    named = {name: {case.metadata["source"] for case in cases(name)} for name in NAMES}
    assert named == {"questions": {"ulab-uiuc/LLMRouter"}, "intents": {"clinc/oos-eval"}}


def test_no_example_of_a_prompt_is_a_case() -> None:
    """The model is not shown what it is asked."""
    shown = {words(text) for text, _ in (*EXAMPLES, *WithExamples.EXAMPLES)}
    assert shown & {words(case.inputs) for name in NAMES for case in cases(name)} == set()


def test_the_prompt_shows_an_example_of_each_intent() -> None:
    """None is left to guessing."""
    assert sorted(intent for _, intent in EXAMPLES) == sorted(INTENTS)


def test_a_grammar_lists_the_labels() -> None:
    """In the notation of llama.cpp."""
    assert one_of(("LOW", "HIGH")) == 'root ::= "LOW" | "HIGH"'


def test_the_tiers_have_names_and_prices_of_their_own() -> None:
    """On the wire a model is known by its name, and a cost that is the same everywhere would show nothing."""
    models = SETTINGS.models.values()
    assert len({model.model for model in models}) == len({model.output_price for model in models}) == 3
