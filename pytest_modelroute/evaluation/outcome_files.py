"""
The file of outcomes beside a cassette: JSON, one outcome a line below a header.

It is sorted and holds no times of day, so that equal recordings give equal files, and a difference between two of them
reads as what has changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Final, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pytest_modelroute.errors import CassetteError
from pytest_modelroute.evaluation.outcomes import AGAIN, Outcome, OutcomeMatrix

SCHEMA: Final = 1
"The version of what we write; a file with a later one is refused."
FORMAT: Final = "pytest-modelroute outcomes"


def read_outcomes(path: str | Path) -> OutcomeMatrix:
    """
    Read the outcomes of a file.

    Raises:
        CassetteError: No such file, or one that is cut, edited, in conflict or of a later version; names the line.

    """
    where = Path(path)
    try:
        data = where.read_bytes()
    except FileNotFoundError:
        raise CassetteError(f"{path}: there are no such outcomes; {AGAIN}") from None
    except OSError as error:
        raise CassetteError(f"{path}: it cannot be read: {error.strerror}") from None
    try:
        return parse_outcomes(data.decode("utf-8"), where)
    except UnicodeDecodeError as error:
        raise CassetteError(f"{path}: not UTF-8 at byte {error.start}; {AGAIN}") from None


def parse_outcomes(text: str, where: str | Path) -> OutcomeMatrix:
    """
    Read the text of a file of outcomes.

    Args:
        text: What the file holds.
        where: The file, for messages.

    Raises:
        CassetteError: As `read_outcomes`.

    """
    # Not splitlines: JSON text may hold U+2028 and its like unescaped.
    lines = text.removesuffix("\n").split("\n")
    header = _read_header(lines[0], f"{where}:1")
    rows: list[Outcome] = []
    places: dict[tuple[str | None, str, str], int] = {}
    for number, line in enumerate(lines[1:], start=2):
        row = _read_row(line, f"{where}:{number}")
        first = places.setdefault((row.step, row.case, row.model), number)
        if first != number:
            raise CassetteError(
                f"{where}:{number}: the case {row.case!r} has an outcome on {row.model!r} already, in line {first}; "
                f"{AGAIN}"
            )
        rows.append(row)
    if header.outcomes != len(rows):
        raise CassetteError(f"{where}: it holds {len(rows)} outcomes, and had {header.outcomes}: it was cut; {AGAIN}")
    if header.cases != _hash_cases(rows):
        raise CassetteError(f"{where}: it was edited: its cases are not those that were recorded; {AGAIN}")
    return OutcomeMatrix(outcomes=rows, scorers=header.scorers, prices=header.prices)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    format: str
    schema: int
    outcomes: int
    cases: str
    scorers: dict[str, str]
    prices: dict[str, dict[str, str] | None]


def _read_header(line: str, where: str) -> _Header:
    value = _read_object(line, where)
    if value.get("format") != FORMAT:
        raise CassetteError(f'{where}: no outcomes of ours: {{"format": "{FORMAT}", ...}} was expected')
    schema = value.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise CassetteError(
            f"{where}: it was written by a later version of pytest-modelroute (schema {schema}; this one reads up to "
            f"{SCHEMA}): upgrade pytest-modelroute"
        )
    return cast("_Header", _validated(_readers()[0], line, where))


def _read_row(line: str, where: str) -> Outcome:
    _read_object(line, where)
    return cast("Outcome", _validated(_readers()[1], line, where))


@cache
def _readers() -> tuple[TypeAdapter[_Header], TypeAdapter[Outcome]]:
    return TypeAdapter(_Header), TypeAdapter(Outcome)


def _read_object(line: str, where: str) -> dict[str, Any]:
    if line[:7] in ("<<<<<<<", "=======", ">>>>>>>"):
        raise CassetteError(f"{where}: a merge conflict; take one side of it, or {AGAIN}")
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CassetteError(f"{where}: an object in JSON was expected, not {_short(line)}; {AGAIN}")
    return cast("dict[str, Any]", value)


def _validated(reader: TypeAdapter[Any], line: str, where: str) -> Any:
    try:
        return reader.validate_json(line, strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"]))
        message = problem["msg"]
        raise CassetteError(f"{where}: {name}: {message[0].lower()}{message[1:]}; {AGAIN}") from None


def write_outcomes(matrix: OutcomeMatrix) -> str:
    """The text of a file of outcomes."""
    rows = sorted(matrix.outcomes, key=lambda outcome: (outcome.step or "", outcome.case, outcome.model))
    header = {
        "format": FORMAT,
        "schema": SCHEMA,
        "outcomes": len(rows),
        "cases": _hash_cases(rows),
        "scorers": dict(sorted(matrix.scorers.items())),
        "prices": {model: matrix.prices[model] for model in sorted(matrix.prices)},
    }
    lines = (json.dumps(header, ensure_ascii=False), *map(_write_row, rows))
    return "".join(f"{line}\n" for line in lines)


def _write_row(row: Outcome) -> str:
    values: dict[str, Any] = {spec.name: getattr(row, spec.name) for spec in fields(row)}
    if row.output_hash is None:
        del values["output_hash"]
    values["cost_usd"] = None if row.cost_usd is None else format(row.cost_usd, "f")
    return json.dumps(values, ensure_ascii=False)


def _hash_cases(rows: Iterable[Outcome]) -> str:
    cases = sorted({(row.step or "", row.case, row.case_hash) for row in rows})
    return short_digest(json.dumps(cases))


def short_digest(text: str) -> str:
    """Stands for a text: 16 characters."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _short(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:57] + "...")  # noqa: PLR2004 - a part of a line, for a message
