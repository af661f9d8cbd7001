"""
Scorers: how an output compares with what was expected.

A scorer is any function `score(output, expected)` that returns a bool, or a number from 0 to 1. Set `pass_mark` on it
to say from which score on a case passes (1 where it is not set).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from numbers import Real
from typing import Any, TypeAlias, cast

from pytest_modelroute.errors import ScoreError

Scorer: TypeAlias = Callable[[Any, Any], bool | float]


def exact_match(output: Any, expected: Any) -> bool:
    """Whether the output equals what was expected."""
    return bool(output == expected)


def contains(output: Any, expected: Any) -> bool:
    """Whether the expected text stands in the output, whatever its case."""
    return str(expected).casefold() in str(output).casefold()


def regex(output: Any, expected: Any) -> bool:
    """Whether the expected pattern is found in the output."""
    try:
        return re.search(str(expected), str(output)) is not None
    except re.error as error:
        raise ScoreError(f"the expected output {expected!r} is not a regular expression: {error}") from None


def json_equal(output: Any, expected: Any) -> bool:
    """Whether both are the same JSON value; text is parsed, the order of keys does not matter, 1 equals 1.0."""
    try:
        parsed = json.loads(output) if isinstance(output, str | bytes) else output
    except ValueError:
        return False
    wanted = expected
    if isinstance(expected, str):
        try:
            wanted = json.loads(expected)
        except ValueError:
            wanted = expected
    return _same_json(parsed, wanted)


def _same_json(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right  # in Python True equals 1, in JSON it does not
    if isinstance(left, dict) and isinstance(right, dict):
        ours, theirs = cast("dict[Any, Any]", left), cast("dict[Any, Any]", right)
        return ours.keys() == theirs.keys() and all(_same_json(ours[key], theirs[key]) for key in ours)
    if isinstance(left, list) and isinstance(right, list):
        some, others = cast("list[Any]", left), cast("list[Any]", right)
        return len(some) == len(others) and all(map(_same_json, some, others))
    return bool(left == right)


def numeric(tolerance: Any = 0.0) -> Scorer:
    """
    A scorer that compares numbers, also in text such as "1,250.50".

    Args:
        tolerance: A number, the largest difference that still counts as right, in the numbers' own unit.

    """
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < math.inf:
        raise ScoreError(f"numeric(tolerance={tolerance!r}): a number, 0 or more, was expected")

    def numeric_match(output: Any, expected: Any) -> bool:
        wanted, got = _number(expected), _number(output)
        if wanted is None:
            raise ScoreError(f"numeric: the expected output {expected!r} is not a number")
        # A hair of slack, so that 0.3 is within 0.1 of 0.2 in binary too.
        return got is not None and abs(got - wanted) <= tolerance + 1e-12 * max(abs(got), abs(wanted))

    return numeric_match


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value.replace(",", "") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_score(score: Scorer, output: Any, expected: Any) -> float:
    """
    Ask a scorer.

    Raises:
        ScoreError: It returned something other than a bool or a number from 0 to 1.

    """
    value: object = score(output, expected)
    item = getattr(value, "item", None)  # numpy's numbers and booleans
    if callable(item):
        with suppress(ValueError):  # an array of several elements, which is refused below
            value = item()
    if isinstance(value, Real) and 0 <= float(value) <= 1:
        return float(value)
    raise ScoreError(f"the scorer {scorer_name(score)} returned {value!r}; a bool or a number from 0 to 1 was expected")


def check_scorer(score: object) -> None:
    """
    Refuse what cannot score, before a model is called.

    Raises:
        ScoreError: Not a function, `numeric` without its parentheses, or an impossible pass mark.

    """
    if score is numeric:
        raise ScoreError("score=numeric is the maker of a scorer; call it with the tolerance: score=numeric(0.01)")
    if not callable(score):
        raise ScoreError(
            f"score={score!r} cannot be called; give a function score(output, expected), such as exact_match"
        )
    mark = getattr(score, "pass_mark", 1.0)
    if isinstance(mark, bool) or not isinstance(mark, int | float) or not 0 <= mark <= 1:
        raise ScoreError(f"the pass_mark of {scorer_name(score)} is {mark!r}; a score from 0 to 1 was expected")


def pass_mark(score: Scorer) -> float:
    """The score from which on a case passes."""
    return float(getattr(score, "pass_mark", 1.0))


def scorer_name(score: object) -> str:
    """The scorer as messages name it."""
    return str(getattr(score, "__name__", type(score).__name__))
