"""`modelroute cassettes stats`."""

from __future__ import annotations

import json
from dataclasses import replace

from pytest_modelroute.cassettes.interaction import Interaction, RecordedRequest, RecordedResponse
from tests.cli.recordings import FACTS, Desk, chat, stream

NO_USAGE = (
    "1 call without a cost, since no usage was reported (a stream of OpenAI's form does with "
    "stream_options={'include_usage': True})"
)


def timed(question: str, latency_s: float) -> Interaction:
    """A call that took so long."""
    return chat(question, facts=replace(FACTS, latency_s=latency_s))


def test_each_model_is_a_line_under_the_sum(desk: Desk) -> None:
    """Calls, tokens, cost then and now, and latencies."""
    desk.settings()
    desk.put(*(timed(str(number), number / 100) for number in range(1, 21)), stream("s", ["LO", "W"]))
    ran = desk.run("stats")
    assert (ran.code, ran.err) == (0, [])
    assert ran.out[0] == "21 calls of 1 model in 1 cassette: 0.0042 USD as recorded, 0.0042 USD today"
    assert " ".join(ran.out[2].split()) == (
        "provider model calls tokens in/out USD recorded USD today p50 p95 streams ttft p50"
    )
    assert " ".join(ran.out[3].split()) == "toy toy-small 21 2,100/1,050 0.0042 0.0042 110 ms 200 ms 1 100 ms"
    assert ran.out[4:] == ["", "see what has changed since: modelroute cassettes drift --sample 20"]


def test_a_price_that_has_changed_shows_beside_the_recorded_one(desk: Desk) -> None:
    """The recording keeps its own."""
    desk.settings()
    desk.put(chat("a", facts=replace(FACTS, price={"input": "10", "output": "20"})))
    assert desk.run("stats").out[0] == "1 call of 1 model in 1 cassette: 0.002 USD as recorded, 0.0002 USD today"


def test_what_has_no_cost_is_counted_and_not_taken_for_free(desk: Desk) -> None:
    """By why it has none."""
    desk.put(
        chat("a", usage=None),
        chat("b", facts=replace(FACTS, price=None)),
        chat("c"),
        chat("d", facts=None),
        chat("e", status=500),
        Interaction(
            request=RecordedRequest(method="GET", url="https://shop.test/stock"), response=RecordedResponse(status=200)
        ),
    )
    ran = desk.run("stats")
    row = " ".join(next(line for line in ran.out if line.startswith("  toy ")).split())
    assert row == "toy toy-small 4 1 200/100 0.0002 + 2 unknown 0 + 3 unknown 250 ms 250 ms"
    assert ran.out[ran.out.index("", 2) + 1 : -2] == [
        NO_USAGE,
        "2 calls without a price as recorded",
        "3 calls without a price today",
        "1 call recorded by another tool, without latency",
        "1 interaction that is no call of a model",
    ]


def test_a_cassette_that_cannot_be_read_is_told_and_left_out(desk: Desk) -> None:
    """The numbers say of how many cassettes they are."""
    desk.settings()
    desk.put(chat("a"))
    (desk.root / "cassettes" / "broken.yaml").write_text("interactions: [", "utf-8")
    ran = desk.run("stats")
    assert ran.code == 1
    assert ran.err[0].startswith("cassettes/broken.yaml:1: ")
    assert ran.out[0].startswith("1 call of 1 model in 1 cassette: ")


def test_machines_get_json_with_exact_amounts(desk: Desk) -> None:
    """Amounts are texts, milliseconds numbers."""
    desk.settings()
    desk.put(chat("a"), stream("b", ["LOW"]))
    (model,) = json.loads("\n".join(desk.run("stats", "--json").out))["models"]
    assert model["recorded_usd"] == "0.0004"
    assert (model["calls"], model["streams"], model["foreign"], model["errors"]) == (2, 1, 0, 0)
    assert (model["latency_p50_ms"], model["latency_p95_ms"], model["ttft_p50_ms"]) == (250.0, 250.0, 100.0)


def test_a_cassette_without_calls_of_models_has_no_table(desk: Desk) -> None:
    """Nor a next command, since there is nothing to repeat."""
    desk.put(
        Interaction(
            request=RecordedRequest(method="GET", url="https://shop.test/stock"), response=RecordedResponse(status=200)
        )
    )
    assert desk.run("stats").out == [
        "0 calls of 0 models in 1 cassette: 0 USD as recorded, 0 USD today",
        "",
        "1 interaction that is no call of a model",
    ]
