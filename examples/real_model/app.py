"""
The application: answers questions with a model that fits their difficulty, and names the intent of customers' messages.

It asks in two ways: through this package's router, and with OpenAI's own client.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_modelroute.config import Settings
from pytest_modelroute.providers.exchange import Message
from pytest_modelroute.router import Classifier, ModelClient, ModelRequest, ModelRouter

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

SETTINGS: Final = Settings.from_file(Path(__file__).with_name("modelroute.toml"))
KEY: Final = "not-needed"
"The server on this machine asks for none."
SMALL: Final = SETTINGS.model("small")
INTENTS: Final = (
    *("balance", "bill_balance", "book_flight", "cancel_reservation", "card_declined", "flight_status", "greeting"),
    *("order_status", "pay_bill", "reminder", "report_fraud", "schedule_meeting", "transfer", "translate", "weather"),
    "oos",
)
EXAMPLES: Final = (  # message, intent; none of them is a case
    ("i am going to need help paying my rent bill", "pay_bill"),
    ("can you tell me why my card got declined", "card_declined"),
    ("i saw a fraudulent transaction", "report_fraud"),
    ("cancel my reservation for bob at red robin", "cancel_reservation"),
    ("how expensive is my internet", "bill_balance"),
    ("how does the weather feel", "weather"),
    ("can you tell me my bank balance", "balance"),
    ("tell me what the status is for my aa flight", "flight_status"),
    ("i need a flight from nyc to paris with delta", "book_flight"),
    ("are they any updates on my order", "order_status"),
    ("list my reminders", "reminder"),
    ("how do i say bathroom in italian", "translate"),
    ("hello, how are you doing", "greeting"),
    ("can i set up mobile deposits", "oos"),
    ("are meeting rooms free between 8-3", "schedule_meeting"),
    ("can i move some money around", "transfer"),
)


def one_of(labels: tuple[str, ...]) -> str:
    """The grammar of an answer that is one of these labels, in the notation of llama.cpp (GBNF)."""
    return "root ::= " + " | ".join(f'"{label}"' for label in labels)


def client() -> ModelClient:
    """Sends the router's requests."""
    return ModelClient(SETTINGS, keys={"smollm": KEY}, retries=0)


class QuestionDesk:
    """Answers questions, each with the model of the tier that a classifier chooses."""

    def __init__(self, classifier: Classifier, sender: ModelClient) -> None:
        """Asks nobody yet."""
        self._router = ModelRouter(SETTINGS, client=sender, classifier=classifier)

    def answer(self, question: str) -> str:
        """A short answer."""
        request = ModelRequest(
            prompt=question,
            step="answer",
            system="Answer in a few words.",
            params={"temperature": 0, "seed": 7, "max_tokens": 12},
        )
        return self._router.route(request).text.strip()


class SmallModel:
    """The small model, asked with OpenAI's client."""

    def __init__(self) -> None:
        """Asks nobody yet."""
        from openai import OpenAI

        self._openai = OpenAI(api_key=KEY, base_url=SMALL.base_url, max_retries=0)

    def ask(self, request: ModelRequest, *, stream: bool = False) -> str:
        """The text of an answer, whole or put together from its pieces."""
        # Parameters go into the body as they are; a grammar is one that only llama.cpp's server knows.
        chat, body = self._openai.chat.completions, request.params
        messages = [turn(message) for message in request.for_model(SMALL.model).messages]
        if stream:
            chunks = chat.create(model=SMALL.model, messages=messages, extra_body=body, stream=True)
            pieces = (choice.delta.content for chunk in chunks for choice in chunk.choices)
            return "".join(piece for piece in pieces if piece).strip()
        reply = chat.create(model=SMALL.model, messages=messages, extra_body=body)
        return (reply.choices[0].message.content or "").strip()


class IntentDesk:
    """Names the intent of messages, by examples and a grammar that lets nothing through but an intent."""

    def __init__(self) -> None:
        """Asks nobody yet."""
        self._model = SmallModel()
        self._router = ModelRouter(SETTINGS, client=client())

    def ask(self, message: str, way: str, *, stream: bool = False) -> str:
        """The intent of a message, asked `by_router` or `by_client`, whole or in pieces."""
        request = self.request(message)
        if way == "by_client":
            return self._model.ask(request, stream=stream)
        return "".join(self._router.stream(request)) if stream else self._router.route(request).text

    def request(self, message: str) -> ModelRequest:
        """The question for a message."""
        return ModelRequest(
            prompt=message,
            step="classify_intent",
            system="Name the intent of the customer's message.",
            history=shown(EXAMPLES),
            params={"temperature": 0, "seed": 7, "max_tokens": 12, "grammar": one_of(INTENTS)},
        )


def shown(examples: Iterable[tuple[str, str]]) -> tuple[Message, ...]:
    """Examples of questions and answers, as an earlier part of the conversation."""
    roles = ("user", "assistant")
    return tuple(
        Message(role=role, text=text) for example in examples for role, text in zip(roles, example, strict=True)
    )


def turn(message: Message) -> ChatCompletionMessageParam:
    """A message as OpenAI's client takes it."""
    if message.role == "system":
        return {"role": "system", "content": message.text}
    if message.role == "assistant":
        return {"role": "assistant", "content": message.text}
    return {"role": "user", "content": message.text}
