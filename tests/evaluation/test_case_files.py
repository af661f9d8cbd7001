"""Cases in files: what is read, and how a broken file says where it is broken."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_modelroute.errors import CasesError, MissingExtra
from pytest_modelroute.evaluation.cases import MISSING, Case, load_cases

FIELDS = "id, inputs, expected_output, expected_route, slice, golden, metadata"
FULL = Case(
    id="one",
    inputs="where is it",
    expected_output="order",
    expected_route=("small", "medium"),
    slice="night",
    golden=True,
    metadata={"source": "log"},
)


def _file(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _problem(source: Any, *, folders: tuple[Path, ...] = ()) -> str:
    with pytest.raises(CasesError) as caught:
        load_cases(source, folders=folders)
    return str(caught.value)


def _inputs(path: Path) -> list[Any]:
    return [case.inputs for case in load_cases(path)]


JSONL = """{"id": "one", "inputs": "where is it", "expected_output": "order", "expected_route": ["small", "medium"], \
"slice": "night", "golden": true, "metadata": {"source": "log"}}
"""
CSV = """id,inputs,expected_output,expected_route,slice,golden,metadata
one,where is it,order,small|medium,night,TRUE,"{""source"": ""log""}"
"""
YAML = """
- id: one
  inputs: where is it
  expected_output: order
  expected_route: [small, medium]
  slice: night
  golden: true
  metadata: {source: log}
"""


@pytest.mark.parametrize(
    ("name", "text"), [("cases.jsonl", JSONL), ("cases.csv", CSV), ("cases.yaml", YAML), ("cases.yml", YAML)]
)
def test_every_field_is_read_from_every_format(tmp_path: Path, name: str, text: str) -> None:
    """JSONL, CSV and YAML with the same content give the same case."""
    assert load_cases(_file(tmp_path, name, text)) == [FULL]


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    """A file is named by text as well as by Path."""
    path = _file(tmp_path, "cases.jsonl", '{"inputs": "a"}')
    assert load_cases(str(path)) == load_cases(path)


def test_a_relative_path_is_looked_for_in_the_folders_in_order(tmp_path: Path) -> None:
    """The first folder that has the file wins."""
    for name in ("second", "third"):
        (tmp_path / name).mkdir()
        _file(tmp_path / name, "cases.jsonl", f'{{"inputs": "{name}"}}')
    folders = [tmp_path / name for name in ("first", "second", "third")]
    assert [case.inputs for case in load_cases("cases.jsonl", folders=folders)] == ["second"]


def test_an_absolute_path_needs_no_folder(tmp_path: Path) -> None:
    """Folders are for relative paths alone."""
    path = _file(tmp_path, "cases.jsonl", '{"inputs": "a"}')
    assert len(load_cases(path, folders=[tmp_path / "elsewhere"])) == 1


def test_without_folders_the_current_folder_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a script a relative path means what it means everywhere."""
    _file(tmp_path, "cases.jsonl", '{"inputs": "a"}')
    monkeypatch.chdir(tmp_path)
    assert len(load_cases("cases.jsonl")) == 1


def test_a_file_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    """Each place is listed once."""
    folders = (tmp_path / "suite", tmp_path, tmp_path)
    assert _problem("cases.jsonl", folders=folders) == (
        f"there is no case file 'cases.jsonl'; looked for {tmp_path}/suite/cases.jsonl, {tmp_path}/cases.jsonl"
    )


@pytest.mark.parametrize(("name", "suffix"), [("cases.json", ".json"), ("cases", "no suffix")])
def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path, name: str, suffix: str) -> None:
    """A file in another format is refused before it is read."""
    path = _file(tmp_path, name, "[]")
    assert _problem(path) == f"{path}: cases are read from .jsonl, .csv, .yaml, .yml, not from {suffix!r}"


def test_a_file_that_is_not_utf8_names_the_byte(tmp_path: Path) -> None:
    """Latin-1 from a spreadsheet is told from UTF-8, with what to do."""
    path = _file(tmp_path, "cases.jsonl", '{"inputs": "Stra\xdfe"}'.encode("latin-1"))
    assert _problem(path) == f"{path}: not UTF-8 at byte 16; save the file as UTF-8"


def test_the_byte_that_is_not_utf8_is_counted_from_the_start_of_the_file(tmp_path: Path) -> None:
    """A byte order mark before it does not shift the place."""
    path = _file(tmp_path, "cases.jsonl", b'\xef\xbb\xbf{"inputs": "\xff"}')
    assert _problem(path) == f"{path}: not UTF-8 at byte 15; save the file as UTF-8"


@pytest.mark.parametrize(
    ("name", "text"), [("cases.jsonl", " \n\n"), ("cases.csv", "id,inputs\n"), ("cases.csv", ""), ("cases.yaml", "[]")]
)
def test_a_file_without_a_case_is_refused(tmp_path: Path, name: str, text: str) -> None:
    """An empty file would measure nothing and pass."""
    path = _file(tmp_path, name, text)
    assert _problem(path) == f"{path}: there is no case, so nothing would be measured"


