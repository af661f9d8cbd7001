"""
Scripted models that behave like real ones: they know the labels of the cases, and make seeded mistakes.

A weaker model is wrong more often, and most often where a query is hard. The shares are made up to be plausible; what a
real model reaches is measured with a recording of it.
"""

import hashlib
import json
from pathlib import Path

from pytest_modelroute import MockProviders, ProviderCall
from pytest_modelroute.router.classifier import INSTRUCTION

CASES = {
    case["inputs"]: case
    for case in map(json.loads, (Path(__file__).parent / "cases" / "intents.jsonl").read_text("utf-8").splitlines())
}
LABEL_OF_TIER = {"small": "LOW", "medium": "MEDIUM", "large": "HIGH"}
CONFUSED_WITH = {
    "balance": "bill_balance",
    "bill_balance": "pay_bill",
    "book_flight": "flight_status",
    "cancel_reservation": "schedule_meeting",
    "card_declined": "report_fraud",
    "flight_status": "order_status",
    "greeting": "oos",
    "order_status": "flight_status",
    "pay_bill": "bill_balance",
    "reminder": "schedule_meeting",
    "report_fraud": "card_declined",
    "schedule_meeting": "reminder",
    "transfer": "pay_bill",
    "translate": "oos",
    "weather": "oos",
    "oos": "greeting",
}
ACCURACY = {  # model -> tier that a query belongs to -> share answered right
    "gpt-4.1-nano": {"small": 0.96, "medium": 0.84, "large": 0.55},
    "gpt-4.1-mini": {"small": 0.98, "medium": 0.96, "large": 0.78},
    "gpt-4.1": {"small": 0.99, "medium": 0.98, "large": 0.96},
}
LATENCY = {
    "gpt-4.1-nano": (0.11, 0.07),
    "gpt-4.1-mini": (0.16, 0.09),
    "gpt-4.1": (0.20, 0.11),
}  # seconds: least, spread


def script(mock_providers: MockProviders) -> None:
    """Script the classifier and the three tiers."""
    mock_providers.on(model="small", when=asks_for_difficulty).replies(difficulty, latency=latency)
    for alias in ("small", "medium", "large"):
        mock_providers.on(model=alias).replies(intent, latency=latency)


def asks_for_difficulty(call: ProviderCall) -> bool:
    """Whether a call is the classifier's."""
    return call.messages[0].text == INSTRUCTION


def difficulty(call: ProviderCall) -> str:
    """The right label for 96 of 100 queries, the next one up for the others."""
    label = LABEL_OF_TIER[CASES[call.prompt]["expected_route"]]
    return {"LOW": "MEDIUM", "MEDIUM": "HIGH", "HIGH": "HIGH"}[label] if chance("label", call) > 0.96 else label


def intent(call: ProviderCall) -> str:
    """The intent of a query, or the one that it is easily confused with."""
    case = CASES[call.prompt]
    right = chance("intent", call) <= ACCURACY[call.model][case["expected_route"]]
    return case["expected_output"] if right else CONFUSED_WITH[case["expected_output"]]


def latency(call: ProviderCall) -> float:
    """Seconds, spread by the query."""
    least, spread = LATENCY[call.model]
    return round(least + spread * chance(f"latency {len(call.messages[0].text)}", call), 3)


def chance(what: str, call: ProviderCall) -> float:
    """A number from 0 to 1 that depends on the question alone, so that every run is the same."""
    digest = hashlib.sha256(f"7 {what} {call.model} {call.prompt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32
