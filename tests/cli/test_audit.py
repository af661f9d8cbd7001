"""`modelroute cassettes audit` and `accept`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_modelroute.cassettes.journal import Journal
from tests.cli.recordings import SETTINGS, Desk, chat

KEY = "sk-proj-" + "A1b2C3d4" * 6


def test_clean_cassettes_are_said_to_be_clean(desk: Desk) -> None:
    """And how much was looked at, so that nothing passes for it."""
    desk.put(chat("a"), name="a.yaml")
    desk.put(chat("a"), name="b.json")
    (desk.root / "cassettes" / "README.md").write_text("Recorded on a Tuesday.\n", "utf-8")
    ran = desk.run("audit")
    assert (ran.code, ran.err) == (0, [])
    assert ran.out == ["clean: no secrets in 3 files (2 cassettes), and every cassette is as it was recorded"]


def test_a_secret_is_named_by_file_line_and_kind_and_never_shown(desk: Desk) -> None:
    """In a cassette, and in any other file beside it."""
    path = desk.put(chat(f"use {KEY}"))
    (desk.root / "cassettes" / "notes.txt").write_text(f"first\nthe key is {KEY}\n", "utf-8")
    (desk.root / "cassettes" / ".env").write_text(f"OPENAI_API_KEY={KEY}\n", "utf-8")
    line = next(number for number, text in enumerate(path.read_text("utf-8").splitlines(), 1) if KEY in text)
    ran = desk.run("audit")
    assert ran.code == 1
    assert KEY not in "\n".join([*ran.out, *ran.err])
    assert ran.out[0] == "found 3 secrets in 3 files (1 cassette):"
    assert f"  cassettes/refund.yaml:{line}: OpenAI key" in ran.out
    assert "  cassettes/notes.txt:2: OpenAI key" in ran.out
    assert "  cassettes/.env:1: OpenAI key" in ran.out
    assert ran.out[-2:] == [
        "a key that was committed is known to others: revoke it first. Then record the test again,",
        "or put REDACTED in its place and vouch for the file: modelroute cassettes accept FILE",
    ]


def test_the_value_of_a_key_in_the_environment_is_a_secret(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it looks like."""
    monkeypatch.setenv("SHOP_API_KEY", "plain-words-without-digits")
    desk.put(chat("say plain-words-without-digits"))
    ran = desk.run("audit")
    assert ran.code == 1
    assert "value of $SHOP_API_KEY" in "\n".join(ran.out)


def test_the_journal_is_looked_through_too(desk: Desk) -> None:
    """It waits on the disk as well."""
    Journal(desk.root / ".modelroute", "refund").append(chat(f"use {KEY}"), test="test_a")
    ran = desk.run("audit")
    assert ran.code == 1
    assert any(line.startswith("  .modelroute/journal/refund-") and line.endswith(":1: OpenAI key") for line in ran.out)


def test_a_cassette_that_was_edited_is_found(desk: Desk) -> None:
    """Its checksum does not hold; the message is that of a replay."""
    desk.put(chat("a", "LOW"))
    desk.edit("LOW", "HIGH")
    ran = desk.run("audit")
    assert ran.code == 1
    assert ran.out[0] == "found 1 damaged or unreadable file in 1 file (1 cassette):"
    assert ran.out[1].startswith("  cassettes/refund.yaml:2: interaction 1: it was edited after it was recorded")
    assert len(ran.out) == 2


def test_what_the_settings_call_secret_is_one(desk: Desk) -> None:
    """By the patterns of redaction."""
    desk.settings(SETTINGS + "\n[recording]\npatterns = ['CUST-\\d+']\n")
    desk.put(chat("I am CUST-12345"))
    ran = desk.run("audit")
    assert (ran.code, KEY in str(ran.out)) == (1, False)
    assert any("pattern" in line for line in ran.out)


