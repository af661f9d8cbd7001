"""Mistral's dialect of chat completions: POST {base}/chat/completions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest, WireRequest, estimate_usage
from pytest_modelroute.providers.failures import Failure, Spoken, Vocabulary, WireError
from pytest_modelroute.providers.language import error_words, mapping, objects, read_object, write_object
from pytest_modelroute.providers.openai_chat import OpenAIChat, write_chunk

_WORDS: Final = Vocabulary(
    spoken={
        "rate_limited": Spoken(429, "1300", "rate_limited"),
        "quota_exhausted": Spoken(402, "2303", "billing_api_budget_exhausted"),
        "overloaded": Spoken(429, "3505", "service_tier_capacity_exceeded"),
        "unavailable": Spoken(503, "3800", "internal_server_error"),
        "server_error": Spoken(500, None, "internal_server_error"),
        "timeout": Spoken(408, None, "timeout"),
        "not_found": Spoken(400, "1500", "invalid_model"),
        "context_overflow": Spoken(400, "3051", "invalid_request_invalid_args"),
        "content_filtered": Spoken(403, "1920", "guardrail_violation"),
        "authentication": Spoken(401, None, "authentication_error"),
        "permission": Spoken(403, "1910", "tier_not_allowed"),
        "bad_request": Spoken(422, None, "invalid_request_error"),
    },
    understood={
        "2300": "quota_exhausted",
        "3003": "not_found",
        "rate_limited": "rate_limited",
        "service_tier_capacity_exceeded": "overloaded",
        "backend_out_of_capacity": "overloaded",
        "invalid_model": "not_found",
    },
    vague=frozenset({"3051"}),
    phrases={"too large for model": "context_overflow"},
)
_OVERFLOW: Final = "Prompt contains too many tokens, too large for model with its maximum context length"


class MistralChat(OpenAIChat):
    """
    The format of /chat/completions on Mistral's host.

    Its client validates strictly. A guardrail refuses the request; an answer that is held back has no form.
    """

    name = "mistral-chat"
    provider = "mistral"
    vocabulary = _WORDS
    filters_content = False
    what = "a Mistral chat completion"
    message_members: Mapping[str, Any] = {}

    def read_request(self, body: bytes, path: str) -> ProviderRequest:
        """Read a request; every stream reports its usage."""
        return replace(super().read_request(body, path), include_usage=True)

    def write_request(self, request: ProviderRequest, key: str) -> WireRequest:
        """Write a request; there are no stream_options, which would be refused as extra."""
        return super().write_request(replace(request, include_usage=False), key)

    def write_end(self, head: Mapping[str, Any], request: ProviderRequest, reply: ProviderReply) -> bytes:
        """The chunk that ends a stream, with its usage."""
        return write_chunk(head, {"content": ""}, reply.finish_reason, **self.usage_member(request, reply))

    def usage_member(self, request: ProviderRequest, reply: ProviderReply) -> dict[str, Any]:
        """The totals, and the cached tokens in the input; a client refuses a whole reply that reports none."""
        if not reply.reports_usage:
            return {}
        usage = reply.usage or estimate_usage(request, reply.text)
        totals = {
            "prompt_tokens": usage.total_input,
            "completion_tokens": usage.total_output,
            "total_tokens": usage.total_input + usage.total_output,
            "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        }
        return {"usage": totals}

    def write_error(self, failure: Failure) -> WireError:
        """Write a refusal: the members stand at the top, and details in place of a message where a body is invalid."""
        spoken = _WORDS.say(failure.kind)
        message: Any = failure.message
        if failure.kind == "context_overflow":
            message = f"{_OVERFLOW}: {failure.message}"
        elif failure.kind == "bad_request":
            message = {"detail": [{"type": "value_error", "loc": ["body"], "msg": failure.message, "input": None}]}
        body = {
            "object": "error",
            "message": message,
            "type": spoken.type,
            "param": None,
            "code": spoken.word,
            "raw_status_code": spoken.status,
        }
        return WireError(status=spoken.status, body=write_object(body))

    def read_error(self, body: bytes) -> tuple[str | None, str]:
        """Code (else type) and message; details are joined, wherever they stand."""
        value = read_object(body, what=f"{self.what} error")
        word, message = error_words(value, "code", "type")
        details = mapping(value.get("message")).get("detail") or value.get("detail")
        if details:
            entries = objects(details)
            message = str(details) if entries is None else "; ".join(str(entry.get("msg", "")) for entry in entries)
        return word, message
