"""What a router is seen to go by, the texts that are made around that, and how scenes and requests are written down."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute.invariants import Act, Ask, RoutingRequest, Scene
from pytest_modelroute.invariants.atlas import vocabulary
from pytest_modelroute.invariants.binding import promises_of
from pytest_modelroute.invariants.checking import check_law
from pytest_modelroute.invariants.laboratory import Laboratory
from pytest_modelroute.invariants.scenes import turns
from pytest_modelroute.invariants.sounding import sound
from pytest_modelroute.invariants.stage import Stage
from pytest_modelroute.invariants.texts import filler, neutral
from tests.invariants.correct_heuristic import CorrectHeuristic
from tests.invariants.heuristic_router import HeuristicRouter


def sounded(router: type[HeuristicRouter], words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """What is found of a router when these words are tried."""

    class Sounded(CorrectHeuristic):
        router_type = router

    promises = promises_of(Sounded)
    with Laboratory().open() as laboratory:
        return sound(Stage(Sounded(), promises, laboratory, name="Sounded"), promises, words)


def test_lengths_and_words_that_move_a_route_are_found() -> None:
    """Lengths and words that move a route are found."""
    words = ("hello", "prove", "order", "invoice", "weather", "improve", "shoes", "debug", "thanks", "contract")
    assert sounded(HeuristicRouter, words) == (("prove", "invoice", "debug", "contract"), (401, 2001))


def test_a_router_that_goes_by_words_in_number_has_boundaries_too() -> None:
    """A router that goes by words in number has boundaries too."""

    class Counting(HeuristicRouter):
        def choose(self, prompt: str) -> str:
            return "gpt-5" if len(prompt.split()) > 30 else "gpt-5-nano"

    assert sounded(Counting, ()) == ((), (len("word " * 30) + 1,))


def test_many_keywords_are_not_looked_for_without_end() -> None:
    """Many keywords are not looked for without end."""
    words = tuple(f"prove{letter * 3}" for letter in "abcdefghijklmnopqrstuvwxyz") * 2

    class Prefix(HeuristicRouter):
        def choose(self, prompt: str) -> str:
            return "gpt-5" if "prove" in prompt else "gpt-5-nano"

    found, _ = sounded(Prefix, words)
    assert 24 <= len(found) < len(words)


def test_the_words_of_a_router_are_those_of_its_code_and_of_what_it_holds() -> None:
    """The words of a router are those of its code, and of what it holds."""

    class Holding(HeuristicRouter):
        pattern = re.compile(r"\b(crash|outage)\b")

        def __init__(self) -> None:
            self.words = ["chargeback"]

        @staticmethod
        def rules() -> tuple[str, ...]:
            return ("step by step", r"\bkernel\b")

        @property
        def more(self) -> list[str]:
            return [*self.words, "lawsuit", "x" * 300]

    home = vars(HeuristicRouter)["__module__"]
    Holding.__module__ = home
    import sys

    module = sys.modules[home]
    module.Holding = Holding  # type: ignore[attr-defined]
    for member in ("rules", "more"):
        function = vars(Holding)[member]
        inner: Any = getattr(function, "__func__", None) or function.fget
        inner.__module__ = home
    try:
        words = set(vocabulary(Holding()))
    finally:
        del module.Holding
    assert {"crash", "outage", "chargeback", "step by step", "kernel", "lawsuit", "prove", "translate"} <= words


def test_a_plain_function_is_found_by_what_ask_names() -> None:
    """A plain function is found by what `ask` names."""

    class Function(CorrectHeuristic):
        def ask(self, router: Any, request: Any) -> Any:
            return HeuristicRouter(router, "key").choose(request.prompt)

    assert "prove" in vocabulary(object(), Function)
    assert vocabulary(object()) == []


@given(st.integers(1, 3000))
def test_a_filler_has_its_length_and_no_space_at_its_ends(length: int) -> None:
    """A filler has its length, and no space at its ends."""
    text = filler(length)
    assert len(text) == length
    assert text == text.strip()


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9 .-]{2,20}", fullmatch=True))
def test_a_word_that_means_nothing_looks_like_the_other(word: str) -> None:
    """A word that means nothing looks like the other."""
    other = neutral(word)
    assert [letter.isupper() for letter in other] == [letter.isupper() for letter in word]
    assert [letter for letter in other if not letter.isalpha()] == [letter for letter in word if not letter.isalpha()]
    changed = [a != b for a, b in zip(word, other, strict=True) if a.lower() in "abcdefghijklmnopqrstuvwxz"]
    assert all(changed)


@pytest.mark.parametrize(
    "prompt",
    ["x" * 500, "  \n" + "word " * 100 + "\t \n", "abc" * 200 + " Then prove it", "".join(map(chr, range(40, 900)))],
)
def test_a_long_prompt_is_written_as_what_makes_it_again(prompt: str) -> None:
    """A long prompt is written as what makes it again."""
    written = repr(RoutingRequest(prompt=prompt))
    again: Any = eval(written, {"RoutingRequest": RoutingRequest})  # noqa: S307 - our own text
    assert again == RoutingRequest(prompt=prompt)
    assert len(written) < 120 or len(set(prompt)) > 100


def test_an_act_is_played_as_often_as_it_says_with_its_prompts_numbered() -> None:
    """An act is played as often as it says, with its prompts numbered."""
    act = Act(asks=(Ask(request=RoutingRequest(prompt="order {n}")),), times=3, pause=5)
    once = Act(asks=(Ask(request=RoutingRequest(prompt="{n}")),))
    played = list(turns(Scene(acts=(act, once))))
    assert [one.asks[0].request.prompt for one in played] == ["order 1", "order 2", "order 3", "{n}"]
    assert [one.pause for one in played] == [5, 5, 5, 0]


def test_a_long_example_is_not_taken_for_one_that_breaks_a_law_sometimes() -> None:
    """
    A long example is not taken for one that breaks a law sometimes.

    Hypothesis warns of it, and here, as in many suites, warnings are errors.
    """

    class Long(CorrectHeuristic):
        golden: ClassVar[Any] = [
            {"id": str(number), "inputs": f"{number} {''.join(map(chr, range(40, 900)))}", "expected_route": "gpt-5"}
            for number in range(40)
        ]
        equivalences = ()
        monotone = False

    finding = check_law(Long, "golden_routes")
    assert finding.violation is not None
    assert not finding.sometimes
