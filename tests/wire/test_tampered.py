"""A test whose answers are tampered with: first it is watched, then its calls have a defect, and are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest

from pytest_modelroute import MockProviders
from pytest_modelroute.errors import UnscriptedCall
from pytest_modelroute.faults import overloaded, rate_limit
from pytest_modelroute.testrun import TestRun
from pytest_modelroute.wire.defects import DEFECTS
from pytest_modelroute.wire.labels import step_label
from pytest_modelroute.wire.observed import Observed, Question
from pytest_modelroute.wire.recorded import Played
from pytest_modelroute.wire.tampered import Mutant, Observer
from tests.wire.taped import Shelf, chat_reply

Ask = Callable[..., httpx.Response]
NewRun = Callable[[], TestRun]
LARGE, MEDIUM, SMALL = "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"
RATE = {"messages": [{"role": "system", "content": "Rate it: LOW or HIGH."}, {"role": "user", "content": "why?"}]}


@contextmanager
def scripted(run: TestRun) -> Iterator[MockProviders]:
    """The scripted providers of a test."""
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        yield scripts


def watched(new_run: NewRun, test: Callable[[MockProviders], Any], *classifiers: str) -> Observed:
    """What an untouched run of a test shows."""
    run, observed = new_run(), Observed()
    run.wire.tampering = Observer(observed, classifiers=frozenset(classifiers))
    with scripted(run) as scripts:
        test(scripts)
    assert run.wire.tampering.changed == 0
    return observed


def mutated(
    new_run: NewRun, name: str, test: Callable[[MockProviders], Any], *, known: Observed, number: int | None = None
) -> TestRun:
    """A run of a test with a defect."""
    run = new_run()
    run.wire.tampering = Mutant(DEFECTS[name], number=number, known=known)
    with scripted(run) as scripts:
        test(scripts)
    return run


def changed(run: TestRun) -> int:
    """How many calls were changed."""
    assert run.wire.tampering is not None
    return run.wire.tampering.changed


def falls_back(ask: Ask) -> Callable[[MockProviders], list[httpx.Response]]:
    """The large model fails, the small one answers; then another question is answered."""

    def test(scripts: MockProviders) -> list[httpx.Response]:
        scripts.on(model=LARGE).fails(overloaded(), times=1).then.replies("fine")
        scripts.on(model=SMALL, optional=True).replies("rescued")
        first, second = ask(LARGE, "a"), ask(SMALL, "a")
        return [first, second, ask(SMALL, "b")]

    return test


def test_the_untouched_run_shows_what_can_apply(ask: Ask, new_run: NewRun) -> None:
    """Each defect once for each test, however many calls it would change."""
    seen = watched(new_run, falls_back(ask))
    assert (seen.calls, seen.answered, seen.tests, seen.recorded) == (3, 3, 1, 0)
    assert set(seen.applies) == {
        *("substitute_model", "drop_fallback", "swallow_error", "delay", "double_usage", "empty_text", "token_limit")
    }
    assert set(seen.applies.values()) == {1}


def test_a_fallbacks_success_is_dropped_and_no_other_answer(ask: Ask, new_run: NewRun) -> None:
    """The same question, asked of another model after a failure."""
    run = mutated(new_run, "drop_fallback", falls_back(ask), known=Observed())
    assert [call.error for call in run.wire.calls] == ["overloaded", "server_error", None]
    assert changed(run) == 1


def test_a_fallback_that_is_dropped_is_dropped_each_time(ask: Ask, new_run: NewRun) -> None:
    """A client that retries would hide the defect."""

    def test(scripts: MockProviders) -> None:
        falls_back(ask)(scripts)
        assert ask(SMALL, "c").status_code == 200
        scripts.on(model=MEDIUM).fails(overloaded())
        assert [ask(model, "d").status_code for model in (MEDIUM, SMALL, SMALL)] == [503, 500, 500]

    assert changed(mutated(new_run, "drop_fallback", test, known=Observed())) == 3


def test_a_retrys_success_is_one_of_the_same_model(ask: Ask, new_run: NewRun) -> None:
    """A fallback is none; nor is a later question that was answered before."""

    def test(scripts: MockProviders) -> None:
        scripts.on(model=LARGE).fails(overloaded(), times=1).then.replies("fine")
        assert [ask(LARGE, prompt).status_code for prompt in ("a", "a", "b")] == [503, 500, 200]

    assert changed(mutated(new_run, "drop_retry", test, known=Observed())) == 1
    assert changed(mutated(new_run, "drop_retry", falls_back(ask), known=Observed())) == 0


def test_a_question_that_was_answered_has_no_failure_to_recover_from(ask: Ask, new_run: NewRun) -> None:
    """The fallback's answer ends the matter."""

    def test(scripts: MockProviders) -> None:
        falls_back(ask)(scripts)
        assert ask(SMALL, "a").status_code == 200

    seen = watched(new_run, test)
    assert seen.applies["drop_retry"] == 0


