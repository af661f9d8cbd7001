"""A support desk's first step: the intent of a query, from a model that fits the query's difficulty."""

from pathlib import Path

from pytest_modelroute.config import Settings
from pytest_modelroute.router import LLMClassifier, ModelClient, ModelRequest, ModelRouter

SETTINGS = Settings.from_file(Path(__file__).with_name("modelroute.toml"))
TIERS = {"LOW": "small", "MEDIUM": "medium", "HIGH": "large"}
INTENTS = (
    "balance, bill_balance, book_flight, cancel_reservation, card_declined, flight_status, greeting, order_status, "
    "pay_bill, reminder, report_fraud, schedule_meeting, transfer, translate, weather"
)
INSTRUCTION = (
    f"Name the intent of the customer's message: one of {INTENTS}, or oos for anything else. Answer with the name."
)

client = ModelClient(SETTINGS)
router = ModelRouter(SETTINGS, client=client, classifier=LLMClassifier(client, "small", labels=TIERS))


def classify_intent(query: str) -> str:
    """The intent of a query; two calls: one rates its difficulty, one answers."""
    request = ModelRequest(prompt=query, step="classify_intent", system=INSTRUCTION, params={"temperature": 0})
    return router.route(request).text.strip()
