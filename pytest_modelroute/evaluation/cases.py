"""Cases: what a step is given, and what is expected of it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from pytest_modelroute.errors import CasesError, MissingExtra


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "missing"

    def __repr__(self) -> str:
        """As it is written."""
        return "MISSING"


MISSING: Final = Missing.MISSING
"Stands where a case has no expected output; None is an output that may be expected."


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case of a step. The words mean what they mean in pydantic-evals."""

    id: str
    "Unique among the cases of a step; comparisons over time pair by it."
    inputs: Any
    "What the function under test is called with."
    expected_output: Any = MISSING
    expected_route: str | tuple[str, ...] | None = None
    "A model, an alias or a tier; several where each is fine."
    slice: str | None = None
    "A part of the cases that is also reported by itself."
    golden: bool = False
    "A case that must never flip."
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def expected_routes(self) -> tuple[str, ...]:
        """The expected routes, none, one or several."""
        if self.expected_route is None:
            return ()
        return (self.expected_route,) if isinstance(self.expected_route, str) else tuple(self.expected_route)


Cases: TypeAlias = str | Path | Iterable[Case | Mapping[str, Any]]
"A file, or the cases themselves."

_FIELDS: Final = ("id", "inputs", "expected_output", "expected_route", "slice", "golden", "metadata")
_CHECKED: Final = ("id", "expected_route", "slice", "golden", "metadata")
_MEANT: Final = {
    "expected": "expected_output",
    "output": "expected_output",
    "label": "expected_output",
    "input": "inputs",
    "query": "inputs",
    "route": "expected_route",
}
_SUFFIXES: Final = (".jsonl", ".csv", ".yaml", ".yml")


def load_cases(source: Cases, *, folders: Sequence[Path] = ()) -> list[Case]:
    """
    Read cases from a file, or check those given.

    Args:
        source: A path (JSONL with one case a line, CSV, YAML), or cases as `Case` or as mappings of its fields.
        folders: Where a relative path is looked for, in this order; the current folder where none is given.

    Raises:
        CasesError: No such file, no case, a malformed or duplicated one; names file and line.

    """
    if isinstance(source, str | Path):
        path = _find(Path(source), folders)
        rows, name = _read_file(path), str(source)
    else:
        rows, name = _number(source), "the cases given"
    cases: list[Case] = []
    seen: dict[str, str] = {}
    for where, row in rows:
        case = _read_case(row, where)
        if case.id in seen:
            raise CasesError(_describe_twice(case, row, where, seen[case.id]))
        seen[case.id] = where
        cases.append(case)
    if not cases:
        raise CasesError(f"{name}: there is no case, so nothing would be measured")
    return cases


def _describe_twice(case: Case, row: Any, where: str, first: str) -> str:
    if isinstance(row, Mapping) and "id" not in row:
        return (
            f"{where}: the same inputs as the case at {first}, and neither has an id: {_short(case.inputs)}; "
            "give each an id or drop one"
        )
    return f"{where}: the case id {case.id!r} is used twice, first at {first}; ids are unique"


def _find(path: Path, folders: Sequence[Path]) -> Path:
    candidates = [path] if path.is_absolute() or not folders else [folder / path for folder in folders]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = ", ".join(dict.fromkeys(str(candidate) for candidate in candidates))
    raise CasesError(f"there is no case file {str(path)!r}; looked for {looked}")


