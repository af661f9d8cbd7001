"""What sources of tests say without being run: only what is certain."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_modelroute.cassettes.sources import is_gone, markers_of, sources_naming_cassettes


@pytest.mark.parametrize(
    ("source", "function", "gone"),
    [
        ("def test_a(): ...", ("test_a",), False),
        ("def test_b(): ...", ("test_a",), True),
        ("from laws import *", ("test_a",), False),
        ("from laws import test_a", ("test_a",), False),
        ("class TestA:\n    def test_b(self): ...", ("TestA", "test_a"), True),
        ("class TestA(Laws):\n    pass", ("TestA", "test_a"), False),
        ("class TestA(metaclass=Made):\n    pass", ("TestA", "test_a"), False),
        ("class TestB:\n    pass", ("TestA", "test_a"), True),
        ("TestA = make()", ("TestA", "test_a"), False),
        ("class TestA:\n    def (", ("TestA", "test_a"), False),
        ("anything", (), False),
    ],
)
def test_a_test_is_gone_only_where_nothing_could_bring_it(
    tmp_path: Path, source: str, function: tuple[str, ...], *, gone: bool
) -> None:
    """Imports, bases and makers could; and what is not Python says nothing."""
    module = tmp_path / "test_x.py"
    module.write_text(source, "utf-8")
    assert is_gone(module, function) is gone


def test_a_module_that_is_not_there_or_not_to_be_read(tmp_path: Path) -> None:
    """The one is certain, the other is not."""
    assert is_gone(tmp_path / "test_x.py", ("test_a",))
    (tmp_path / "test_y.py").write_bytes(b"\xff")
    assert not is_gone(tmp_path / "test_y.py", ("test_a",))


def test_the_marker_names_the_test_where_it_stands_on_one(tmp_path: Path) -> None:
    """Positional or by name; elsewhere the file alone is known; installed packages are not looked into."""
    texts = {
        "test_a.py": '@pytest.mark.cassette("shared")\ndef test_one(): ...\n\n@mark.cassette(name="shared.yaml")\n'
        'async def test_two(): ...\n\n@pytest.mark.cassette("other")\ndef test_three(): ...\n',
        "test_b.py": "pytestmark = pytest.mark.cassette('shared')\n",
        "test_c.py": "cassette 'shared' def (",
        "test_d.py": '@pytest.mark.cassette("other")\ndef test_four(): ...\n',
        ".venv/test_e.py": '@pytest.mark.cassette("shared")\ndef test_five(): ...\n',
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "test_f.py").write_bytes(b"\xffcassette")
    found = markers_of(sources_naming_cassettes(tmp_path), {"shared", "shared.yaml"})
    assert [(path.name, function) for path, function in found] == [
        ("test_a.py", "test_one"),
        ("test_a.py", "test_two"),
        ("test_b.py", None),
        ("test_c.py", None),
    ]
