"""`modelroute cassettes drift`, against a server on this machine."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pytest_modelroute.cassettes.interaction import Interaction, RecordedRequest, RecordedResponse
from pytest_modelroute.cassettes.redaction import Redactor
from pytest_modelroute.providers.exchange import ProviderReply, Usage
from pytest_modelroute.providers.openai_chat import OpenAIChat
from tests.cli.recordings import FACTS, SETTINGS, Desk, chat, stream

KEY = "toy-key-" + "A1b2C3d4" * 4
SIGNED = (
    "  1: requests to bedrock-runtime.us-east-1.amazonaws.com are signed anew each time, and a cassette cannot do that"
)
ROUTED = (
    SETTINGS
    + """
[models.large]
model = "toy-large"
tier = "large"
base_url = "http://127.0.0.1:9/v1"
provider = "toy"

[steps.answer]
model = "dynamic"
classifier = "small"

[steps.classify]
model = "small"

[thresholds.answer]
max_latency_ms = 1000

[thresholds.classify]
min_accuracy = 0.9
max_latency_ms = 60000
max_mean_latency_ms = 0.001
max_cost_usd = 0.00015
"""
)


@dataclass
class Provider:
    """A provider on this machine, and what it was asked."""

    url: str = ""
    answers: dict[str, str] = field(default_factory=dict[str, str])
    "Question -> answer; LOW for any other."
    model: str = "toy-small-1"
    status: int = 200
    missing: int = 0
    "Bytes that it announces and does not send."
    asked: list[str] = field(default_factory=list[str])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    @property
    def endpoint(self) -> str:
        """Where the calls go."""
        return f"{self.url}/v1/chat/completions"


@pytest.fixture
def provider() -> Iterator[Provider]:
    """It speaks as OpenAI does."""
    known = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            request = OpenAIChat().read_request(body, self.path)
            known.asked.append(request.prompt)
            known.headers.append({name.lower(): value for name, value in self.headers.items()})
            text = known.answers.get(request.prompt, "LOW")
            reply = ProviderReply(text=text, model=known.model, usage=Usage(fresh_input=100, output=50))
            kind, data = "application/json", OpenAIChat().write_reply(request, reply)
            if known.status != 200:
                data = json.dumps({"error": {"message": "no", "code": None}}).encode()
            elif request.stream:
                kind, data = "text/event-stream", b"".join(OpenAIChat().write_stream(request, reply, [text]))
            self.send_response(known.status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data) + known.missing))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    known.url = f"http://127.0.0.1:{server.server_port}"
    yield known
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def recorded(desk: Desk, provider: Provider) -> Callable[..., None]:
    """Record these questions, all answered LOW."""

    def put(*questions: str, settings: str = SETTINGS) -> None:
        desk.settings(settings, url=provider.url)
        desk.put(*(chat(question, url=provider.endpoint) for question in questions))

    return put


def test_no_drift_is_said_first(desk: Desk, provider: Provider, recorded: Callable[..., None]) -> None:
    """What was asked, what it may cost, that nothing changed, and the numbers."""
    recorded("a", "b")
    path = desk.root / "cassettes/refund.yaml"
    before = path.read_bytes()
    ran = desk.run("drift")
    assert ran.code == 0
    assert ran.err == ["asking live: 2 calls, about 0.0004 USD by the tokens recorded"]
    assert ran.out[0] == "no drift: all 2 replies are as recorded, by exact_match"
    assert " ".join(ran.out[2].split()) == (
        "model equal 95% interval changed p50 recorded p50 live p95 recorded p95 live USD recorded USD live"
    )
    row = " ".join(ran.out[3].split())
    assert row.startswith("toy/toy-small 2/2 0.34 to 1.00 0 250 ms ")
    assert row.endswith(" 0.0004 0.0004")
    assert (provider.asked, path.read_bytes()) == (["a", "b"], before)


def test_changed_replies_are_shown_with_their_place(
    desk: Desk, provider: Provider, recorded: Callable[..., None]
) -> None:
    """The verdict counts them; each is shown beside what was recorded."""
    recorded("a", "b", "c")
    provider.answers["b"] = "HIGH"
    ran = desk.run("drift")
    assert ran.code == 1
    assert ran.out[0] == "drift: 1 of 3 replies changed, by exact_match"
    at = ran.out.index("changed replies of 'toy-small':")
    assert ran.out[at + 1].startswith("  cassettes/refund.yaml:")
    assert ran.out[at + 1].endswith(": 'b': 'LOW' -> 'HIGH'")
    assert ran.out[-2:] == [
        "see a recording: modelroute cassettes show cassettes/refund.yaml 2",
        "take the new replies: pytest TEST --modelroute-record=all",
    ]


def test_many_changes_are_cut(desk: Desk, provider: Provider, recorded: Callable[..., None]) -> None:
    """JSON holds all of them."""
    names = [f"q{number}" for number in range(12)]
    recorded(*names)
    provider.answers.update(dict.fromkeys(names, "HIGH"))
    assert "  ... 2 more (all of them with --json)" in desk.run("drift", "--concurrency", "4").out
    (model,) = json.loads("\n".join(desk.run("drift", "--json").out))["models"]
    assert [change["live"] for change in model["changes"]] == ["HIGH"] * 12
    assert (model["equal"], model["changed"], model["calls"]) == (0, 12, 12)


def test_an_alias_that_moved_is_drift(desk: Desk, provider: Provider, recorded: Callable[..., None]) -> None:
    """Also where the replies are the same."""
    recorded("a")
    provider.model = "toy-small-2"
    ran = desk.run("drift")
    assert ran.code == 1
    assert ran.out[0] == "drift: 0 of 1 reply changed, by exact_match; 1 model answers as another version"
    assert "'toy-small' answered as 'toy-small-1' and answers as 'toy-small-2' now (1 call)" in ran.out
    assert ran.out[-1] == "take what is new: pytest TEST --modelroute-record=all"


def test_a_stream_is_compared_by_its_text(desk: Desk, provider: Provider) -> None:
    """However it is cut."""
    desk.settings(url=provider.url)
    desk.put(stream("a", ["L", "OW"], url=provider.endpoint))
    assert desk.run("drift").out[0] == "no drift: the one reply is as recorded, by exact_match"


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limited"), (500, "server_error"), (302, "malformed")])
def test_live_errors_are_told_and_are_no_replies(
    desk: Desk, provider: Provider, recorded: Callable[..., None], status: int, kind: str
) -> None:
    """What could not be asked is not unchanged."""
    recorded("a")
    provider.status = status
    ran = desk.run("drift")
    assert ran.code == 1
    assert ran.out[0] == "drift: 0 of 0 replies changed, by exact_match; 1 live call failed"
    assert f"'toy-small': 1 live call failed: {kind}" in ran.out


def test_a_provider_that_is_not_there_is_an_error_of_the_call(desk: Desk) -> None:
    """Port 9 of this machine answers nobody."""
    desk.settings()
    desk.put(chat("a"))
    ran = desk.run("drift", "--timeout", "5")
    assert ran.code == 1
    assert "'toy-small': 1 live call failed: connection" in ran.out


def test_a_reply_that_breaks_off_is_an_error_of_the_call(
    desk: Desk, provider: Provider, recorded: Callable[..., None]
) -> None:
    """Half a reply is not another one."""
    recorded("a")
    provider.missing = 10
    assert "'toy-small': 1 live call failed: cut off" in desk.run("drift").out


def test_the_scorer_decides_what_is_the_same(desk: Desk, provider: Provider, recorded: Callable[..., None]) -> None:
    """By its name, or one of the user's own."""
    recorded("a")
    provider.answers["a"] = "It is low."
    scorer = "def anything(live, recorded):\n    return 0.5\n\nanything.pass_mark = 0.5\n"
    (desk.root / "loose_scorer.py").write_text(scorer, "utf-8")
    assert desk.run("drift").code == 1
    assert desk.run("drift", "--score", "contains").code == 0
    assert desk.run("drift", "--score", "loose_scorer:anything").out[0].endswith("by anything")