def test_another_step_that_asks_the_same_is_no_fallback(ask: Ask, new_run: NewRun) -> None:
    """Steps of a workflow often see the same message."""

    def test(scripts: MockProviders) -> None:
        scripts.on(model=LARGE).fails(overloaded())
        scripts.on(model=SMALL).replies("fine")
        with step_label("triage"):
            ask(LARGE)
        with step_label("answer"):
            ask(SMALL)

    assert watched(new_run, test).applies["drop_fallback"] == 0


def rates(ask: Ask) -> Callable[[MockProviders], list[str]]:
    """A classifier says LOW and HIGH; another model answers in free text."""

    def test(scripts: MockProviders) -> list[str]:
        scripts.on(model=SMALL).replies(["LOW", "HIGH"])
        scripts.on(model=LARGE).replies("Since the card was reported stolen on Monday.")
        said = [ask(model, **body) for model, body in ((SMALL, RATE), (SMALL, RATE), (LARGE, {}))]
        return [reply.json()["choices"][0]["message"]["content"] for reply in said]

    return test


def test_labels_are_flipped_and_free_text_is_not(ask: Ask, new_run: NewRun) -> None:
    """Another label of those that the same kind of question was answered with."""
    seen, told = watched(new_run, rates(ask)), list[str]()
    run = mutated(new_run, "flip_label", lambda scripts: told.extend(rates(ask)(scripts)), known=seen)
    assert told == ["HIGH", "LOW", "Since the card was reported stolen on Monday."]
    assert changed(run) == 2


@pytest.mark.parametrize(("number", "count"), [(1, 2), (2, 0)])
def test_one_kind_of_label_is_flipped_alone(ask: Ask, new_run: NewRun, number: int, count: int) -> None:
    """By its number; there is one kind here."""
    seen = watched(new_run, rates(ask))
    assert changed(mutated(new_run, "flip_label", rates(ask), known=seen, number=number)) == count


def question(labels: dict[str, int], calls: int) -> Question:
    """A kind of question that was answered so."""
    made = Question(model="m", opening="", calls=calls)
    made.labels.update(labels)
    return made


@pytest.mark.parametrize(
    ("labels", "calls", "labelled"),
    [
        ({"LOW": 1, "HIGH": 1}, 2, True),
        ({"LOW": 9}, 9, False),  # to what could it be flipped?
        ({"LOW": 4, "HIGH": 4}, 20, False),  # most answers are free text
        ({"a": 2, "b": 2, "c": 2, "d": 2, "e": 2}, 10, True),
        ({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}, 5, False),  # short answers, each its own
    ],
)
def test_a_few_answers_again_and_again_are_labels(labels: dict[str, int], calls: int, labelled: bool) -> None:
    """So that no free answer counts as one."""
    assert question(labels, calls).is_labelled is labelled


@pytest.mark.parametrize(
    ("text", "is_label"),
    [
        ("HIGH", True),
        (" book_flight.\n", True),
        ("out of scope", True),
        ('{"label": "HIGH"}', True),
        ("A longer answer, in words", False),
        ("It depends", True),
        (f'{{"why": "{"x" * 90}"}}', False),
        ("", False),
    ],
)
def test_what_may_be_a_label(ask: Ask, new_run: NewRun, text: str, is_label: bool) -> None:
    """A word, up to three, or a little JSON."""

    def test(scripts: MockProviders) -> None:
        scripts.otherwise(text)
        ask(SMALL)

    seen = watched(new_run, test)
    assert any(each.labels for each in seen.questions.values()) is is_label


def test_what_a_declared_classifier_says_is_a_label(ask: Ask, new_run: NewRun) -> None:
    """Also where it says more than a label."""

    def test(scripts: MockProviders) -> None:
        scripts.on(model=SMALL).replies(["I think it is simple, all in all", "I think it is hard, all in all"])
        ask(SMALL), ask(SMALL)

    assert len(watched(new_run, test).labelled) == 0
    assert len(watched(new_run, test, SMALL).labelled) == 1


