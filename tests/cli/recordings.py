"""What the tests of the command line share: recorded calls in the real formats, and a project to run commands in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_modelroute.cassettes.facts import Facts
from pytest_modelroute.cassettes.files import CassetteFile
from pytest_modelroute.cassettes.interaction import Interaction, RecordedRequest, RecordedResponse
from pytest_modelroute.cassettes.saving import save
from pytest_modelroute.cli import main
from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest, ToolCall, Usage
from pytest_modelroute.providers.openai_chat import OpenAIChat

if TYPE_CHECKING:
    import pytest

PRICE = {"input": "1", "output": "2", "cache_read": "1", "cache_write": "1"}
SETTINGS = """
[models.small]
model = "toy-small"
provider = "toy"
base_url = "{url}/v1"
tier = "small"
input_price = 1
output_price = 2
"""
FACTS = Facts(
    recorded_at="2026-11-20T15:00:00Z",
    latency_s=0.25,
    provider="toy",
    model="toy-small",
    model_answered="toy-small-1",
    versions={"openai": "3.0.0"},
    price=PRICE,
)


def chat(
    question: str,
    answer: str = "LOW",
    *,
    url: str = "http://127.0.0.1:9/v1/chat/completions",
    model: str = "toy-small",
    answered: str = "toy-small-1",
    facts: Facts | None = FACTS,
    usage: Usage | None = Usage(fresh_input=100, output=50),  # noqa: B008 - a value
    status: int = 200,
    tool: str | None = None,
    **body: Any,
) -> Interaction:
    """A call as the openai client sends it, and its answer, whole."""
    sent = {"model": model, "messages": [{"role": "user", "content": question}], **body}
    request = OpenAIChat().read_request(json.dumps(sent).encode(), "/v1/chat/completions")
    calls = () if tool is None else (ToolCall(name=tool, arguments={"order": 7}),)
    reply = ProviderReply(text=answer, model=answered, usage=usage, reports_usage=usage is not None, tool_calls=calls)
    return Interaction(
        request=RecordedRequest(
            method="POST", url=url, headers=(("content-type", "application/json"),), body=json.dumps(sent).encode()
        ),
        response=RecordedResponse(
            status=status,
            reason="OK",
            headers=(("content-type", "application/json"),),
            body=OpenAIChat().write_reply(request, reply),
        ),
        facts=None if facts is None else replace(facts, model=model, model_answered=answered),
    )


def stream(question: str, pieces: Sequence[str], **more: Any) -> Interaction:
    """A call whose answer comes in pieces."""
    whole = chat(question, "".join(pieces), stream=True, stream_options={"include_usage": True}, **more)
    request: ProviderRequest = OpenAIChat().read_request(whole.request.body, "/v1/chat/completions")
    reply = ProviderReply(text="".join(pieces), model="toy-small-1", usage=Usage(fresh_input=100, output=50))
    frames = OpenAIChat().write_stream(request, reply, pieces)
    chunks = tuple((0.0 if number == 0 else 0.05, len(frame)) for number, frame in enumerate(frames))
    facts = whole.facts
    return replace(
        whole,
        response=replace(whole.response, headers=(("content-type", "text/event-stream"),), body=b"".join(frames)),
        facts=None if facts is None else replace(facts, ttft_s=0.1, chunks=chunks),
    )


@dataclass(frozen=True)
class Ran:
    """What a command said."""

    code: int
    out: list[str]
    err: list[str]


@dataclass(frozen=True)
class Desk:
    """A project's folder, and its commands."""

    root: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> Ran:
        """Run `modelroute cassettes` with these arguments."""
        self.capsys.readouterr()
        code = main(["cassettes", *arguments])
        captured = self.capsys.readouterr()
        return Ran(code, captured.out.splitlines(), captured.err.splitlines())

    def settings(self, text: str = SETTINGS, *, url: str = "http://127.0.0.1:9") -> None:
        """Write the settings."""
        (self.root / "modelroute.toml").write_text(text.format(url=url), "utf-8")

    def put(self, *calls: Interaction, name: str = "refund.yaml") -> Path:
        """Save these after what is there."""
        path, folder = self.root / "cassettes" / name, self.root / "cassettes"

        def grown(current: CassetteFile) -> list[dict[str, Any]]:
            return [*current.raw, *(each.to_raw() for each in calls)]

        save(path, grown, folder=folder, state=self.root / ".modelroute", check=lambda text: None)
        return path

    def edit(self, old: str, new: str, *, name: str = "refund.yaml") -> None:
        """Change a cassette by hand."""
        path = self.root / "cassettes" / name
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")