def test_numbers_are_compared_within_a_tolerance(desk: Desk, provider: Provider) -> None:
    """numeric:TOLERANCE."""
    desk.settings(url=provider.url)
    desk.put(chat("a", "1.00", url=provider.endpoint))
    provider.answers["a"] = "1.01"
    assert desk.run("drift", "--score", "numeric").code == 1
    assert desk.run("drift", "--score", "numeric:0.02").code == 0


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("fuzzy", "--score fuzzy: exact_match, contains, json_equal, numeric, numeric:TOLERANCE or "),
        ("numeric:much", "--score numeric:much: a tolerance was expected, such as numeric:0.01"),
        ("json:nothing", "--score json:nothing: module 'json' has no attribute 'nothing'; exact_match, "),
        ("string:digits", "score='0123456789' cannot be called; give a function score(output, expected)"),
        ("numeric", "numeric: the expected output 'LOW' is not a number"),
        ("math:pow", "the scorer pow raised TypeError: "),
    ],
)
def test_a_scorer_that_cannot_score_is_an_error_before_a_call(
    desk: Desk, provider: Provider, recorded: Callable[..., None], score: str, message: str
) -> None:
    """Nothing is paid for."""
    recorded("a")
    ran = desk.run("drift", "--score", score)
    assert ran.err[0].startswith(message)
    assert (ran.code, provider.asked) == (2, [])