@pytest.mark.parametrize(("name", "asked", "count"), [("misroute_down", SMALL, 2), ("misroute_up", LARGE, 2)])
def test_every_call_goes_to_the_cheapest_or_the_dearest_model(
    ask: Ask, new_run: NewRun, name: str, asked: str, count: int
) -> None:
    """The log says so, the scripts of that model answer, and its price is paid."""

    def test(scripts: MockProviders) -> list[str]:
        for model in (SMALL, MEDIUM, LARGE):
            scripts.on(model=model, optional=True).replies(f"from {model}", usage={"fresh_input": 10, "output": 10})
        return [ask(model).json()["model"] for model in (LARGE, MEDIUM, SMALL)]

    told = list[str]()
    run = mutated(new_run, name, lambda scripts: told.extend(test(scripts)), known=watched(new_run, test))
    assert told == run.wire.calls.models == [asked] * 3
    assert {call.text for call in run.wire.calls} == {f"from {asked}"}
    assert len({call.cost_usd for call in run.wire.calls}) == 1
    assert {call.request.body["model"] for call in run.wire.calls} == {asked}
    assert changed(run) == count


def test_a_misrouted_call_that_no_script_expects_fails_the_test(ask: Ask, new_run: NewRun) -> None:
    """As it would if the application asked the wrong model."""
    known = watched(new_run, falls_back(ask))

    def test(scripts: MockProviders) -> None:
        scripts.on(model=LARGE).replies("fine")
        ask(LARGE)

    with pytest.raises(UnscriptedCall):
        mutated(new_run, "misroute_down", test, known=known)


def test_models_without_a_price_are_told_apart_by_name(ask: Ask, new_run: NewRun) -> None:
    """Some other model is better than none."""

    def test(scripts: MockProviders) -> None:
        scripts.otherwise("fine")
        ask("toy-a"), ask("toy-b")

    run = mutated(new_run, "misroute_down", test, known=watched(new_run, test))
    assert run.wire.calls.models == ["toy-a", "toy-a"]


def test_a_substitute_is_another_model_of_the_run(ask: Ask, new_run: NewRun) -> None:
    """The next one in the alphabet."""
    known = watched(new_run, falls_back(ask))
    run = mutated(new_run, "substitute_model", falls_back(ask), known=known)
    assert [call.model_answered for call in run.wire.calls] == ["", LARGE, LARGE]


def test_a_stripped_retry_after_is_none_on_the_wire_either(ask: Ask, new_run: NewRun) -> None:
    """As seconds and as a date."""

    def test(scripts: MockProviders) -> None:
        scripts.on(model=LARGE).fails(rate_limit(retry_after=3), times=1).then.fails(rate_limit(retry_after_date=9))
        for _ in range(2):
            assert "retry-after" not in ask(LARGE).headers

    assert changed(mutated(new_run, "strip_retry_after", test, known=Observed())) == 2


def test_an_answer_is_a_minute_late_on_the_virtual_clock(ask: Ask, new_run: NewRun) -> None:
    """Nobody waits for it."""

    def test(scripts: MockProviders) -> None:
        scripts.otherwise("fine", latency=0.5)
        ask(LARGE)

    (call,) = mutated(new_run, "delay", test, known=Observed()).wire.calls
    assert call.latency_s == 60.5


def test_the_real_server_is_tampered_with_too(new_run: NewRun) -> None:
    """A client in another process gets the same answer."""
    run = new_run()
    run.wire.tampering = Mutant(DEFECTS["empty_text"], number=None, known=Observed())
    with scripted(run) as scripts:
        scripts.on(model="m").replies("fine")
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        reply = httpx.post(f"{scripts.url('openai')}/chat/completions", json=body, timeout=10)
    assert reply.json()["choices"][0]["message"]["content"] == ""
    assert changed(run) == 1


@pytest.mark.parametrize("clock", [True, False])
def test_the_real_server_makes_nobody_wait_for_a_minute(new_run: NewRun, clock: bool) -> None:
    """Where a latency is really waited for, a second has to do."""
    run = new_run()
    recorder = Recorder()
    run.wire.tampering = recorder
    with scripted(run) as scripts:
        scripts.otherwise("fine")
        if not clock:
            run.wire.clock, run.wire.speed = None, 1.0
        url = scripts.url("openai") if clock else "https://api.openai.com/v1"
        httpx.post(f"{url}/chat/completions", json={"model": "m", "messages": []}, timeout=10)
    assert recorder.in_real_time == [True]


