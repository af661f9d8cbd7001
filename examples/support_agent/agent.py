"""A support agent: six steps from a customer's message to an answer that may be sent, or to a person."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pytest_modelroute.config import Settings
from pytest_modelroute.router import ModelClient, ModelRequest, ModelRouter, Step, Workflow, WorkflowResult

HERE = Path(__file__).parent
SETTINGS = Settings.from_file(HERE / "modelroute.toml")
TIER_OF_COMPLEXITY = {"simple": "medium", "complex": "large"}
ORDERS = {order["id"]: order for order in json.loads((HERE / "cases" / "orders.json").read_text("utf-8"))}
RULES = json.loads((HERE / "cases" / "house_rules.json").read_text("utf-8"))
INTENTS = (
    "balance, bill_balance, book_flight, cancel_reservation, card_declined, flight_status, greeting, order_status, "
    "pay_bill, reminder, report_fraud, schedule_meeting, transfer, translate, weather"
)
SYSTEM = {
    "classify_intent": f"Name the intent of the customer's message: one of {INTENTS}, or oos for anything else.",
    "extract_entities": (
        "Answer with a JSON object with the keys order_id, product, amount (two decimals) and date (ISO) of the "
        "customer's message; null where it does not say."
    ),
    "triage": "Is the customer's issue simple or complex? Answer with one word.",
    "generate_answer": "Answer the customer from the order and these rules:\n" + "\n".join(RULES.values()),
    "safety_check": "Must a person see this message before anybody answers it? Answer with one word: safe or unsafe.",
}


class Entities(BaseModel):
    """What a message names."""

    order_id: str | None = None
    product: str | None = None
    amount: str | None = None
    date: str | None = None


@dataclass(frozen=True)
class Reply:
    """What becomes of a message."""

    answer: str | None
    "None where a person takes over."
    found: WorkflowResult


def one_of(*words: str) -> Any:
    """Read one of these words from an answer, whatever its case and padding."""

    def word(text: str) -> str:
        said = text.strip(" .\n").lower()
        if said not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return said

    return word


class SupportAgent:
    """The application: a workflow over a router, and each of its steps by itself."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        """Needs no network and no key until the first message."""
        self.router = ModelRouter(settings, client=ModelClient(settings, retries=0))
        self.workflow = Workflow(
            self.router,
            [
                Step("classify_intent", prompt=lambda so_far: ask("classify_intent", so_far.inputs), parse=str.strip),
                Step(
                    "extract_entities",
                    prompt=lambda so_far: ask("extract_entities", so_far.inputs, max_tokens=100),
                    parse=Entities,
                    on_error=lambda _error: Entities(),
                ),
                Step("lookup_order", tool=lambda so_far: ORDERS.get(so_far["extract_entities"].order_id)),
                Step("triage", prompt=self.triage_prompt, parse=one_of("simple", "complex"), on_error="complex"),
                Step("generate_answer", prompt=self.answer_prompt),
                Step(
                    "safety_check",
                    prompt=lambda so_far: ask("safety_check", so_far.inputs),
                    parse=one_of("safe", "unsafe"),
                    on_error="unsafe",
                ),
            ],
        )

    def handle(self, message: str) -> Reply:
        """Answer a message, or leave it to a person."""
        found = self.workflow.run(message)
        return Reply(found["generate_answer"] if found["safety_check"] == "safe" else None, found)

    def classify_intent(self, message: str) -> str:
        """The intent of a message."""
        return str(self.workflow.run_step("classify_intent", message))

    def extract_entities(self, message: str) -> dict[str, Any]:
        """What a message names."""
        entities: Entities = self.workflow.run_step("extract_entities", message)
        return entities.model_dump()

    def triage(self, message: str, intent: str) -> str:
        """How hard it is to answer: simple or complex."""
        return str(self.workflow.run_step("triage", message, classify_intent=intent))

    def generate_answer(self, message: str, order: dict[str, Any] | None, complexity: str) -> str:
        """The answer."""
        return str(self.workflow.run_step("generate_answer", message, lookup_order=order, triage=complexity))

    def safety_check(self, message: str) -> str:
        """Whether a person has to see it: safe or unsafe."""
        return str(self.workflow.run_step("safety_check", message))

    def triage_prompt(self, so_far: WorkflowResult) -> ModelRequest:
        """The question of triage."""
        return ask("triage", f"Intent: {so_far['classify_intent']}\nMessage: {so_far.inputs}")

    def answer_prompt(self, so_far: WorkflowResult) -> ModelRequest:
        """The question for the answer, and the tier that answers it."""
        prompt = f"Order: {json.dumps(so_far['lookup_order'])}\nMessage: {so_far.inputs}"
        tier = TIER_OF_COMPLEXITY[so_far["triage"]]
        return ask("generate_answer", prompt, max_tokens=300, explicit_category=tier)


def ask(step: str, prompt: str, *, max_tokens: int = 5, explicit_category: str | None = None) -> ModelRequest:
    """The request of a step."""
    return ModelRequest(
        prompt=prompt,
        system=SYSTEM[step],
        params={"temperature": 0, "max_tokens": max_tokens},
        explicit_category=explicit_category,
    )
