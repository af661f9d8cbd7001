"""A text file beside a cassette is replaced whole, under the cassette's rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_modelroute.cassettes.saving import save_beside
from pytest_modelroute.errors import CassetteError, SecretsRemain


def save(folder: Path, text: str, *, name: str = "x.outcomes.jsonl") -> list[str | None]:
    """Save a text; gives what was there."""
    seen: list[str | None] = []

    def change(current: str | None) -> str:
        seen.append(current)
        return text

    def check(text: str) -> None:
        if "secret" in text:
            raise SecretsRemain("it holds a secret")

    save_beside(
        folder / "cassettes" / name, change, folder=folder / "cassettes", state=folder / ".modelroute", check=check
    )
    return seen


def test_it_is_read_as_it_is_and_replaced(tmp_path: Path) -> None:
    """Nothing else is left in the folder."""
    assert [save(tmp_path, "one"), save(tmp_path, "two")] == [[None], ["one"]]
    assert [(path.name, path.read_text()) for path in (tmp_path / "cassettes").iterdir()] == [
        ("x.outcomes.jsonl", "two")
    ]


def test_what_stays_the_same_is_not_touched(tmp_path: Path) -> None:
    """So that its time of change says something."""
    save(tmp_path, "one")
    before = (tmp_path / "cassettes/x.outcomes.jsonl").stat()
    save(tmp_path, "one")
    after = (tmp_path / "cassettes/x.outcomes.jsonl").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_secret_keeps_it_as_it_was(tmp_path: Path) -> None:
    """And nothing is left over."""
    save(tmp_path, "one")
    with pytest.raises(SecretsRemain):
        save(tmp_path, "a secret")
    assert [path.read_text() for path in (tmp_path / "cassettes").iterdir()] == ["one"]


def test_what_is_no_text_is_not_overwritten(tmp_path: Path) -> None:
    """It was not read."""
    path = tmp_path / "cassettes/x.outcomes.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"\xff")
    with pytest.raises(CassetteError, match="not UTF-8 at byte 0; it was not saved"):
        save(tmp_path, "one")
    assert path.read_bytes() == b"\xff"


def test_it_stays_in_its_folder(tmp_path: Path) -> None:
    """Also through a symlink."""
    (tmp_path / "cassettes").mkdir()
    (tmp_path / "cassettes/link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CassetteError, match="it leads out of"):
        save(tmp_path, "one", name="link")
    assert not (tmp_path / "elsewhere").exists()
