"""What the tests of cassettes on the disk share: interactions, and a folder to keep them in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_modelroute.cassettes.facts import Facts
from pytest_modelroute.cassettes.files import CassetteFile, read_cassette
from pytest_modelroute.cassettes.interaction import Interaction, RecordedRequest, RecordedResponse
from pytest_modelroute.cassettes.saving import save

JSON_HEADERS = (("content-type", "application/json"),)


def call(question: str, *, facts: bool = True, answer: str = "LOW") -> Interaction:
    """A recorded call of a model."""
    return Interaction(
        request=RecordedRequest(
            method="POST",
            url="https://api.openai.com/v1/chat/completions",
            headers=JSON_HEADERS,
            body=json.dumps({"model": "gpt-5-nano", "messages": [{"role": "user", "content": question}]}).encode(),
        ),
        response=RecordedResponse(
            status=200, reason="OK", headers=JSON_HEADERS, body=json.dumps({"content": answer}).encode()
        ),
        facts=Facts(recorded_at="2026-11-24T15:00:00Z", latency_s=0.25, provider="openai") if facts else None,
    )


def plain(interaction: Interaction) -> dict[str, Any]:
    """What was said, without what a save adds to the facts."""
    raw = interaction.to_raw()
    for name in ("checksum", "count"):
        raw["response"].get("modelroute", {}).pop(name, None)
    return raw


@dataclass(frozen=True)
class Shelf:
    """A project's folder with cassettes."""

    root: Path

    @property
    def folder(self) -> Path:
        """The cassettes."""
        return self.root / "cassettes"

    @property
    def state(self) -> Path:
        """What may be lost."""
        return self.root / ".modelroute"

    def put(self, *calls: Interaction, name: str = "refund.yaml") -> Path:
        """Save these after what is there."""
        path = self.folder / name

        def grown(current: CassetteFile) -> list[dict[str, Any]]:
            return [*current.raw, *(each.to_raw() for each in calls)]

        save(path, grown, folder=self.folder, state=self.state, check=lambda text: None)
        return path

    def questions(self, path: Path) -> list[str]:
        """What was asked, in the order of the file."""
        return [question_of(each) for each in read_cassette(path).interactions]


def question_of(interaction: Interaction) -> str:
    """The question of a `call`."""
    return str(json.loads(interaction.request.body)["messages"][0]["content"])