def test_the_message_of_a_damage_shows_no_secret(desk: Desk) -> None:
    """It may quote what it did not expect."""
    desk.put(chat("a"))
    desk.edit("method: POST", f"method: [{KEY}]")
    ran = desk.run("audit")
    assert ran.code == 1
    assert KEY not in "\n".join(ran.out)
    assert any("request.method is text, not ['REDACTED']" in line for line in ran.out)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_found(desk: Desk) -> None:
    """What is not looked through is not clean."""
    desk.put(chat("a")).chmod(0)
    assert desk.run("audit").code == 1


def test_a_link_to_nowhere_is_found(desk: Desk) -> None:
    """What is not looked through is not clean."""
    desk.put(chat("a"))
    (desk.root / "cassettes" / "link.txt").symlink_to("nowhere")
    assert (
        "  cassettes/link.txt: it cannot be read, and so not be looked through: No such file or directory"
        in desk.run("audit").out
    )


def test_files_and_folders_can_be_named(desk: Desk) -> None:
    """Anywhere, and the rest is left alone."""
    desk.put(chat(f"use {KEY}"), name="bad/one.yaml")
    desk.put(chat("a"), name="good/two.yaml")
    assert desk.run("audit", "cassettes/good").code == 0
    assert desk.run("audit", "cassettes/good/two.yaml", "cassettes/bad/one.yaml").code == 1


def test_nothing_recorded_is_an_error(desk: Desk) -> None:
    """Nothing that was looked at would pass for clean."""
    ran = desk.run("audit")
    assert (ran.code, ran.err) == (
        2,
        ["cassettes: there is no such folder, and no journal either: nothing is recorded here"],
    )


def test_an_edit_can_be_vouched_for(desk: Desk) -> None:
    """The checksums are made anew, and the file is good again."""
    desk.put(chat("a", "LOW"))
    desk.edit("LOW", "HIGH")
    ran = desk.run("accept", "cassettes/refund.yaml")
    assert (ran.code, ran.out) == (
        0,
        ["cassettes/refund.yaml: accepted as it is now, 1 interaction; look at the diff before you commit it"],
    )
    assert desk.run("audit").code == 0
    assert desk.run("accept", "cassettes/refund.yaml").out == [
        "cassettes/refund.yaml: nothing to accept, it is as it was recorded"
    ]


def test_an_edit_with_a_secret_is_not_accepted(desk: Desk) -> None:
    """The file stays as it is, and the message says where, not what."""
    path = desk.put(chat("a", "LOW"))
    desk.edit("LOW", KEY)
    before = path.read_bytes()
    ran = desk.run("accept", str(Path("cassettes/refund.yaml")))
    assert (ran.code, ran.out, path.read_bytes()) == (2, [], before)
    assert ran.err[0] == "cassettes/refund.yaml was not saved, since it would hold 1 secret:"
    assert ran.err[1].endswith(": OpenAI key")
    assert ran.err[2] == "Put REDACTED in their place, and accept it again"


def test_a_cassette_outside_of_its_folder_is_not_accepted(desk: Desk) -> None:
    """As it could not be replayed."""
    desk.put(chat("a"))
    (desk.root / "elsewhere.yaml").write_bytes((desk.root / "cassettes/refund.yaml").read_bytes())
    ran = desk.run("accept", "elsewhere.yaml")
    assert ran.code == 2
    assert ran.err[0].startswith("elsewhere.yaml: it leads out of ")


def test_a_hook_of_the_settings_is_imported_from_their_folder(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pytest finds it there."""
    monkeypatch.syspath_prepend(str(desk.root / "nothing"))
    (desk.root / "hiding_hook.py").write_text("def hide(text):\n    return text.replace('Jane', 'REDACTED')\n", "utf-8")
    desk.settings(SETTINGS + '\n[recording]\nredact = "hiding_hook:hide"\n')
    call = chat("I am Jane")
    desk.put(replace(call, facts=None))
    assert "Jane" not in "\n".join(desk.run("show", "cassettes/refund.yaml", "1").out)