def test_a_sample_is_the_same_each_time(desk: Desk, provider: Provider, recorded: Callable[..., None]) -> None:
    """Also when more is recorded beside it."""
    recorded(*"abcdefgh")
    ran = desk.run("drift", "--sample", "3")
    first, provider.asked = provider.asked, []
    assert "  5: left out by --sample" in ran.out
    desk.run("drift", "--sample", "3")
    assert provider.asked == first
    assert len(first) == 3


def test_a_cap_is_held_before_the_first_call(desk: Desk, provider: Provider, recorded: Callable[..., None]) -> None:
    """The estimate alone may be too much."""
    recorded("a", "b")
    ran = desk.run("drift", "--max-usd", "0.0003")
    assert (ran.code, provider.asked) == (2, [])
    assert ran.err[-1] == (
        "nothing was asked: it may cost 0.0004 USD, more than --max-usd 0.0003; "
        "ask for fewer calls with --sample N, or raise it"
    )


def test_a_cap_stops_between_calls(desk: Desk, provider: Provider) -> None:
    """Each call reserves the most that it may cost; what is not covered is named."""
    desk.settings(url=provider.url)
    tiny = Usage(fresh_input=1, output=1)
    desk.put(*(chat(name, url=provider.endpoint, usage=tiny, max_tokens=50) for name in "abc"))
    ran = desk.run("drift", "--max-usd", "0.00031")
    assert provider.asked == ["a", "b"]
    assert "  1: not covered by --max-usd" in ran.out
    assert list((desk.root / ".modelroute/spent").glob("*.json")) == []


def test_a_cap_cannot_count_a_model_without_a_price(desk: Desk, provider: Provider) -> None:
    """So nothing is asked."""
    desk.put(chat("a", url=provider.endpoint))
    ran = desk.run("drift", "--max-usd", "1")
    assert (ran.code, provider.asked) == (2, [])
    assert ran.err[0] == (
        "asking live: 1 call, about 0 USD by the tokens recorded and what toy-small costs, which has no price"
    )
    assert ran.err[1] == (
        "nothing was asked: --max-usd cannot count toy-small, which has no price; "
        "price it in the settings, or leave --max-usd out"
    )


def test_what_cannot_be_asked_again_is_counted_by_why(desk: Desk, provider: Provider) -> None:
    """And the rest is asked."""
    desk.settings(url=provider.url)
    desk.put(
        chat("a", url=provider.endpoint),
        chat("my key is REDACTED", url=provider.endpoint),
        chat("b", url=f"{provider.endpoint}?account=REDACTED"),
        chat("c", url=provider.endpoint, status=429),
        stream("d", ["LOW"], url=provider.endpoint, facts=replace(FACTS, complete=False)),
        Interaction(request=RecordedRequest(method="GET", url=provider.url), response=RecordedResponse(status=200)),
        chat("e", url="https://api.openai.com/v1/chat/completions"),
        chat("f", url="http://api.openai.com/v1/chat/completions"),
        chat("g", url="https://bedrock-runtime.us-east-1.amazonaws.com/v1/chat/completions"),
    )
    ran = desk.run("drift")
    assert provider.asked == ["a"]
    at = ran.out.index("not asked again:")
    assert sorted(ran.out[at + 1 : at + 9]) == [
        "  1: OPENAI_API_KEY is not set",
        "  1: an error was recorded",
        "  1: api.openai.com is not asked over https, and a key is not sent in the clear",
        "  1: its URL holds REDACTED",
        "  1: its body holds REDACTED",
        "  1: its stream was not read to the end",
        "  1: no call of a model",
        SIGNED,
    ]


