"""What a few plain requests show of a router."""

from __future__ import annotations

import re
from typing import Any

from pytest_modelroute.invariants.atlas import Atlas, survey, vocabulary
from pytest_modelroute.invariants.binding import promises_of
from pytest_modelroute.invariants.laboratory import Laboratory
from pytest_modelroute.invariants.stage import Stage
from tests.invariants.correct import Correct

KEYWORDS = {"refund": "gpt-5", "legal-question": "gpt-5"}
PATTERN = re.compile(r"urgent|asap")


class Worded:
    """A router whose code knows some words."""

    topics = ("invoice", ["shipping"])

    def route(self, prompt: str) -> str:
        """Choose by a word."""
        return "gpt-5" if "contract" in prompt else "gpt-5-nano"


def surveyed(kind: Any) -> Atlas:
    """The atlas of a class."""
    laboratory = Laboratory()
    with laboratory.open():
        promises = promises_of(kind)
        return survey(Stage(kind(), promises, laboratory, name=kind.__name__), promises, kind)


def test_every_tier_has_its_ways() -> None:
    """With the answer of the classifier that leads there."""
    atlas = surveyed(Correct)
    assert {*atlas.ways} == {"gpt-5-nano", "gpt-5-mini", "gpt-5"}
    assert {way.label for way in atlas.ways["gpt-5"]} == {"HIGH"}


def test_the_classifiers_calls_are_learned() -> None:
    """So are the style of the router and who was asked where."""
    atlas = surveyed(Correct)
    assert atlas.learned is not None
    assert atlas.is_async
    assert atlas.providers["gpt-4.1-nano"] == "openai"


def test_the_words_of_a_routers_code_are_found() -> None:
    """In its constants, values and patterns."""
    assert {"refund", "legal-question", "urgent", "invoice", "shipping", "contract"} <= {*vocabulary(Worded())}


def test_a_function_has_words_too() -> None:
    """Those of its module."""
    assert "refund" in vocabulary(test_a_function_has_words_too)


def test_what_is_of_a_library_has_none() -> None:
    """Only the user's own code is read."""
    assert vocabulary(object()) == []
