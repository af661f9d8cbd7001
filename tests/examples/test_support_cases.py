"""The gold data of the support agent: complete, consistent with the order book, and worth its labels."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from itertools import combinations
from pathlib import Path
from statistics import median

import pytest

from pytest_modelroute import Case, load_cases

FOLDER = Path(__file__).parent.parent.parent / "examples" / "support_agent" / "cases"
LEAST = {"intents": 240, "entities": 120, "triage": 120, "answers": 120, "safety": 1020}
"File -> the cases that it has at least."
ENTITIES = ("order_id", "product", "amount", "date")
ORDERS: Mapping[str, Mapping[str, str | None]] = {
    order["id"]: order for order in json.loads((FOLDER / "orders.json").read_text("utf-8"))
}
RULES: Mapping[str, str] = json.loads((FOLDER / "house_rules.json").read_text("utf-8"))
UNSAFE = {
    "threats",
    "self_harm",
    "harassment",
    "account_takeover",
    "fraud_requests",
    "money_laundering",
    "personal_data",
    "prompt_injection",
    "dangerous_goods",
    "blackmail",
}
ORDER_ID = re.compile(r"A-\d{5}")


@cache
def cases(name: str) -> tuple[Case, ...]:
    """The cases of a file."""
    return tuple(load_cases(FOLDER / f"{name}.jsonl"))


def message(case: Case) -> str:
    """What the customer wrote."""
    return str(case.inputs["message"] if isinstance(case.inputs, Mapping) else case.inputs)


def words(case: Case) -> list[str]:
    """The words of a message, without letter case and punctuation."""
    return re.findall(r"\w+", message(case).lower())


def faulty(name: str, is_right: Callable[[Case], bool]) -> list[str]:
    """The ids of the cases of a file that are not right."""
    return [case.id for case in cases(name) if not is_right(case)]


@pytest.mark.parametrize("name", LEAST)
def test_a_file_holds_as_many_cases_as_its_step_needs(name: str) -> None:
    """Fewer would leave the limits of the step empty."""
    assert len(cases(name)) >= LEAST[name]


@pytest.mark.parametrize("name", LEAST)
def test_a_line_is_a_case_in_one_spelling(name: str) -> None:
    """Files do not change when a tool reads and writes them again."""
    lines = (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()
    assert lines == [json.dumps(json.loads(line), ensure_ascii=False) for line in lines]


def test_no_id_is_used_twice_in_the_example() -> None:
    """A case is found by its id alone, whatever its step."""
    ids = Counter(case.id for name in LEAST for case in cases(name))
    assert max(ids.values()) == 1


@pytest.mark.parametrize("name", LEAST)
def test_the_ids_of_a_file_are_counted_through(name: str) -> None:
    """A prefix for the file, and numbers without a gap."""
    ids = [case.id for case in cases(name)]
    prefix = ids[0].split("-")[0]
    width = len(ids[0]) - len(prefix) - 1
    assert ids == [f"{prefix}-{number:0{width}}" for number in range(1, len(ids) + 1)]


@pytest.mark.parametrize("name", LEAST)
def test_no_message_stands_twice_in_a_file(name: str) -> None:
    """Also with other letter case and punctuation a message is one case."""
    texts = Counter(" ".join(words(case)) for case in cases(name))
    assert [text for text, times in texts.items() if times > 1] == []


@pytest.mark.parametrize("name", LEAST)
def test_the_provenance_counts_the_rows(name: str) -> None:
    """PROVENANCE.md says how many rows each file has."""
    assert f"`{name}.jsonl`: {len(cases(name))} rows" in (FOLDER / "PROVENANCE.md").read_text("utf-8")


def test_each_intent_has_as_many_queries() -> None:
    """15 intents and out of scope, 15 queries each."""
    intents = Counter(case.expected_output for case in cases("intents"))
    assert len(intents) == 16
    assert set(intents.values()) == {15}


def test_the_queries_name_their_source() -> None:
    """The attribution travels with each query."""
    assert {case.metadata["source"] for case in cases("intents")} == {"clinc/oos-eval"}


def test_an_entity_case_says_something_of_every_entity() -> None:
    """Each key is there, null where the message has none."""
    assert faulty("entities", lambda case: tuple(case.expected_output) == ENTITIES) == []


@pytest.mark.parametrize(
    ("key", "form"), [("order_id", r"A-\d{5}"), ("amount", r"\d+\.\d\d"), ("date", r"\d{4}-\d\d-\d\d")]
)
def test_entities_are_in_their_normal_forms(key: str, form: str) -> None:
    """A-10432, 49.90, 2026-03-14."""
    given = {case.id: case.expected_output[key] for case in cases("entities") if case.expected_output[key] is not None}
    assert [id_ for id_, value in given.items() if not re.fullmatch(form, value)] == []


def test_dates_are_days_of_the_calendar() -> None:
    """There is no 30 February."""
    days = [case.expected_output["date"] for case in cases("entities") if case.expected_output["date"]]
    assert [date.fromisoformat(day).isoformat() for day in days] == days


def test_products_are_named_as_in_the_shop() -> None:
    """Singular or plural, lower case: the name in the order book."""
    named = {case.expected_output["product"] for case in cases("entities")} - {None}
    assert named <= {order["product"] for order in ORDERS.values()}


def test_entities_are_taken_from_the_message() -> None:
    """The digits of an order id and a day, and the amount, stand in the message."""
    assert faulty("entities", stands_in_message) == []


def stands_in_message(case: Case) -> bool:
    """Whether the numbers in the entities are in the text, however they are written."""
    order_id, _, amount, day = (case.expected_output[key] for key in ENTITIES)
    text = re.sub(r"(?<=\d)[.,](?=\d{3}(?!\d))", "", case.inputs)
    sums = {Decimal(number.replace(",", ".")) for number in re.findall(r"\d+(?:[.,]\d\d)?", text)}
    numbers = {number.lstrip("0") for number in re.findall(r"\d+", text)}
    wanted = {order_id[2:]} if order_id else set()
    wanted |= {day[:4], day[8:].lstrip("0")} if day else set()
    return wanted <= numbers and (amount is None or Decimal(amount) in sums)


def test_an_order_id_is_in_the_order_book_or_marked_unknown() -> None:
    """Some are unknown on purpose, and say so."""
    ids = {case.id: case.expected_output["order_id"] for case in cases("entities")}
    unknown = [case.id for case in cases("entities") if case.metadata.get("unknown_order")]
    assert unknown == [id_ for id_, order_id in ids.items() if order_id is not None and order_id not in ORDERS]


def test_a_known_order_is_of_the_product_that_the_message_names() -> None:
    """The message, the entities and the book tell one story."""
    pairs = {(case.expected_output["order_id"], case.expected_output["product"]) for case in cases("entities")}
    known = [(order_id, product) for order_id, product in pairs if order_id in ORDERS and product]
    assert [(order_id, product) for order_id, product in known if ORDERS[order_id]["product"] != product] == []


def test_every_entity_is_often_there_and_often_missing() -> None:
    """Neither always null nor never null is a way to pass."""
    for key in ENTITIES:
        given = sum(case.expected_output[key] is not None for case in cases("entities"))
        assert 0.3 <= given / len(cases("entities")) <= 0.7, key


def test_triage_is_balanced_as_promised() -> None:
    """About 60 simple for 40 complex."""
    share = sum(case.expected_output == "simple" for case in cases("triage")) / len(cases("triage"))
    assert {case.expected_output for case in cases("triage")} == {"simple", "complex"}
    assert 0.55 <= share <= 0.65


def test_a_complex_issue_says_by_which_clause_of_the_rule() -> None:
    """Simple issues name none."""
    assert faulty("triage", lambda case: ("reason" in case.metadata) == (case.expected_output == "complex")) == []


@pytest.mark.parametrize("name", ["triage", "answers"])
def test_the_clauses_are_those_of_the_provenance(name: str) -> None:
    """Each clause is used, and written down."""
    written = re.findall(r"^  - `(\w+)`:", (FOLDER / "PROVENANCE.md").read_text("utf-8"), re.MULTILINE)
    assert {case.metadata["reason"] for case in cases(name) if "reason" in case.metadata} == set(written)


def test_triage_uses_the_intents_of_the_first_step() -> None:
    """What triage is given is what classify_intent can say, and each intent occurs."""
    assert {case.inputs["intent"] for case in cases("triage")} == {case.expected_output for case in cases("intents")}


def test_length_does_not_tell_simple_from_complex() -> None:
    """The near misses are long but simple, and short but complex."""
    lengths: dict[tuple[str | None, str], list[int]] = {}
    for case in cases("triage"):
        lengths.setdefault((case.slice, case.expected_output), []).append(len(words(case)))
    assert min(lengths["long_but_simple", "simple"]) > median(lengths["plain", "complex"])
    assert max(lengths["short_but_complex", "complex"]) < median(lengths["plain", "simple"]) + 1


def test_complexity_decides_the_route_of_an_answer() -> None:
    """Simple issues go to the medium tier, complex ones to the large one."""
    tiers = {"simple": "medium", "complex": "large"}
    assert faulty("answers", lambda case: case.expected_route == tiers[case.inputs["complexity"]]) == []


def test_a_complex_answer_says_by_which_clause_of_the_rule() -> None:
    """The rule is that of triage."""
    assert faulty("answers", lambda case: ("reason" in case.metadata) == (case.inputs["complexity"] == "complex")) == []


def test_the_order_of_an_answer_is_that_of_the_book() -> None:
    """lookup_order finds what the case was written with."""
    about_orders = {case.id: case.inputs["order"] for case in cases("answers") if case.inputs["order"]}
    assert [id_ for id_, order in about_orders.items() if order != ORDERS.get(order["id"])] == []


def test_a_message_about_an_order_names_it() -> None:
    """No other order, and none where the case has none."""
    assert faulty("answers", lambda case: set(ORDER_ID.findall(message(case))) == order_ids(case)) == []


def order_ids(case: Case) -> set[str]:
    """The id of the order of an answer, if it has one."""
    return {case.inputs["order"]["id"]} if case.inputs["order"] else set()


def test_the_reference_holds_all_facts() -> None:
    """A right answer in full passes its own facts."""
    assert faulty("answers", lambda case: all(holds(case.metadata["reference"], case))) == []


def holds(text: str, case: Case) -> list[bool]:
    """For each fact of an answer, whether the text has it."""
    return [fact.casefold() in text.casefold() for fact in case.expected_output]


def test_facts_come_from_where_the_case_says() -> None:
    """The order, a house rule, the message, or a sum or date worked out from them."""
    assert faulty("answers", lambda case: list(map(fact_of, *sources_of(case))) == case.expected_output) == []


def test_the_dates_of_a_reference_are_facts_or_of_the_order() -> None:
    """A full answer makes nothing up."""
    assert faulty("answers", lambda case: dates_of_reference(case) <= known_to(case)) == []


def dates_of_reference(case: Case) -> set[str]:
    """The dates in the full answer."""
    return set(re.findall(r"\d{4}-\d\d-\d\d", case.metadata["reference"]))


def known_to(case: Case) -> set[str]:
    """The facts of an answer and what its order says."""
    return {*case.expected_output, *(value for value in (case.inputs["order"] or {}).values() if value)}


def test_repeating_the_question_is_no_answer() -> None:
    """At least one fact is not in the message."""
    assert faulty("answers", lambda case: not all(holds(message(case), case))) == []


def test_no_fact_is_part_of_another() -> None:
    """Each fact asks for something of its own."""
    assert (
        faulty("answers", lambda case: not any(a in b or b in a for a, b in combinations(case.expected_output, 2)))
        == []
    )


def test_answers_are_balanced_as_promised() -> None:
    """About 60 simple for 40 complex, most of them about an order."""
    simple = sum(case.inputs["complexity"] == "simple" for case in cases("answers"))
    assert 0.55 <= simple / len(cases("answers")) <= 0.65
    assert {case.inputs["order"] is None for case in cases("answers")} == {True, False}


def test_safety_has_enough_of_both_labels() -> None:
    """A recall of 99.5% is empty on fewer than 700 positives."""
    labels = Counter(case.expected_output for case in cases("safety"))
    assert set(labels) == {"unsafe", "safe"}
    assert labels["unsafe"] >= 720
    assert labels["safe"] >= 300


def test_every_kind_of_harm_has_as_many_cases() -> None:
    """Ten slices of positives, of equal size."""
    slices = Counter(case.slice for case in cases("safety") if case.expected_output == "unsafe")
    assert set(slices) == UNSAFE
    assert len(set(slices.values())) == 1


def test_every_kind_of_harm_has_harmless_look_alikes() -> None:
    """Hard negatives share words with each slice of positives; they are safe."""
    alike = Counter(case.metadata["resembles"] for case in cases("safety") if case.slice == "hard_negative")
    assert set(alike) == UNSAFE
    assert min(alike.values()) >= 20
    assert {case.slice for case in cases("safety") if case.expected_output == "safe"} == {"hard_negative", "plain"}


def test_no_two_safety_messages_are_nearly_the_same() -> None:
    """At most four of five words are shared."""
    bags = [(case.id, frozenset(words(case))) for case in cases("safety")]
    near = [
        (one, other)
        for (one, a), (other, b) in combinations(bags, 2)
        if len(a & b) > 0.8 * (len(a) + len(b) - len(a & b))
    ]
    assert near == []


def test_the_order_ids_in_safety_messages_exist() -> None:
    """Wherever a message names an order, the book has it."""
    named = {order_id for case in cases("safety") for order_id in ORDER_ID.findall(case.inputs)}
    assert named
    assert named <= set(ORDERS)


def sources_of(case: Case) -> tuple[list[str], list[str], list[Case]]:
    """The sources of an answer, its facts and the answer itself, side by side."""
    return case.metadata["sources"], case.expected_output, [case] * len(case.expected_output)


def fact_of(source: str, fact: str, case: Case) -> str:
    """What a source gives: the fact, where it stands in a text; else a value that should be equal to it."""
    if source == "message":
        return fact if fact in message(case) else ""
    if source.startswith("rules."):
        return fact if fact.casefold() in RULES[source.removeprefix("rules.")].casefold() else ""
    return work_out(source, case) if " " in source else operand(source, case)


def operand(text: str, case: Case) -> str:
    """A field of the order, or a value that stands in the message or in a house rule."""
    if text.startswith("order."):
        return str(case.inputs["order"][text.removeprefix("order.")])
    assert text in message(case) or any(text in rule for rule in RULES.values())
    return text


def work_out(source: str, case: Case) -> str:
    """A sum such as `order.amount - 79.00`, or a date such as `order.delivered + 30 days`."""
    first, sign, number, *unit = source.split(" ")
    if unit:
        return move(date.fromisoformat(operand(first, case)), int(sign + number), unit[0]).isoformat()
    if sign == "*":
        return str(Decimal(operand(first, case)) * int(number))
    right = Decimal(operand(number, case))
    return str(Decimal(operand(first, case)) + (right if sign == "+" else -right))


def move(day: date, count: int, unit: str) -> date:
    """A day so many days or years later."""
    return day.replace(year=day.year + count) if unit == "years" else day + timedelta(days=count)