class Recorder:
    """Notes what it is told of time."""

    changed = 0

    def __init__(self) -> None:
        """Nothing yet."""
        self.in_real_time: list[bool] = []

    def redirect(self, call: Any) -> None:
        """Leave it."""

    def answer(self, call: Any, language: Any, answer: Any, *, in_real_time: bool) -> Any:
        """As it is."""
        self.in_real_time.append(in_real_time)
        return answer


def replays(ask: Ask, run: TestRun, models: tuple[str, ...]) -> list[httpx.Response]:
    """A test on recordings of these models, each with a member that only its provider knows."""
    shelf = Shelf()
    run.wire.recordings = shelf
    with run.listening():
        for model in models:
            body = chat_reply("recorded").replace(b'"model": "m"', f'"own": 1, "model": "{model}"'.encode())
            sent = httpx.Request("POST", "https://x", json=question_of(model)).content
            played = Played(status=200, headers=(), body=body, plain=body, latency_s=0.5, where="a tape")
            shelf.put("POST", "https://api.openai.com/v1/chat/completions", sent, played)
        shelf.live = False
        return [ask(model) for model in models]


def question_of(model: str) -> dict[str, Any]:
    """What `ask` sends."""
    return {"model": model, "messages": [{"role": "user", "content": "hi"}]}


def test_a_recorded_answer_is_tampered_with_as_a_scripted_one(ask: Ask, new_run: NewRun) -> None:
    """And the untouched run knows that it is recorded."""
    run, observed = new_run(), Observed()
    run.wire.tampering = Observer(observed, classifiers=frozenset())
    (untouched,) = replays(ask, run, (LARGE,))
    assert (untouched.json()["own"], observed.recorded, observed.answered) == (1, 1, 1)
    run = new_run()
    run.wire.tampering = Mutant(DEFECTS["empty_text"], number=None, known=observed)
    (reply,) = replays(ask, run, (LARGE,))
    assert reply.json()["choices"][0]["message"]["content"] == ""
    assert (run.wire.calls[0].text, run.wire.calls[0].latency_s) == ("", 0.5)


def test_a_recorded_reply_that_is_written_anew_loses_what_only_its_provider_knows(ask: Ask, new_run: NewRun) -> None:
    """Which is why a suite on recordings is tried with that first."""
    run = new_run()
    run.wire.tampering = Mutant(None, number=None, known=Observed())
    (reply,) = replays(ask, run, (LARGE,))
    assert reply.json()["choices"][0]["message"]["content"] == "recorded"
    assert "own" not in reply.json()
    assert changed(run) == 1


def test_a_recorded_call_is_misrouted_at_the_price_of_the_other_model(ask: Ask, new_run: NewRun) -> None:
    """The same words, as if the other model had said them."""
    run, observed = new_run(), Observed()
    run.wire.tampering = Observer(observed, classifiers=frozenset())
    replays(ask, run, (SMALL, LARGE))
    run = new_run()
    run.wire.tampering = Mutant(DEFECTS["misroute_up"], number=None, known=observed)
    replies = replays(ask, run, (SMALL, LARGE))
    assert [reply.json()["model"] for reply in replies] == run.wire.calls.models == [LARGE, LARGE]
    assert {call.text for call in run.wire.calls} == {"recorded"}
    assert {call.cost_usd for call in run.wire.calls} == {Decimal("0.000046")}
    assert changed(run) == 1


def test_what_several_processes_have_seen_is_added_up(ask: Ask, new_run: NewRun) -> None:
    """Workers of xdist see a part each; JSON carries it."""
    parts = [watched(new_run, rates(ask)), watched(new_run, falls_back(ask))]
    whole = Observed.together(Observed.from_json(part.to_json()) for part in parts)
    assert (whole.calls, whole.tests, whole.answered) == (6, 2, 6)
    assert whole.applies == parts[0].applies + parts[1].applies
    assert set(whole.models["openai openai-chat"]) == {SMALL, LARGE}
    assert whole.labelled == parts[0].labelled
    assert whole.has_choice
    assert Observed.together([parts[0], parts[0]]).questions[parts[0].labelled[0]].calls == 4


def test_nothing_is_known_of_a_provider_that_was_not_seen(ask: Ask, new_run: NewRun) -> None:
    """So that nothing is misrouted, and no label flipped."""
    for name in ("misroute_down", "flip_label"):
        assert changed(mutated(new_run, name, rates(ask), known=Observed())) == 0
