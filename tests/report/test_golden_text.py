"""Golden routes as people read them."""

from __future__ import annotations

from decimal import Decimal

from pytest_modelroute import Case, Price, PriceBook, golden_report, golden_text
from pytest_modelroute.evaluation.golden import GoldenReport
from pytest_modelroute.report.golden import golden_markdown, golden_verdict

TIERS = ("gpt-nano", "gpt-big")


def prices_of(*outputs: int) -> PriceBook:
    """USD per million tokens of output, weakest first."""
    pairs = zip(TIERS, outputs, strict=True)
    return PriceBook(own={name: Price(input=Decimal(1), output=Decimal(price)) for name, price in pairs})


PRICES = prices_of(1, 10)
SLICES = {"chat": ["gpt-nano"] * 30, "maths": ["gpt-nano", "gpt-big"] * 10}
CASES = [
    Case(id=f"{part}-{number:02}", inputs=f"question {number:02} of {part}", expected_route=label, slice=part)
    for part, labels in SLICES.items()
    for number, label in enumerate(labels)
]


def report_of(*, large: range, prices: PriceBook | None = PRICES) -> GoldenReport:
    """The router sends these cases to the large model."""
    taken = {case.id: TIERS[number in large] for number, case in enumerate(CASES)}
    return golden_report(CASES, taken, tiers=TIERS, prices=prices, output_tokens=100)


SAID = """\
golden routes: 14 of 50 cases take an expected route, .28 [.17, .42]; beaten by always-small, beaten by word count, ...
  under-routed: 10 of 50, .20 [.11, .33]; 0.009 USD saved
  over-routed: 26 of 50, .52 [.39, .65]; 0.0234 USD more than the expected routes
  beaten by always-small: .28 [.17, .42] against .80 in agreement (p<.001, n=50)
  beaten by word count: .28 [.17, .42] against .80 in agreement (p<.001, n=50)
  beaten by random: .28 [.17, .42] against .50 in agreement (p=0.0052, n=50)
  dearer than always-small: 0.000573 USD a case against 0.000105 (+0.000339 to +0.000597); and no better: ...
  dearer than word count: 0.000573 USD a case against 0.000285 (+0.000085 to +0.000491); and no better: ...
  in the slice 'chat' beaten by always-small: .13 [.05, .30] against 1.00 in agreement (p<.001, n=30)
  inconclusive in agreement: n=50, needs more cases against always-large (about 611)
  doubtful labels: slices with one label, where always taking it is right: 'chat' (30, gpt-nano); add cases that ...

                agree  95%         under  over  USD
  router        .28    [.17, .42]  10     26    0.02865
  always-small  .80    [.67, .89]  10     0     0.00525
  always-large  .20    [.11, .33]  0      40    0.05025
  word count    .80    [.67, .89]  5      5     0.01425
  random        .50                5      20    0.02775
  always-small is gpt-nano, always-large is gpt-big
  costs estimated: 4 characters of input a token, 100 tokens of output

  slice  n   agree  95%         under  over  best baseline
  chat   30  .13    [.05, .30]  0      26    always-small 1.00
  maths  20  .50    [.30, .70]  10     0     always-small .50

  misrouted:
    maths-01: expected gpt-big, took gpt-nano (under): 'question 01 of maths'
    maths-03: expected gpt-big, took gpt-nano (under): 'question 03 of maths'
    maths-05: expected gpt-big, took gpt-nano (under): 'question 05 of maths'
    maths-07: expected gpt-big, took gpt-nano (under): 'question 07 of maths'
    maths-09: expected gpt-big, took gpt-nano (under): 'question 09 of maths'
    ... 5 more (under)
    chat-00: expected gpt-nano, took gpt-big (over): 'question 00 of chat'
    chat-01: expected gpt-nano, took gpt-big (over): 'question 01 of chat'
    chat-02: expected gpt-nano, took gpt-big (over): 'question 02 of chat'
    chat-03: expected gpt-nano, took gpt-big (over): 'question 03 of chat'
    chat-04: expected gpt-nano, took gpt-big (over): 'question 04 of chat'
    ... 21 more (over)
"""


def test_the_report_says_the_verdict_first_and_then_the_evidence() -> None:
    """Under- and over-routing apart, findings, doubts, the table, the slices, and some cases of each kind."""
    for line, said in zip(golden_text(report_of(large=range(26))).splitlines(), SAID.splitlines(), strict=True):
        assert line.startswith(said.removesuffix("...")) if said.endswith("...") else line == said


def test_a_router_that_is_right_gets_few_words() -> None:
    """Every case, and what that shows."""
    taken = {case.id: str(case.expected_route) for case in CASES}
    report = golden_report(CASES, taken, tiers=TIERS)
    assert golden_verdict(report) == "golden routes: every case takes an expected route, 1.00 [.93, 1.00]"
    text = golden_text(report)
    assert "misrouted" not in text
    assert "USD" not in text
    assert "costs unknown: give prices= or outcomes=" in text


def test_a_case_that_no_model_answered_is_told_apart() -> None:
    """It is neither under- nor over-routed."""
    taken = {case.id: None if case.id == "chat-00" else str(case.expected_route) for case in CASES}
    text = golden_text(golden_report(CASES, taken, tiers=TIERS))
    assert "  no model answered, or one without a tier: 1 of 50, .02 [.00, .10]" in text
    assert "chat-00: expected gpt-nano, no model answered: 'question 00 of chat'" in text


def test_unknown_costs_are_called_unknown() -> None:
    """And no amount is shown."""
    text = golden_text(report_of(large=range(5), prices=None))
    assert "over-routed: 5 of 50, .10 [.04, .21]; their cost is unknown" in text


def test_a_stronger_model_that_is_the_cheaper_one_saves() -> None:
    """A dominated tier shows in the signs."""
    prices = prices_of(10, 1)
    text = golden_text(report_of(large=range(40), prices=prices))
    assert "USD saved, since the stronger routes are cheaper" in text
    assert "USD spent more, since the weaker routes are dearer" in golden_text(report_of(large=range(0), prices=prices))


def test_markdown_says_the_same_in_a_table() -> None:
    """With what Markdown would read as its own escaped."""
    lines = golden_markdown(report_of(large=range(26))).splitlines()
    assert lines[0].startswith("**golden routes: 14 of 50 cases take an expected route, .28 \\[.17, .42\\]; beaten by")
    assert "- over-routed: 26 of 50, .52 \\[.39, .65\\]; 0.0234 USD more than the expected routes" in lines
    assert "- beaten by always-small: .28 \\[.17, .42\\] against .80 in agreement (p\\<.001, n=50)" in lines
    start = lines.index("|  | agree | 95% | under | over | USD |")
    assert lines[start + 1 : start + 3] == [
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| router | .28 | \\[.17, .42\\] | 10 | 26 | 0.02865 |",
    ]
    assert "| chat | 30 | .13 | \\[.05, .30\\] | 0 | 26 | always-small 1.00 |" in lines


def test_markdown_without_slices_and_doubts_is_the_verdict_and_one_table() -> None:
    """A small report stays small."""
    cases = [Case(id=str(number), inputs=f"x{number}", expected_route=TIERS[number % 2]) for number in range(100)]
    report = golden_report(cases, {case.id: str(case.expected_route) for case in cases}, tiers=TIERS)
    text = golden_markdown(report)
    assert "slice" not in golden_text(report)
    assert text.count("| --- |") == 1
    assert "doubtful" not in text
