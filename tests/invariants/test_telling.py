"""What a broken promise reads like: short, in order, and with a test that fails in the same way."""

from __future__ import annotations

from typing import Any, ClassVar

import httpx
import pytest

from pytest_modelroute.errors import PromiseError, SubjectError
from pytest_modelroute.invariants import Act, Ask, RoutingInvariants, RoutingRequest, Scene
from pytest_modelroute.invariants.checking import check_law
from pytest_modelroute.invariants.search import Finding
from pytest_modelroute.invariants.telling import summary, tell

SMALL, LARGE = "gpt-5-nano", "gpt-5"


class Picky(RoutingInvariants):
    """A router that cannot read an empty prompt, nor a very long one."""

    tiers: ClassVar[Any] = (SMALL, LARGE)
    limit: ClassVar[int] = 1000
    calls: ClassVar[int] = 1

    def make_router(self, providers: Any) -> Any:
        """A function of a prompt."""
        url = f"{providers.url('openai')}/chat/completions"

        def route(prompt: str) -> str:
            if len(prompt) > self.limit:
                raise ValueError("too long")
            body = {"model": SMALL, "messages": [{"role": "user", "content": prompt}]}
            for _ in range(self.calls):
                reply = httpx.post(url, json=body, timeout=5)
            if not prompt.strip():
                raise IndexError("list index out of range")
            return str(reply.json()["choices"][0]["message"]["content"])

        return route

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        return router(request.prompt)


class Long(Picky):
    """A router that reads everything but long prompts."""

    def ask(self, router: Any, request: Any) -> Any:
        """Ask it."""
        return router(request.prompt if request.prompt.strip() else "empty")


class Chatty(Picky):
    """A router that makes many calls for one answer."""

    calls = 40


class Whole(Long):
    """A router that reads everything."""

    limit = 10**9


def finding(kind: type[RoutingInvariants], *, seed: int = 0) -> Finding:
    """What came of trying totality."""
    found = check_law(kind, "totality", profile="ci", seed=seed)
    assert found.status == "violated"
    return found


@pytest.fixture(scope="module")
def picky() -> Finding:
    """Of a prompt without a word."""
    return finding(Picky)


def test_the_sections_come_in_order(picky: Finding) -> None:
    """The law, what was expected, the example, what happened, what to do, and how to keep it."""
    told = tell(picky, name="TestSupport", test="tests/test_x.py::TestSupport::test_totality")
    places = [
        told.index(part)
        for part in (
            "TestSupport breaks totality: ",
            "  expected: an answer, since every provider was healthy",
            "  seen:     ask raised IndexError: list index out of range",
            "smallest example:",
            "  ask(without any message)",
            "what happened:",
            "openai/gpt-5-nano",
            "why it matters: ",
            "where to look: ",
            "to keep it from coming back:",
            "def test_totality_regression():",
            "; again: pytest tests/test_x.py::TestSupport::test_totality --modelroute-seed 0",
        )
    ]
    assert places == sorted(places)


def test_a_report_fits_on_a_screen(picky: Finding) -> None:
    """Nobody reads a second one."""
    lines = tell(picky, name="TestSupport").splitlines()
    assert len(lines) < 40
    assert max(map(len, lines)) < 200


def test_the_example_is_the_smallest(picky: Finding) -> None:
    """In a line."""
    assert summary(picky) == "ask(without any message)"


@pytest.mark.parametrize("seed", [0, 7])
def test_every_seed_shrinks_to_the_same_example(seed: int) -> None:
    """Whatever was found first."""
    assert summary(finding(Picky, seed=seed)) == "ask(without any message)"


def test_a_long_prompt_is_cut_with_its_length() -> None:
    """In the example; in the test it is a sum."""
    told = tell(finding(Long), name="TestSupport")
    assert "ask('word word" in told
    assert " characters)" in told
    assert " * " in told
    assert max(map(len, told.splitlines())) < 250


def test_a_long_timeline_is_cut() -> None:
    """And says how much is left out."""
    told = tell(finding(Chatty), name="TestSupport")
    assert "  ... and 16 more calls" in told
    assert len(told.splitlines()) < 60


def regression(found: Finding) -> str:
    """The test to paste, as it is printed."""
    told = tell(found, name="Subject").partition("to keep it from coming back:\n")[2].partition("\n\nfound after")[0]
    return "\n".join(line[2:] for line in told.splitlines())


@pytest.mark.parametrize("kind", [Picky, Long])
def test_the_printed_test_fails_in_the_same_way(kind: type[RoutingInvariants]) -> None:
    """As soon as it is pasted."""
    found = finding(kind)
    namespace: dict[str, Any] = {"Subject": kind}
    exec(regression(found), namespace)  # noqa: S102 - what is printed to be run
    assert found.violation is not None
    with pytest.raises(AssertionError, match=r"breaks totality: ") as error:
        namespace["test_totality_regression"]()
    assert f"  seen:     {found.violation.seen}" in str(error.value)


def test_the_printed_test_passes_once_it_is_mended() -> None:
    """So that it may stay."""
    namespace: dict[str, Any] = {"Subject": Whole}
    exec(regression(finding(Long)), namespace)  # noqa: S102 - what is printed to be run
    namespace["test_totality_regression"]()


SCENE = Scene(acts=(Act(asks=(Ask(request=RoutingRequest(prompt="hi")),)),))


def test_check_needs_no_pytest() -> None:
    """It returns where the law holds."""
    Whole.check("totality", SCENE)


def test_check_names_the_nearest_law() -> None:
    """For one that is none."""
    with pytest.raises(PromiseError, match=r"Whole: there is no law 'totalty'; did you mean 'totality'\?"):
        Whole.check("totalty", SCENE)


def test_check_says_why_a_router_cannot_be_used() -> None:
    """In one sentence."""

    class Broken(Whole):
        def make_router(self, providers: Any) -> Any:
            raise KeyError("URL")

    with pytest.raises(SubjectError, match=r"Broken\.make_router raised KeyError: 'URL'"):
        Broken.check("totality", SCENE)