def test_nothing_to_ask_is_an_error(desk: Desk) -> None:
    """It names the key that is missing."""
    desk.put(chat("a", url="https://api.openai.com/v1/chat/completions"))
    ran = desk.run("drift")
    assert (ran.code, ran.err) == (
        2,
        ["no recorded call can be made again:", "  1: OPENAI_API_KEY is not set"],
    )


def test_the_key_of_the_environment_is_put_back(
    desk: Desk, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a host that the settings give to the provider; it was taken out when the call was recorded."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    desk.settings(SETTINGS.replace('"toy"', '"openai"'), url=provider.url)
    desk.put(chat("a", url=provider.endpoint))
    desk.run("drift")
    assert provider.headers[0]["authorization"] == f"Bearer {KEY}"


def test_a_key_goes_to_nobody_elses_host(desk: Desk, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cassette may say that a host is OpenAI's; anybody may have written it."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    desk.settings(url="http://127.0.0.2:9")
    desk.put(chat("a", url=provider.endpoint, facts=replace(FACTS, provider="openai")))
    desk.run("drift")
    assert provider.asked == ["a"]
    assert "authorization" not in provider.headers[0]


def test_what_is_said_live_is_shown_without_secrets(
    desk: Desk, provider: Provider, recorded: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model may repeat one."""
    monkeypatch.setenv("TOY_API_KEY", KEY)
    recorded("a")
    provider.answers["a"] = f"the key is {KEY}"
    for arguments in ((), ("--json",)):
        out = "\n".join(desk.run("drift", *arguments).out)
        assert KEY[:16] not in out  # also where the line is cut
        assert "REDACTED" in out
    assert Redactor(environment={"TOY_API_KEY": KEY}).remains(out) == []


def test_routes_and_limits_that_would_change_are_told(
    desk: Desk, provider: Provider, recorded: Callable[..., None]
) -> None:
    """And so is what a cassette cannot tell."""
    recorded("a", "b", "c", settings=ROUTED)
    provider.answers.update({"a": "HIGH", "b": "no idea"})
    ran = desk.run("drift")
    assert ran.code == 1
    assert ran.out[0] == "drift: 2 of 3 replies changed, by exact_match"
    at = ran.out.index("routes:")
    assert ran.out[at + 1 : at + 3] == [
        "  step 'answer' asks 'toy-small' for labels: 2 of 3 replies changed: 'LOW' -> 'HIGH' 1, 'LOW' -> 'no idea' 1",
        "    requests that change their tier, as the router of this package reads labels: 'small' -> 'large' 2",
    ]


def test_a_limit_that_was_broken_already_is_no_drift(
    desk: Desk, provider: Provider, recorded: Callable[..., None]
) -> None:
    """It is told all the same."""
    recorded("a", settings=ROUTED)
    ran = desk.run("drift")
    assert ran.code == 0
    limits = ran.out[ran.out.index("limits of the settings:") + 1 :]
    assert limits[0].startswith("  broken still classify: mean latency of 'toy-small' 250 ms recorded, ")
    assert limits[0].endswith(" ms live, limit max_mean_latency_ms=0.001 ms")


def test_a_limit_that_the_live_calls_break_is_drift(desk: Desk, provider: Provider) -> None:
    """Also where every reply is the same: here it took ten times the tokens."""
    desk.settings(ROUTED, url=provider.url)
    desk.put(chat("a", url=provider.endpoint, usage=Usage(fresh_input=10, output=5)))
    ran = desk.run("drift")
    assert ran.code == 1
    assert ran.out[0] == "drift: 0 of 1 reply changed, by exact_match; 1 limit would break"
    limits = ran.out[ran.out.index("limits of the settings:") + 1 :]
    assert limits[0] == (
        "  would break  classify: mean cost of 'toy-small' 0.00002 USD recorded, 0.0002 USD live, "
        "limit max_cost_usd=0.00015 USD"
    )


def test_a_limit_on_cost_and_latency_is_judged_by_the_model_of_the_step(
    desk: Desk, provider: Provider, recorded: Callable[..., None]
) -> None:
    """JSON holds what is said, and why nothing is."""
    recorded("a", settings=ROUTED)
    said = json.loads("\n".join(desk.run("drift", "--json").out))["limits"]
    by_name = {(each["step"], each["limit"]): each for each in said}
    cost = by_name["classify", "max_cost_usd"]
    assert (cost["recorded"], cost["live"], cost["breaks"]) == (0.0002, 0.0002, True)
    assert by_name["classify", "max_latency_ms"]["breaks"] is False
    assert by_name["classify", "min_accuracy"]["cannot_say"] == "it needs the cases, which a cassette does not know"
    assert by_name["answer", "max_latency_ms"]["cannot_say"] == "the settings do not give the step one model"


def test_a_limit_of_a_model_that_did_not_answer_cannot_be_judged(
    desk: Desk, provider: Provider, recorded: Callable[..., None]
) -> None:
    """It neither holds nor breaks."""
    recorded("a", settings=ROUTED)
    provider.status = 500
    lines = desk.run("drift").out
    named = "max_latency_ms, max_mean_latency_ms, max_cost_usd"
    assert f"  cannot say   classify: {named}: no call of 'toy-small' was answered live" in lines


def test_a_limit_on_latency_needs_recorded_latencies(desk: Desk, provider: Provider) -> None:
    """What another tool recorded has none."""
    desk.settings(ROUTED, url=provider.url)
    desk.put(chat("a", url=provider.endpoint, facts=None))
    why = "a live call has no price, or no latency was recorded"
    assert f"  cannot say   classify: max_latency_ms, max_mean_latency_ms: {why}" in desk.run("drift").out


def test_a_call_without_a_recorded_usage_is_estimated_by_its_texts(desk: Desk, provider: Provider) -> None:
    """So that a cap holds for it too."""
    desk.settings(url=provider.url)
    desk.put(chat("four" * 10, "four" * 5, url=provider.endpoint, usage=None))
    assert desk.run("drift").err == ["asking live: 1 call, about 0.00002 USD by the tokens recorded"]


def test_vectors_and_unreadable_replies_are_not_compared(desk: Desk, provider: Provider) -> None:
    """No scorer of texts can."""
    desk.settings(url=provider.url)
    body = json.dumps({"model": "toy-embed", "input": "a"}).encode()
    vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
    reply = {"object": "list", "model": "toy-embed", "data": [vector], "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    headers = (("content-type", "application/json"),)
    broken = chat("b", url=provider.endpoint)
    zipped = chat("c", url=provider.endpoint)
    desk.put(
        chat("a", url=provider.endpoint),
        Interaction(
            request=RecordedRequest(method="POST", url=f"{provider.url}/v1/embeddings", headers=headers, body=body),
            response=RecordedResponse(status=200, headers=headers, body=json.dumps(reply).encode()),
        ),
        replace(broken, response=replace(broken.response, body=b"<html>")),
        replace(zipped, response=replace(zipped.response, headers=(("content-encoding", "gzip"),), body=b"no gzip")),
    )
    out = desk.run("drift").out
    at = out.index("not asked again:")
    assert sorted(out[at + 1 : at + 3]) == ["  1: its reply is a vector", "  2: its reply cannot be read"]


def test_a_provider_that_says_nothing_is_given_up(desk: Desk) -> None:
    """After so many seconds of silence."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        desk.settings(url=url)
        desk.put(chat("a", url=f"{url}/v1/chat/completions"))
        assert "'toy-small': 1 live call failed: timeout" in desk.run("drift", "--timeout", "0.05").out


def test_without_settings_nothing_is_said_of_limits(desk: Desk, provider: Provider) -> None:
    """And that is said."""
    desk.put(chat("a", url=provider.endpoint))
    assert "no settings were found, so that nothing is said of routes and limits" in desk.run("drift").out


def test_cassettes_of_two_settings_are_asked_for_one_at_a_time(desk: Desk) -> None:
    """Each has prices and hosts of its own."""
    for name in ("one", "two"):
        part = Desk(desk.root / name, desk.capsys)
        part.root.mkdir()
        part.settings()
        part.put(chat("a"))
    ran = desk.run("drift", "one", "two")
    assert (ran.code, len(ran.err)) == (2, 1)
    assert ran.err[0].startswith("these cassettes belong to different settings, of ")


def test_a_reply_that_calls_tools_is_compared_by_its_calls(desk: Desk, provider: Provider) -> None:
    """A live reply in words is another one."""
    desk.settings(url=provider.url)
    desk.put(chat("a", "", url=provider.endpoint, tool="refund"))
    ran = desk.run("drift")
    assert ran.code == 1
    assert any("refund" in line and "-> 'LOW'" in line for line in ran.out)
