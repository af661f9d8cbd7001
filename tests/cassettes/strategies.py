"""Interactions of every kind, for laws."""

from __future__ import annotations

from hypothesis import strategies as st

from pytest_modelroute.cassettes.facts import Facts
from pytest_modelroute.cassettes.interaction import Interaction, RecordedRequest, RecordedResponse

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
