"""The heuristic classifier: points for words, code and questions, and never an error."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, Settings
from pytest_modelroute.router import HeuristicClassifier, ModelClient, ModelRequest, ModelRouter
from pytest_modelroute.router.classifier import CATEGORIES

UNLABELLED = HeuristicClassifier()
CODE = [
    "why?\n```\nx\n```",
    "def total(items):",
    "    async def total(items):",
    "class Order:",
    "import os\nwhat is it",
    "from os import path",
    "function total(items)",
    "const total = 3",
    "#include <stdio.h>",
    "SELECT id FROM orders WHERE 1",
    "Traceback (most recent call last):",
    "if (a) {\n  b",
    "total();\nnext",
]
PROSE = [
    "where is my parcel",
    "please select a seat from the list",
    "is this a first class ticket",
    "import duties are too high",
    "from Zurich to Basel",
    "I want it back; you know why",
    "let us go",
    "",
    " \n\t",
]


@pytest.mark.parametrize(
    ("words", "category"), [(0, "LOW"), (39, "LOW"), (40, "MEDIUM"), (149, "MEDIUM"), (150, "HIGH"), (9999, "HIGH")]
)
def test_words_make_it_harder(words: int, category: str) -> None:
    """From 40 on, and again from 150 on."""
    assert UNLABELLED.category("word " * words) == category


@pytest.mark.parametrize(
    ("text", "category"),
    [("a?", "LOW"), ("a? b?", "MEDIUM"), ("a? b? c?", "MEDIUM"), ("a? b? c? d?", "HIGH"), ("一？二？", "MEDIUM")],  # noqa: RUF001
)
def test_questions_make_it_harder(text: str, category: str) -> None:
    """From two on, and again from four on."""
    assert UNLABELLED.category(text) == category


@pytest.mark.parametrize("text", CODE)
def test_code_makes_it_harder(text: str) -> None:
    """Once."""
    assert UNLABELLED.category(text) == "MEDIUM"


@pytest.mark.parametrize("text", PROSE)
def test_prose_is_no_code(text: str) -> None:
    """Words of programs are words of people too."""
    assert UNLABELLED.category(text) == "LOW"


def test_points_add_up() -> None:
    """Code and two questions are hard."""
    assert UNLABELLED.category("def total(items): what? why?") == "HIGH"


def test_labels_can_be_given() -> None:
    """A project may have tiers of its own."""
    classifier = HeuristicClassifier(labels={"LOW": "cheap", "MEDIUM": "cheap", "HIGH": "dear"})
    assert [classifier.classify(text) for text in ("a", "a? b? c? d?")] == ["cheap", "dear"]


@law(deadline=None)
@given(text=st.text())
def test_no_text_raises_an_error(text: str) -> None:
    """Lone surrogates and control characters included."""
    assert UNLABELLED.classify(text) in {"small", "medium", "large"}


TEXTS = st.text() | st.lists(st.sampled_from([*CODE, *PROSE, "?", "\n", " ", "}", "a"])).map("".join)


@law(deadline=None)
@given(text=TEXTS, more=TEXTS)
def test_more_text_never_makes_it_easier(text: str, more: str) -> None:
    """Wherever the first part ends."""
    ranks = [CATEGORIES.index(UNLABELLED.category(prompt)) for prompt in (text, text + more)]
    assert ranks == sorted(ranks)


def test_code_is_looked_for_at_the_beginning() -> None:
    """Ten million characters are not searched for it."""
    spaces = " " * 20_000
    assert [UNLABELLED.category(text) for text in (CODE[0] + spaces * 500, spaces * 500 + CODE[0])] == ["MEDIUM", "LOW"]


def test_a_router_takes_it_in_place_of_a_model(
    mock_providers: MockProviders, settings: Settings, client: ModelClient
) -> None:
    """Nobody is asked how hard a request is."""
    mock_providers.otherwise("Because.")
    router = ModelRouter(settings, client=client, classifier=HeuristicClassifier())
    for prompt in ("Hi", "What? Why?", "What? Why? Who? When?"):
        router.route(ModelRequest(prompt=prompt, step="solve"))
    assert mock_providers.calls.models == ["gpt-quick", "gpt-solid", "claude-deep"]


@pytest.mark.asyncio
async def test_a_router_takes_it_in_async_code(
    mock_providers: MockProviders, settings: Settings, client: ModelClient
) -> None:
    """Alike."""
    mock_providers.otherwise("Because.")
    await ModelRouter(settings, client=client, classifier=HeuristicClassifier()).aroute(
        ModelRequest(prompt="Hi", step="solve")
    )
    await client.aclose()
    assert mock_providers.calls.models == ["gpt-quick"]


def test_it_adds_nothing_to_an_estimate(settings: Settings, client: ModelClient) -> None:
    """It calls nobody, so the dearest model is all there is to pay."""
    router = ModelRouter(settings, client=client, classifier=HeuristicClassifier())
    estimate = router.estimate(ModelRequest(prompt="Hi", step="solve", params={"max_tokens": 10}))
    assert (estimate.model, estimate.cost_usd) == ("deep", Decimal("0.000808"))
