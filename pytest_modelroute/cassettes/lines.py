"""An interaction in JSON, for what only we read: the journal and the cache."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from pytest_modelroute.cassettes.facts import Facts
from pytest_modelroute.cassettes.interaction import (
    Interaction,
    RecordedRequest,
    RecordedResponse,
    text_or_bytes,
)


def request_head_of(interaction: Interaction) -> dict[str, Any]:
    """The request without its body."""
    request = interaction.request
    return {"method": request.method, "url": request.url, "request_headers": request.headers}


def reply_head_of(interaction: Interaction) -> dict[str, Any]:
    """The response without its body, and the facts."""
    response, facts = interaction.response, interaction.facts
    return {
        "status": response.status,
        "reason": response.reason,
        "response_headers": response.headers,
        "facts": None if facts is None else facts.to_raw(),
    }


def response_of(head: dict[str, Any], body: bytes) -> RecordedResponse:
    """The response of a head and its body."""
    headers = tuple((name, value) for name, value in head["response_headers"])
    return RecordedResponse(status=head["status"], reason=head["reason"], headers=headers, body=body)


def facts_of(head: dict[str, Any], *, checked: bool = False) -> Facts | None:
    """The facts of a head; `checked` where they were found good before they were written."""
    held = head["facts"]
    if held is None:
        return None
    return Facts.from_checked(held) if checked else Facts.from_raw(held)


def with_bodies(head: dict[str, Any], request: bytes, response: bytes, *, checked: bool = False) -> Interaction:
    """
    The interaction of a head and its bodies.

    Raises:
        KeyError, TypeError, ValueError, CassetteError: It is no head of ours.

    """
    return Interaction(
        request=RecordedRequest(
            method=head["method"],
            url=head["url"],
            headers=tuple((name, value) for name, value in head["request_headers"]),
            body=request,
        ),
        response=response_of(head, response),
        facts=facts_of(head, checked=checked),
    )


def to_line(interaction: Interaction) -> dict[str, Any]:
    """With the bodies: text where they are UTF-8, else in base64."""
    bodies = {"request_body": interaction.request.body, "response_body": interaction.response.body}
    return {
        **request_head_of(interaction),
        **reply_head_of(interaction),
        **{name: _body(body) for name, body in bodies.items()},
    }


def from_line(line: dict[str, Any]) -> Interaction:
    """
    What `to_line` wrote.

    Raises:
        KeyError, TypeError, ValueError, CassetteError: It is not.

    """
    return with_bodies(line, _bytes(line["request_body"]), _bytes(line["response_body"]))


def _body(body: bytes) -> str | dict[str, str]:
    held = text_or_bytes(body)
    return held if isinstance(held, str) else {"base64": b64encode(held).decode("ascii")}


def _bytes(held: Any) -> bytes:
    return held.encode("utf-8") if isinstance(held, str) else b64decode(held["base64"], validate=True)
