"""What the tests of cassettes on the disk share: interactions, and a folder to keep them in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

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


_names = st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True)
_values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12)
_headers = st.dictionaries(_names, st.lists(_values, min_size=1, max_size=2), max_size=3).map(
    lambda lists: tuple((name, value) for name, values in lists.items() for value in values)
)
_bodies = (
    st.binary(max_size=40)
    | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.sampled_from(
        [b"\n<<<<<<< ours\n=======\n>>>>>>> theirs\n", b"--- \n...\n- a: &b *b\n", b"\xef\xbb\xbf", b"\0"]
    )
)
_seconds = st.floats(min_value=0, max_value=1e6)
_known = st.builds(
    Facts,
    recorded_at=st.just("2026-11-24T15:00:00Z"),
    latency_s=_seconds,
    ttft_s=st.none() | _seconds,
    chunks=st.none() | st.lists(st.tuples(_seconds, st.integers(0, 99)), max_size=3).map(tuple),
    complete=st.booleans(),
    provider=st.sampled_from(["", "openai"]),
    model=st.text(st.characters(codec="utf-8"), max_size=8),
    attempt=st.integers(1, 3),
    versions=st.dictionaries(_names, _names, max_size=2),
    price=st.none() | st.just({"input": "0.05"}),
)
interactions = st.builds(
    Interaction,
    request=st.builds(
        RecordedRequest,
        method=st.sampled_from(["GET", "POST"]),
        url=st.sampled_from(["https://a.test/v1", "https://a.test/v1?q=%C3%A9", "http://b.test:8080/"]),
        headers=_headers,
        body=_bodies,
    ),
    response=st.builds(
        RecordedResponse,
        status=st.sampled_from([200, 429]),
        reason=st.sampled_from(["", "OK"]),
        headers=_headers,
        body=_bodies,
    ),
    facts=st.none() | _known,
)
