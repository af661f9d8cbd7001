"""`modelroute cassettes list`."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.cli.recordings import FACTS, SETTINGS, Desk, chat

OLD = replace(FACTS, recorded_at="2020-01-02T00:00:00Z")


def test_nothing_recorded_says_how_to_record(desk: Desk) -> None:
    """The error names the folder, and the command."""
    ran = desk.run("list")
    assert (ran.code, ran.out) == (2, [])
    assert ran.err == ["cassettes: there are no cassettes here; record a test: pytest TEST --modelroute-record=new"]


def test_each_cassette_is_a_line_under_the_verdict(desk: Desk) -> None:
    """How many, how large, whether all is fine; then each, and what to do next."""
    desk.settings()
    path = desk.put(chat("a"), chat("b", model="toy-large"), chat("c"), name="tests/test_a/test_x.yaml")
    size = f"{path.stat().st_size / 1000:.1f} kB"
    ran = desk.run("list")
    assert (ran.code, ran.err) == (0, [])
    assert ran.out == [
        f"1 cassette, 3 interactions, {size}: all fine",
        "",
        f"  cassette                            interactions  models                oldest      {'size':<6}  state",
        f"  cassettes/tests/test_a/test_x.yaml  3             toy-small, toy-large  2026-11-20  {size}  ok",
        "",
        "look at one: modelroute cassettes show cassettes/tests/test_a/test_x.yaml",
    ]


def test_many_models_are_counted(desk: Desk) -> None:
    """Three are named, the most called ones first."""
    desk.put(*(chat("a", model=f"m{number}") for number in (1, 2, 3, 4, 5)), chat("b", model="m5"))
    assert "  m5, m1, m2 and 2 more  " in desk.run("list").out[3]


def test_an_unreadable_cassette_is_one_line_and_stops_nothing(desk: Desk) -> None:
    """The others are listed, and the exit code says it."""
    desk.settings()
    desk.put(chat("a"), name="good.yaml")
    (desk.root / "cassettes" / "broken.yaml").write_text("interactions: [", "utf-8")
    ran = desk.run("list")
    assert ran.code == 1
    assert ran.out[0].endswith(": 1 unreadable")
    assert any(line.split()[:2] == ["cassettes/good.yaml", "1"] for line in ran.out)
    at = ran.out.index("unreadable:")
    assert ran.out[at + 1].startswith("  cassettes/broken.yaml:1: ")
    assert ran.out[at + 2 :] == ["", "look at one: modelroute cassettes show cassettes/broken.yaml"]


def test_a_time_that_is_none_is_told_with_the_name_of_the_file(desk: Desk) -> None:
    """It cannot be said whether such a recording is stale."""
    desk.put(chat("a", facts=replace(FACTS, recorded_at="yesterday")))
    ran = desk.run("list")
    assert ran.code == 1
    assert (
        "  cassettes/refund.yaml: response.modelroute.recorded_at: 'yesterday' is no time, such as 2026-11-24T15:00:00Z"
    ) in ran.out


def test_a_link_to_nowhere_is_unreadable(desk: Desk) -> None:
    """It is told as such, in one line."""
    desk.put(chat("a"))
    (desk.root / "cassettes" / "link.yaml").symlink_to("nowhere.yaml")
    assert "  cassettes/link.yaml: it cannot be read: No such file or directory" in desk.run("list").out


def test_stale_cassettes_are_flagged_and_explained(desk: Desk) -> None:
    """One line says that it is stale, another one why; that is no failure by itself."""
    desk.settings()
    desk.put(chat("a", facts=replace(OLD, price={"input": "9", "output": "2"})))
    ran = desk.run("list")
    assert ran.code == 0
    assert ran.out[0].endswith(": 1 stale")
    assert ran.out[3].endswith("  too old, price changed")
    reasons = ran.out[ran.out.index("stale:") + 1 :]
    assert reasons[0] == (
        "  cassettes/refund.yaml: 1 recording of 'toy-small' is older than 180 days (of 2020-01-02); "
        "record it again: pytest TEST --modelroute-record=all"
    )
    assert reasons[1].startswith("  cassettes/refund.yaml: the price of 'toy-small' has changed")
    assert reasons[-2:] == ["", "see what a live model says now: modelroute cassettes drift --sample 20"]


def test_stale_cassettes_fail_where_the_settings_say_so(desk: Desk) -> None:
    """As they fail the test that replays them."""
    desk.settings(SETTINGS + '\n[recording]\nstale = "fail"\n')
    desk.put(chat("a", facts=OLD))
    assert desk.run("list").code == 1


def test_an_alias_that_moved_between_two_cassettes_is_told(desk: Desk) -> None:
    """Each of them alone shows one version."""
    desk.put(chat("a", answered="toy-small-0", facts=replace(FACTS, recorded_at="2026-11-01T00:00:00Z")), name="a.yaml")
    desk.put(chat("b"), name="b.yaml")
    assert (
        "  'toy-small' answered as 'toy-small-0' until 2026-11-01 and as 'toy-small-1' from 2026-11-20 on; "
        "record what is older again (1 recording): pytest --modelroute-record=all"
    ) in desk.run("list").out


def test_what_another_tool_recorded_is_counted_apart(desk: Desk) -> None:
    """Of it neither age nor latency is known."""
    desk.put(chat("a", facts=None), chat("b"), name="foreign.yaml")
    desk.put(chat("a", facts=None), name="old.yaml")
    rows = [line for line in desk.run("list").out if line.startswith("  cassettes/")]
    assert [row.split()[3] for row in rows] == ["2026-11-20", "unknown"]
    assert all(row.endswith("  1 of another tool") for row in rows)


def test_files_and_folders_narrow_the_list(desk: Desk) -> None:
    """What is not asked for is not there."""
    desk.put(chat("a"), name="a/one.yaml")
    desk.put(chat("a"), name="b/two.yaml")
    ran = desk.run("list", "cassettes/a")
    assert [line.split()[0] for line in ran.out if line.startswith("  cassettes/")] == ["cassettes/a/one.yaml"]


def test_a_path_that_is_not_there_is_an_error(desk: Desk) -> None:
    """It was probably typed wrongly."""
    ran = desk.run("list", "cassettes/nothing.yaml")
    assert (ran.code, ran.err) == (
        2,
        ["cassettes/nothing.yaml: there is no such file or folder; see what there is: modelroute cassettes list"],
    )


def test_a_folder_without_cassettes_is_an_error(desk: Desk) -> None:
    """An empty list would pass for a good one."""
    (desk.root / "empty").mkdir()
    ran = desk.run("list", "empty")
    assert (ran.code, ran.err) == (2, ["empty: there are no cassettes in this folder"])


def test_machines_get_json(desk: Desk) -> None:
    """All of it, with kinds in place of words."""
    desk.settings()
    desk.put(chat("a", facts=OLD))
    (desk.root / "cassettes" / "broken.json").write_text("{}", "utf-8")
    ran = desk.run("list", "--json")
    broken, refund = json.loads("\n".join(ran.out))["cassettes"]
    assert ran.code == 1
    assert broken["problem"].startswith("cassettes/broken.json:1: not a cassette")
    assert refund["path"] == "cassettes/refund.yaml"
    assert (refund["interactions"], refund["models"]) == (1, {"toy-small": 1})
    assert [stale["kind"] for stale in refund["stale"]] == ["old"]


def test_the_settings_of_a_cassette_are_those_at_or_above_it(desk: Desk) -> None:
    """As for a test: an example in a folder of its own keeps its own settings."""
    example = Desk(desk.root / "example", desk.capsys)
    example.root.mkdir()
    example.settings('[recording]\nstale = "fail"\n')
    example.put(chat("a", facts=OLD))
    assert desk.run("list", "example/cassettes").code == 1


def test_a_settings_file_can_be_given(desk: Desk) -> None:
    """It then serves every cassette, and its folder of cassettes is the one."""
    desk.settings('cassettes = "recorded"\n')
    (desk.root / "modelroute.toml").rename(desk.root / "other.toml")
    desk.put(chat("a"))
    (desk.root / "cassettes").rename(desk.root / "recorded")
    assert desk.run("list", "--config", "other.toml").code == 0


def test_a_settings_file_that_is_not_there_is_an_error(desk: Desk) -> None:
    """It is named."""
    ran = desk.run("list", "--config", "missing.toml")
    assert (ran.code, ran.err) == (2, ["missing.toml: there is no such settings file"])
