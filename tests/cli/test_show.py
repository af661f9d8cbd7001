"""`modelroute cassettes show`."""

from __future__ import annotations

from dataclasses import replace

from pytest_modelroute.cassettes.interaction import Interaction, RecordedRequest, RecordedResponse
from tests.cli.recordings import FACTS, Desk, chat, stream

KEY = "sk-proj-" + "A1b2C3d4" * 6


def other(body: bytes = b"<html>") -> Interaction:
    """A request that is no call of a model."""
    return Interaction(
        request=RecordedRequest(method="GET", url="https://shop.test/stock?sku=1"),
        response=RecordedResponse(status=404, reason="Not Found", headers=(("content-type", "text/html"),), body=body),
    )


def test_a_cassette_is_a_table_of_its_interactions(desk: Desk) -> None:
    """Each with line, models, status, pieces, times, tokens and what it cost."""
    streamed = stream("b", ["LO", "W"])
    assert streamed.facts is not None
    path = desk.put(chat("a"), streamed, other())
    ran = desk.run("show", "cassettes/refund.yaml")
    assert ran.code == 0
    assert ran.out[0] == f"cassettes/refund.yaml: 3 interactions, {path.stat().st_size / 1000:.1f} kB"
    rows = [line.split() for line in ran.out[2:6]]
    assert " ".join(rows[0]) == "# line model status stream latency ttft tokens in/out cost USD"
    assert rows[1][2:] == ["toy-small", "->", "toy-small-1", "200", "250", "ms", "100/50", "0.0002"]
    chunks = str(len(streamed.facts.chunks or ()))
    assert rows[2][5:] == ["200", chunks, "chunks", "250", "ms", "100", "ms", "100/50", "0.0002"]
    assert rows[3][2:] == ["GET", "https://shop.test/stock", "404"]
    assert ran.out[-1] == "see one whole: modelroute cassettes show cassettes/refund.yaml 1"


def test_the_line_is_that_of_the_file(desk: Desk) -> None:
    """An editor finds the interaction there."""
    path = desk.put(chat("a"), chat("b"))
    lines = path.read_text("utf-8").splitlines()
    shown = [int(line.split()[1]) for line in desk.run("show", str(path)).out[3:5]]
    assert [lines[line - 1].startswith("- request:") for line in shown] == [True, True]


def test_an_error_a_broken_stream_and_a_missing_price_are_seen(desk: Desk) -> None:
    """They are what one looks for in a table."""
    desk.put(
        chat("a", status=429),
        stream("b", ["LOW"], facts=replace(FACTS, complete=False)),
        chat("c", facts=replace(FACTS, price=None)),
        chat("d", facts=None),
    )
    rows = desk.run("show", "cassettes/refund.yaml").out[3:7]
    assert "429 rate_limit" in rows[0]
    assert "1 chunk, not read to its end" in rows[1]
    assert rows[2].endswith("no price")
    assert rows[3].endswith("100/50")


def test_one_interaction_is_shown_whole(desk: Desk) -> None:
    """Request, joined reply, pieces and facts; the command for the next one last."""
    desk.put(stream("Where is it?", ["It is ", "on its way."]), chat("b"))
    out = desk.run("show", "cassettes/refund.yaml", "1").out
    assert out[0] == "cassettes/refund.yaml:2: interaction 1 of 2: toy-small -> toy-small-1, status 200"
    assert "request  POST http://127.0.0.1:9/v1/chat/completions" in out
    assert '        "content": "Where is it?"' in out
    assert out[out.index("reply") + 1] == "  It is on its way."
    chunks = next(line for line in out if line.startswith("chunks"))
    assert chunks.startswith("chunks   after 100 ms ")
    assert ", +50 ms " in chunks
    for line in (
        "recorded 2026-11-20T15:00:00Z",
        "latency  250 ms",
        "tokens   100 in, 50 out",
        "cost     0.0002 USD",
        "price    input 1, output 2, cache_read 1, cache_write 1 USD per million tokens",
        "with     openai 3.0.0",
    ):
        assert line in out
    assert out[-1] == "the next one: modelroute cassettes show cassettes/refund.yaml 2"


def test_what_another_tool_recorded_says_what_is_missing(desk: Desk) -> None:
    """Its response is shown as it is, where it is no answer of a model."""
    desk.put(other(b"\xff\xfe"), other(b"gone"))
    out = desk.run("show", "cassettes/refund.yaml", "1").out
    assert "  (2 B that are no text)" in out
    assert "facts    none: another tool recorded it, so that time, latency and price are not known" in out
    assert "  gone" in desk.run("show", "cassettes/refund.yaml", "2").out


def test_a_long_body_is_cut(desk: Desk) -> None:
    """A screen holds no more."""
    desk.put(other(b"\n".join(b"line %d" % number for number in range(100))))
    assert "  ... 40 more lines" in desk.run("show", "cassettes/refund.yaml", "1").out


def test_what_is_shown_holds_no_secret(desk: Desk) -> None:
    """Another tool may have recorded one."""
    path = desk.put(chat(f"my key is {KEY}", f"yes, {KEY}", facts=None))
    assert KEY in path.read_text("utf-8")
    out = desk.run("show", str(path), "1").out
    assert KEY not in "\n".join(out)
    assert "  yes, REDACTED" in out


def test_what_a_terminal_acts_on_is_shown_as_text(desk: Desk) -> None:
    """A reply cannot move the cursor, nor reverse what is read."""
    desk.put(chat("a", "\x1b[2Jred \u202e herring"))
    assert r"  \x1b[2Jred \u202e herring" in desk.run("show", "cassettes/refund.yaml", "1").out


def test_a_cassette_that_was_edited_is_shown_with_a_warning(desk: Desk) -> None:
    """One wants to see it before one vouches for it."""
    desk.put(chat("a", "LOW"))
    desk.edit("LOW", "HIGH")
    ran = desk.run("show", "cassettes/refund.yaml", "1")
    assert ran.code == 1
    assert "  HIGH" in ran.out
    assert "it was edited after it was recorded" in ran.err[0]


def test_a_cassette_that_is_damaged_is_an_error(desk: Desk) -> None:
    """There is nothing to show."""
    desk.put(chat("a")).write_text("interactions: [", "utf-8")
    ran = desk.run("show", "cassettes/refund.yaml")
    assert (ran.code, ran.out) == (2, [])
    assert [line.partition(" ")[0] for line in ran.err] == ["cassettes/refund.yaml:1:"]


def test_a_number_beyond_the_last_is_an_error(desk: Desk) -> None:
    """It says how many there are."""
    desk.put(chat("a"))
    ran = desk.run("show", "cassettes/refund.yaml", "2")
    assert (ran.code, ran.err) == (2, ["cassettes/refund.yaml: there is no interaction 2; it holds 1"])


def test_a_folder_is_an_error(desk: Desk) -> None:
    """It names the command that takes one."""
    desk.put(chat("a"))
    ran = desk.run("show", "cassettes")
    assert (ran.code, ran.err) == (
        2,
        ["cassettes: one cassette was expected, not a folder; see what is in it: modelroute cassettes list cassettes"],
    )