def test_an_empty_yaml_file_is_said_to_have_no_case(tmp_path: Path) -> None:
    """An empty file reads alike in every format."""
    path = _file(tmp_path, "cases.yaml", "# nothing yet\n")
    assert _problem(path) == f"{path}: there is no case, so nothing would be measured"


@pytest.mark.parametrize("name", ["cases.jsonl", "cases.csv", "cases.yaml"])
@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b""], ids=["bom", "plain"])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["crlf", "lf"])
def test_byte_order_marks_and_line_ends_change_nothing(tmp_path: Path, name: str, start: bytes, end: bytes) -> None:
    """Files saved by Windows programs are read as any other."""
    lines = {
        "cases.jsonl": [b'{"inputs": "a"}', b'{"inputs": "b"}'],
        "cases.csv": [b"inputs", b"a", b"b"],
        "cases.yaml": [b"- inputs: a", b"- inputs: b"],
    }[name]
    assert _inputs(_file(tmp_path, name, start + end.join(lines) + end)) == ["a", "b"]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"], ids=ascii)
def test_a_separator_inside_a_line_does_not_end_it(tmp_path: Path, separator: str) -> None:
    """Only a newline ends a line of JSONL: JSON text may hold U+2028 and its like unescaped."""
    text = f"a{separator}b"
    escaped = text if separator not in "\x0b\x1c" else text.replace(separator, f"\\u{ord(separator):04x}")
    assert _inputs(_file(tmp_path, "cases.jsonl", f'{{"inputs": "{escaped}"}}\n')) == [text]


def test_blank_lines_are_counted_but_not_read(tmp_path: Path) -> None:
    """A message names the line as an editor shows it."""
    path = _file(tmp_path, "cases.jsonl", '{"inputs": "a"}\n\n  \n{"imputs": "b"}\n')
    assert _problem(path) == f"{path}:4: unknown field 'imputs'; did you mean 'inputs'? Fields: {FIELDS}"


def test_a_line_that_is_no_json_is_shown(tmp_path: Path) -> None:
    """File, line, the parser's words and the line itself."""
    path = _file(tmp_path, "cases.jsonl", '{"inputs": "a"}\n{"inputs": \n')
    assert _problem(path) == (f"{path}:2: not a case in JSON (Expecting value at column 12): '{{\"inputs\": '")


def test_a_long_line_that_is_no_json_is_cut(tmp_path: Path) -> None:
    """A message stays short, however long the line."""
    path = _file(tmp_path, "cases.jsonl", '{"inputs": "' + "a" * 500)
    assert _problem(path).endswith(': \'{"inputs": "' + "a" * 64 + "...")


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_does_not_have_is_refused(tmp_path: Path, word: str) -> None:
    """Python writes NaN into JSON; other readers cannot read it, and it equals nothing."""
    path = _file(tmp_path, "cases.jsonl", f'{{"inputs": {word}}}')
    assert _problem(path) == f"{path}:1: not a case in JSON ({word} is not JSON): '{{\"inputs\": {word}}}'"


@pytest.mark.parametrize("line", ["[1]", '"a"', "3", "null"])
def test_a_line_that_is_no_object_is_refused(tmp_path: Path, line: str) -> None:
    """The message says what a case is made of."""
    path = _file(tmp_path, "cases.jsonl", line)
    assert _problem(path).startswith(f"{path}:1: a case is an object with {FIELDS}, not ")


def test_an_empty_cell_leaves_its_field_out(tmp_path: Path) -> None:
    """CSV has no other way to say that a case expects nothing."""
    path = _file(tmp_path, "cases.csv", "inputs,expected_output,expected_route,slice,golden,metadata\na,,,,,\n")
    (case,) = load_cases(path)
    assert case == Case(id=case.id, inputs="a", expected_output=MISSING)


def test_an_empty_input_is_an_input(tmp_path: Path) -> None:
    """The empty query is a case that routers meet."""
    path = _file(tmp_path, "cases.csv", "id,inputs\nempty,\n")
    assert _inputs(path) == [""]


def test_one_route_in_a_cell_is_no_list(tmp_path: Path) -> None:
    """Only | makes several of it."""
    path = _file(tmp_path, "cases.csv", "inputs,expected_route\na,small\n")
    assert load_cases(path)[0].expected_route == "small"


def test_a_cell_may_hold_a_line_break(tmp_path: Path) -> None:
    """A quoted cell is one cell."""
    path = _file(tmp_path, "cases.csv", 'inputs,expected_output\n"two\nlines",b\n')
    assert _inputs(path) == ["two\nlines"]


@pytest.mark.parametrize("row", ["one", "one,a,b"], ids=["few", "many"])
def test_a_row_with_another_number_of_cells_is_refused(tmp_path: Path, row: str) -> None:
    """A missing quote or comma shifts every cell after it."""
    path = _file(tmp_path, "cases.csv", f"id,inputs\nzero,a\n{row}\n")
    assert _problem(path) == f"{path}:3: not as many cells as there are columns (id, inputs)"


