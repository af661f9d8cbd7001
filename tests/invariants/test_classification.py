"""The laws of classification: each finds its defects, and is lenient where routers may differ."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pytest_modelroute import faults
from pytest_modelroute.invariants import Classifier, Fails, RoutingInvariants, Script
from pytest_modelroute.invariants.checking import check_law
from pytest_modelroute.invariants.law import Violation
from pytest_modelroute.invariants.promises import BudgetPromise
from pytest_modelroute.invariants.seen import SeenAsk
from tests.invariants.choices import LARGE, MINI, NANO, call, classified, judged, played, seen
from tests.invariants.correct import Correct
from tests.invariants.correct_anthropic import CorrectAnthropic
from tests.invariants.defects.classification import DEFECTS

LABELS = {"LOW": NANO, "MEDIUM": MINI, "HIGH": LARGE}
SAID = {
    ("classifier_labels", "Contains"): "gpt-5-nano, for the answer 'SLOW'",
    ("classifier_labels", "StartsWith"): "claude-haiku-4-5, for the answer 'simpleer'",
    ("classifier_labels", "Exact"): "gpt-5, for the answer ",
    ("classifier_labels", "Crashes"): "no model: ask raised KeyError: ",
    ("classifier_labels", "Swapped"): "for the answer ",
    ("classifier_fail_safe", "CheapByDefault"): "gpt-5-nano",
    ("classifier_fail_safe", "OutageUncaught"): "no model: ask raised API",
    ("classifier_fail_safe", "OutageIsCheap"): "gpt-5-nano",
    ("classifier_fail_safe", "Contains"): "gpt-5-",
    ("classifier_overhead", "AsksThrice"): "the classifier takes 17% of the latency, by 3 calls a request",
    ("classifier_overhead", "AsksTwice"): "the classifier takes 12% of the latency, by 2 calls a request",
    ("classifier_overhead", "DearClassifier"): "of the cost, by 1 calls a request",
}
"What the violation of each defect says was seen."


@pytest.mark.parametrize(("law", "kind"), [(law, kind) for law, kinds in DEFECTS.items() for kind in kinds], ids=str)
def test_each_law_finds_its_defects(law: str, kind: type[RoutingInvariants]) -> None:
    """Each law finds its defects."""
    finding = check_law(kind, law)
    assert finding.violation is not None
    assert SAID[law, kind.__name__] in finding.violation.seen


@pytest.mark.parametrize("kind", [Correct, CorrectAnthropic])
def test_no_law_accuses_a_correct_router(kind: type[RoutingInvariants]) -> None:
    """No law accuses a correct router."""
    assert {law: check_law(kind, law, profile="quick").status for law in DEFECTS} == dict.fromkeys(DEFECTS, "held")


def read(*asks: SeenAsk, labels: dict[str, str] = LABELS, **promises: Any) -> Violation | None:
    """What the law of labels says to requests in scenes of their own."""
    classifier = Classifier("gpt-4.1-nano", labels=labels)
    return judged("classifier_labels", [played(ask) for ask in asks], classifier=classifier, **promises)


@pytest.mark.parametrize("answer", ["LOW", "low", "Low", " LOW\n", "\n\n low \t\n"])
def test_a_label_leads_to_its_tier_whatever_its_case_and_padding(answer: str) -> None:
    """A label leads to its tier whatever its case and padding."""
    assert read(classified(answer, NANO), safe_tier=LARGE) is None
    violation = read(classified(answer, LARGE), safe_tier=LARGE)
    assert violation is not None
    assert violation.expected.startswith("gpt-5-nano, where this label leads")


@pytest.mark.parametrize("answer", ["LOW.", '"low"', "**LOW**", "LOW!"])
def test_a_label_with_signs_around_it_may_be_unknown(answer: str) -> None:
    """A label with signs around it may be unknown."""
    assert read(classified(answer, NANO), safe_tier=LARGE) is None
    assert read(classified(answer, LARGE), safe_tier=LARGE) is None
    violation = read(classified(answer, MINI), safe_tier=LARGE)
    assert violation is not None
    assert violation.expected == "gpt-5-nano, where this label leads, or gpt-5, where unknown labels go"


@pytest.mark.parametrize("answer", ["SLOW", "below", "LOWER"])
def test_a_label_is_found_in_no_other_word(answer: str) -> None:
    """A label is found in no other word."""
    assert read(classified(answer, LARGE), safe_tier=LARGE) is None
    violation = read(classified(answer, NANO), safe_tier=LARGE)
    assert violation is not None
    assert violation.expected == "gpt-5: the answer is none of the labels, though one is a part of it"


def test_without_a_safe_tier_such_a_word_goes_where_any_unknown_one_goes() -> None:
    """Without a safe tier such a word goes where any unknown one goes."""
    unknown = classified("banana", MINI)
    assert read(unknown, classified("SLOW", MINI)) is None
    violation = read(unknown, classified("SLOW", NANO))
    assert violation is not None
    assert violation.expected.startswith("gpt-5-mini, as for 'banana'")


def test_without_a_safe_tier_both_may_raise() -> None:
    """Without a safe tier both may raise."""
    unknown = classified("banana", error=ValueError("banana"))
    assert read(unknown, classified("SLOW", error=ValueError("SLOW"))) is None
    assert read(unknown, classified("low", error=ValueError("low"))) is not None


def test_labels_that_differ_in_case_alone_are_told_apart_by_it() -> None:
    """Labels that differ in case alone are told apart by it."""
    labels = {"A": NANO, "a": LARGE}
    assert read(classified("A", NANO), labels=labels, safe_tier=MINI) is None
    assert read(classified("a", NANO), labels=labels, safe_tier=MINI) is not None


def test_a_request_that_was_not_classified_says_nothing_of_labels() -> None:
    """A request that was not classified says nothing of labels."""
    assert read(seen(MINI, label="LOW"), safe_tier=LARGE) is None


def test_an_answer_that_looks_like_a_classification_says_nothing_either() -> None:
    """Where the classifier is a tier, and a rule sent the request there without asking it first."""
    only = seen(call(NANO, role="classifier"), label="HIGH")
    assert read(only, safe_tier=LARGE) is None


def test_a_classifier_that_is_asked_again_in_other_words_is_no_tier() -> None:
    """A classifier that is asked again in other words is no tier."""
    assert read(classified("low", "gpt-4.1-nano", NANO), safe_tier=LARGE) is None


def safe(ask: SeenAsk, said: str | Fails, **promises: Any) -> Violation | None:
    """What the law of the safe tier says to a request whose classifier said this."""
    given = {"classifier": Classifier("gpt-4.1-nano", labels=LABELS), "safe_tier": LARGE, **promises}
    return judged("classifier_fail_safe", [played(ask, script=Script(label=said))], **given)


def test_what_is_no_label_goes_to_the_safe_tier() -> None:
    """What is no label goes to the safe tier."""
    assert safe(classified("banana", LARGE), "banana") is None
    violation = safe(classified("banana", NANO), "banana")
    assert violation is not None
    assert violation.expected == "gpt-5, the safe tier, since the classifier answered 'banana'"
    assert violation.counts == {1: "no label came of this"}


def test_a_classifier_that_fails_leads_to_the_safe_tier() -> None:
    """A classifier that fails leads to the safe tier."""
    failed = call("gpt-4.1-nano", role="classifier", status=500, completed=False)
    violation = safe(seen(failed, error=RuntimeError("500")), Fails(faults.server_error()))
    assert violation is not None
    assert violation.expected == "gpt-5, the safe tier, since the classifier failed"
    assert violation.seen == "no model: ask raised RuntimeError: 500"


def test_a_classifier_that_used_up_the_time_excuses_the_router() -> None:
    """A classifier that used up the time excuses the router."""
    slow = call("gpt-4.1-nano", role="classifier", ended=20.0, completed=False)
    ask = seen(slow, error=TimeoutError())
    assert safe(ask, Fails(faults.read_timeout()), deadline=30.0) is None
    assert safe(ask, Fails(faults.read_timeout()), deadline=60.0) is not None


def test_a_budget_excuses_a_refusal() -> None:
    """A budget excuses a refusal."""
    ask = classified("banana", error=RuntimeError("nothing is left"))
    assert safe(ask, "banana", budget=BudgetPromise(1)) is None
    assert safe(ask, "banana") is not None


def takes(*asks: SeenAsk, overhead: float = 0.1) -> Violation | None:
    """What the law of the overhead says."""
    classifier = Classifier("gpt-4.1-nano", labels=LABELS, overhead=overhead)
    return judged("classifier_overhead", [played(ask) for ask in asks], classifier=classifier)


def spending(cost: str | None, ended: float = 1.0) -> SeenAsk:
    """A request whose classification cost so much, and whose answer cost 1 USD."""
    paid = None if cost is None else Decimal(cost)
    return classified("LOW", call(NANO, 2, ended=ended, cost=Decimal(1)), cost=paid)


def test_the_share_is_that_of_all_labels_together() -> None:
    """The share is that of all labels together."""
    assert takes(spending("0.15"), spending("0.01")) is None
    violation = takes(spending("0.3"), spending("0.01"))
    assert violation is not None
    assert violation.expected == "at most 10% of what a request takes, over one request for each label"
    assert violation.seen == "the classifier takes 13% of the cost, by 1 calls a request"


def test_with_an_unknown_price_time_alone_counts() -> None:
    """With an unknown price time alone counts."""
    assert takes(spending(None)) is None
    violation = takes(spending(None, ended=0.2))
    assert violation is not None
    assert violation.seen == "the classifier takes 20% of the latency, by 1 calls a request"


def test_a_classification_beside_an_answer_takes_no_time() -> None:
    """A classification beside an answer takes no time."""
    beside = seen(call("gpt-4.1-nano", role="classifier", ended=0.2), call(NANO, 2, ended=0.3))
    assert takes(beside) is None


def test_a_request_that_failed_says_nothing_of_shares() -> None:
    """A request that failed says nothing of shares."""
    assert takes(classified("LOW", error=RuntimeError("x"))) is None


@pytest.mark.parametrize("overhead", [0.02, 0.5])
def test_one_classification_fits_into_whatever_share_is_declared(overhead: float) -> None:
    """One classification fits into whatever share is declared."""

    class Declared(CorrectAnthropic):
        classifier = Classifier(CorrectAnthropic.classifier.model, CorrectAnthropic.classifier.labels, overhead)

    finding = check_law(Declared, "classifier_overhead", profile="quick")
    assert finding.violation is None or "of the cost" in finding.violation.seen