def _number(rows: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(rows, Case | Mapping) or not isinstance(rows, Iterable):
        raise CasesError(f"cases are a file or a list of cases, not {_short(rows)}")
    for number, row in enumerate(cast("Iterable[Any]", rows), start=1):
        yield f"case {number}", row


def _read_file(path: Path) -> Iterator[tuple[str, Any]]:
    """(file and line, row) for each case."""
    if path.suffix not in _SUFFIXES:
        raise CasesError(f"{path}: cases are read from {', '.join(_SUFFIXES)}, not from {path.suffix or 'no suffix'!r}")
    try:
        text = path.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise CasesError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    if path.suffix == ".jsonl":
        return _read_jsonl(path, text)
    return _read_csv(path, text) if path.suffix == ".csv" else _read_yaml(path, text)


def _read_jsonl(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    # Not splitlines: JSON text may hold U+2028 and its like unescaped.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            yield where, json.loads(line, parse_constant=_refuse_constant)
        except ValueError as error:
            place = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise CasesError(f"{where}: not a case in JSON ({place}): {_short(line)}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_csv(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Columns are fields; metadata is JSON, golden is true or false, several routes are separated by |."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if None in row or None in row.values():
                raise CasesError(
                    f"{where}: not as many cells as there are columns ({', '.join(reader.fieldnames or ())})"
                )
            # An empty cell is a field left out, but an empty text is a fine input.
            yield where, {name: _read_cell(name, cell, where) for name, cell in row.items() if cell or name == "inputs"}
    except csv.Error as error:
        raise CasesError(f"{path}:{reader.reader.line_num}: not CSV ({error})") from None


def _read_cell(name: str, cell: str, where: str) -> Any:
    if name == "golden":
        if cell.lower() not in ("true", "false"):
            raise CasesError(f"{where}: golden is true or false, not {cell!r}")
        return cell.lower() == "true"
    if name == "metadata":
        try:
            return json.loads(cell)
        except ValueError as error:
            raise CasesError(f"{where}: metadata is not JSON ({error}): {_short(cell)}") from None
    return cell.split("|") if name == "expected_route" and "|" in cell else cell


def _read_yaml(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    try:
        import yaml
    except ImportError:
        raise MissingExtra("pyyaml", extra="yaml", needed_for=f"reading {path}") from None
    try:
        nodes = yaml.compose(text, Loader=yaml.SafeLoader)
        rows: Any = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise CasesError(f"{path}{line}: not YAML ({getattr(error, 'problem', None) or error})") from None
    if nodes is None:
        return iter(())
    if not isinstance(nodes, yaml.SequenceNode):
        raise CasesError(f"{path}: a list of cases was expected, not {type(rows).__name__}")
    return zip((f"{path}:{node.start_mark.line + 1}" for node in nodes.value), cast("list[Any]", rows), strict=True)


def _read_case(row: Any, where: str) -> Case:
    if isinstance(row, Case):
        _check_types({name: getattr(row, name) for name in _CHECKED}, where)
        return row
    if not isinstance(row, Mapping):
        raise CasesError(f"{where}: a case is an object with {', '.join(_FIELDS)}, not {_short(row)}")
    fields = dict(cast("Mapping[str, Any]", row))
    for name in fields:
        if name not in _FIELDS:
            nearest = _MEANT.get(str(name)) or next(iter(get_close_matches(str(name), _FIELDS, n=1)), None)
            hint = f"did you mean {nearest!r}?" if nearest else "other data belongs into metadata."
            raise CasesError(f"{where}: unknown field {name!r}; {hint} Fields: {', '.join(_FIELDS)}")
    if "inputs" not in fields:
        raise CasesError(f"{where}: the case has no inputs; it has {', '.join(map(str, fields)) or 'no field at all'}")
    _check_types(fields, where)
    routes = fields.get("expected_route")
    if isinstance(routes, list):
        fields["expected_route"] = tuple(cast("list[str]", routes))
    if "id" not in fields:
        fields["id"] = _id_of(fields["inputs"])
    return Case(**fields)


def _check_types(fields: Mapping[str, Any], where: str) -> None:
    checks = {
        "id": "id" not in fields or (isinstance(fields["id"], str) and fields["id"] != ""),
        "slice": isinstance(fields.get("slice"), str | None),
        "golden": isinstance(fields.get("golden", False), bool),
        "metadata": isinstance(fields.get("metadata", {}), Mapping),
        "expected_route": _are_routes(fields.get("expected_route")),
    }
    expected = {
        "id": "a text that is not empty",
        "slice": "a text",
        "golden": "true or false",
        "metadata": "an object",
        "expected_route": "a model, an alias or a tier, or a list of them",
    }
    for name, fine in checks.items():
        if not fine:
            raise CasesError(f"{where}: {name} is {expected[name]}, not {_short(fields[name])}")


def _are_routes(routes: object) -> bool:
    if routes is None or isinstance(routes, str):
        return routes != ""
    if not isinstance(routes, list | tuple):
        return False
    names = cast("Sequence[object]", routes)
    return bool(names) and all(isinstance(name, str) and name for name in names)


def _id_of(inputs: Any) -> str:
    """A case without an id is named by its inputs, so that it keeps its name when the file is reordered."""
    try:
        text = json.dumps(inputs, sort_keys=True, ensure_ascii=False, default=repr)
    except TypeError:  # keys that JSON does not have
        text = repr(inputs)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004
