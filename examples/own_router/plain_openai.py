"""A plain function on one client: a table of models, and another model where the first one fails."""

from __future__ import annotations

import re

from openai import APIConnectionError, APIError, APIStatusError, OpenAI

MODELS = {"chat": "gpt-5-nano", "code": "gpt-5-mini", "analysis": "gpt-5"}
BACKUPS = {"gpt-5-nano": "gpt-4.1-mini", "gpt-5-mini": "gpt-4.1-mini", "gpt-5": "gpt-4.1"}


def kind_of(question: str) -> str:
    """What a question is about, where nobody says."""
    if "```" in question or re.search(r"\bdef\b", question, re.IGNORECASE):
        return "code"
    return "analysis" if len(question.split()) > 60 else "chat"


def answer(client: OpenAI, question: str, kind: str | None = None) -> str:
    """Ask the model for this kind of question, and its backup where that one is not to be had."""
    model = MODELS[kind or kind_of(question)]
    try:
        return ask(client, model, question)
    except APIError as first:
        if not is_outage(first):
            raise
        try:
            return ask(client, BACKUPS[model], question)
        except APIError as second:
            raise second from first  # or nobody sees what failed first: the client raises its errors `from None`


def is_outage(error: APIError) -> bool:
    """Whether another model may do better; a timeout is a connection error too."""
    status = error.status_code if isinstance(error, APIStatusError) else 0
    return isinstance(error, APIConnectionError) or status in (404, 408, 429) or status >= 500


def ask(client: OpenAI, model: str, question: str) -> str:
    """One model's answer."""
    reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
    return reply.choices[0].message.content or ""