def test_a_golden_cell_is_true_or_false(tmp_path: Path) -> None:
    """Yes and 1 are not guessed at."""
    path = _file(tmp_path, "cases.csv", "inputs,golden\na,yes\n")
    assert _problem(path) == f"{path}:2: golden is true or false, not 'yes'"


def test_a_golden_cell_may_be_false(tmp_path: Path) -> None:
    """The word false is not taken for a text that is true."""
    path = _file(tmp_path, "cases.csv", "inputs,golden\na,False\n")
    assert load_cases(path)[0].golden is False


def test_a_metadata_cell_is_json(tmp_path: Path) -> None:
    """The message shows the cell."""
    path = _file(tmp_path, "cases.csv", "inputs,metadata\na,source=log\n")
    assert _problem(path) == f"{path}:2: metadata is not JSON (Expecting value: line 1 column 1 (char 0)): 'source=log'"


def test_a_metadata_cell_is_an_object(tmp_path: Path) -> None:
    """Other JSON is refused as in any other format."""
    path = _file(tmp_path, "cases.csv", "inputs,metadata\na,3\n")
    assert _problem(path) == f"{path}:2: metadata is an object, not 3"


def test_a_column_without_a_field_is_refused(tmp_path: Path) -> None:
    """A space in the heading is enough for another name."""
    path = _file(tmp_path, "cases.csv", "id, inputs\none,a\n")
    assert _problem(path).startswith(f"{path}:2: unknown field ' inputs'; did you mean 'inputs'?")


def test_a_quote_that_is_not_closed_names_its_line(tmp_path: Path) -> None:
    """The line at which the text stops being CSV is the one in the message."""
    path = _file(tmp_path, "cases.csv", 'id,inputs\none,a\ntwo,"b\n')
    assert _problem(path) == f"{path}:3: not CSV (unexpected end of data)"


def test_text_that_is_no_csv_is_refused(tmp_path: Path) -> None:
    """A quote in the middle of a quoted cell is an error, and not a guess."""
    path = _file(tmp_path, "cases.csv", 'id,inputs\none,"a"b\n')
    assert _problem(path).endswith(": not CSV (',' expected after '\"')")


def test_a_case_in_yaml_is_named_by_its_first_line(tmp_path: Path) -> None:
    """File and line of the list entry, comments and blank lines counted."""
    path = _file(tmp_path, "cases.yaml", "# cases\n- inputs: a\n\n- slice: b\n")
    assert _problem(path) == f"{path}:4: the case has no inputs; it has slice"


def test_yaml_that_is_no_list_is_refused(tmp_path: Path) -> None:
    """A mapping of cases by id is not what is read."""
    path = _file(tmp_path, "cases.yaml", "one:\n  inputs: a\n")
    assert _problem(path) == f"{path}: a list of cases was expected, not dict"


def test_text_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    """The parser's words say where."""
    path = _file(tmp_path, "cases.yaml", "- inputs: [\n")
    assert _problem(path) == f"{path}:2: not YAML (expected the node content, but found '<stream end>')"


def test_yaml_makes_no_python_objects(tmp_path: Path) -> None:
    """A case file is data; a tag that would run code is refused."""
    path = _file(tmp_path, "cases.yaml", "- inputs: !!python/object/apply:os.getcwd []\n")
    assert "could not determine a constructor" in _problem(path)


def test_a_date_that_does_not_exist_is_an_error_of_the_file(tmp_path: Path) -> None:
    """Whatever PyYAML raises, the message names the file."""
    path = _file(tmp_path, "cases.yaml", "- inputs: 2024-13-45\n")
    assert _problem(path).startswith(f"{path}")


def test_yaml_without_pyyaml_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that brings it is named."""
    path = _file(tmp_path, "cases.yaml", "- inputs: a\n")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtra) as caught:
        load_cases(path)
    assert str(caught.value) == f"reading {path} needs pyyaml: pip install 'pytest-modelroute[yaml]'"


def test_an_id_used_twice_names_both_places(tmp_path: Path) -> None:
    """The second place and the first, so that neither has to be searched for."""
    path = _file(tmp_path, "cases.jsonl", '{"id": "a", "inputs": 1}\n\n{"id": "a", "inputs": 2}\n')
    assert _problem(path) == f"{path}:3: the case id 'a' is used twice, first at {path}:1; ids are unique"


def test_two_cases_with_the_same_inputs_and_no_id_are_told_apart_by_asking_for_ids(tmp_path: Path) -> None:
    """An id that was derived from the inputs means nothing to who wrote the file; the inputs do."""
    path = _file(tmp_path, "cases.jsonl", '{"inputs": "hello"}\n{"inputs": "hello"}\n')
    assert _problem(path) == (
        f"{path}:2: the same inputs as the case at {path}:1, and neither has an id: 'hello'; "
        "give each an id or drop one"
    )
