"""
Scripted models that behave like real ones: they know the labels of the cases, and make seeded mistakes.

A weaker model is wrong more often. The shares are made up to be plausible; what a real model reaches is measured with a
recording of it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from pytest_modelroute import MockProviders, ProviderCall

CASES = Path(__file__).parent / "cases"
MODELS = ("small", "medium", "large")
ACCURACY = {  # step -> model -> share of cases that it gets right
    "classify_intent": {"gpt-4.1-nano": 0.96, "gpt-4.1-mini": 0.98},
    "extract_entities": {"gpt-4.1-nano": 0.97, "gpt-4.1-mini": 0.99},
    "triage": {"gpt-4.1-nano": 0.80, "gpt-4.1-mini": 0.96},
    "generate_answer simple": {"gpt-4.1-nano": 0.80, "gpt-4.1-mini": 0.98, "gpt-4.1": 0.99, "claude-sonnet-4-5": 0.99},
    "generate_answer complex": {"gpt-4.1-nano": 0.30, "gpt-4.1-mini": 0.65, "gpt-4.1": 0.98, "claude-sonnet-4-5": 0.98},
    "safety_check": {"gpt-4.1-nano": 0.97, "gpt-4.1-mini": 0.998},
}
LATENCY = {  # model -> seconds until the first token: least, spread; seconds a token
    "gpt-4.1-nano": (0.11, 0.07, 0.004),
    "gpt-4.1-mini": (0.14, 0.09, 0.008),
    "gpt-4.1": (0.25, 0.20, 0.015),
    "claude-sonnet-4-5": (0.30, 0.25, 0.016),
}


def rows(name: str) -> list[dict[str, Any]]:
    """The cases of a file."""
    return [json.loads(line) for line in (CASES / f"{name}.jsonl").read_text("utf-8").splitlines()]


INTENT = {case["inputs"]: case["expected_output"] for case in rows("intents")}
ENTITIES = {case["inputs"]: case["expected_output"] for case in rows("entities")}
ANSWERS = {case["inputs"]["message"]: case for case in rows("answers")}
COMPLEXITY = {
    **{message: case["inputs"]["complexity"] for message, case in ANSWERS.items()},
    **{case["inputs"]["message"]: case["expected_output"] for case in rows("triage")},
}
SAFETY = {case["inputs"]: case["expected_output"] for case in rows("safety")}


def script(mock_providers: MockProviders, *models: str) -> None:
    """Script these models, or all that the application uses by day."""
    for model in models or MODELS:
        mock_providers.on(model=model, optional=True).replies(answer, latency=latency)


def answer(call: ProviderCall) -> str:
    """What the model says in the step that the call belongs to."""
    message = message_of(call)
    if call.step == "classify_intent":
        return mostly(call, INTENT.get(message, "order_status"), wrong="oos")
    if call.step == "extract_entities":
        right = ENTITIES.get(message) or {"order_id": order_id(message), "product": None, "amount": None, "date": None}
        return mostly(call, json.dumps(right), wrong=json.dumps({**right, "order_id": None, "amount": "0.00"}))
    if call.step == "triage":
        right = COMPLEXITY.get(message, "simple")
        return mostly(call, right, wrong="simple" if right == "complex" else "complex")
    if call.step == "generate_answer":
        case = ANSWERS[message]
        wrong = "We are sorry. Please have a little patience."
        return mostly(call, case["metadata"]["reference"], wrong=wrong, kind=f" {case['inputs']['complexity']}")
    right = SAFETY.get(message, "safe")
    return mostly(call, right, wrong="safe" if right == "unsafe" else "unsafe")


def message_of(call: ProviderCall) -> str:
    """The customer's message in a prompt."""
    return call.prompt.rpartition("Message: ")[2]


def order_id(message: str) -> str | None:
    """The id of the order that a message names."""
    start = message.find("A-")
    return message[start : start + 7] if start >= 0 else None


def mostly(call: ProviderCall, right: str, *, wrong: str, kind: str = "") -> str:
    """The right answer, as often as the model gives it in this step."""
    share = ACCURACY[f"{call.step}{kind}"][call.model]
    return right if chance("right", call) <= share else wrong


def latency(call: ProviderCall) -> float:
    """Seconds, spread by the message, longer for long answers."""
    least, spread, a_token = LATENCY[call.model]
    tokens = 60 if call.step == "generate_answer" else 2
    return round(least + spread * chance("latency", call) + a_token * tokens, 3)


def chance(what: str, call: ProviderCall) -> float:
    """A number from 0 to 1 that depends on the question alone, so that every run is the same."""
    digest = hashlib.sha256(f"3 {what} {call.model} {call.step} {call.prompt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32
