"""Places in a JSON body: `$.metadata.run_id`, `$.messages[*].id`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias, cast

from pytest_modelroute.errors import CassetteError


class Every(Enum):
    """The step of a pattern that stands for every member or every element."""

    MEMBER = ".*"
    ELEMENT = "[*]"


Step: TypeAlias = str | int
"The name of a member, or the index of an element."
Place: TypeAlias = tuple[Step, ...]
"The steps from the root of a body to a value in it."
Pattern: TypeAlias = tuple[Step | Every, ...]
"The places that a path of the settings means."

_STEP: Final = re.compile(
    r"""\.(?P<name>[^\s.\[\]*'"]+)   |   \.(?P<members>\*)   |   \[(?P<elements>\*)\]   |   \[(?P<index>\d+)\]
    |   \['(?P<single>[^']+)'\]   |   \["(?P<double>[^"]+)"\]""",
    re.VERBOSE,
)
_PLAIN: Final = re.compile(r"[A-Za-z_][\w-]*")


def parse_path(path: object) -> Pattern:
    """
    Read a path of the settings.

    Raises:
        CassetteError: It is none; the message shows what one looks like.

    """
    text = path if isinstance(path, str) else ""
    steps: list[Step | Every] = []
    position = 1
    while text.startswith("$") and (match := _STEP.match(text, position)):
        steps.append(_step(match))
        position = match.end()
    if not steps or position < len(text):
        why = " (the whole body, without which all requests would be equal)" if text == "$" else ""
        raise CassetteError(
            f"ignore_paths: {path!r}{why} is no path into a JSON body. A path begins with $ and goes on with .name, "
            "['any name'], [0], .* for every member or [*] for every element: "
            "$.user, $.metadata.*, $.messages[*].id"
        )
    return tuple(steps)


def write_path(place: Iterable[Step | Every]) -> str:
    """A place as people write it; `parse_path` reads it back, but for names that hold both kinds of quotes."""
    return "$" + "".join(_written(step) for step in place)


def covers(pattern: Pattern, place: Place) -> bool:
    """Whether a place is one that the pattern means, or inside of one."""
    return len(pattern) <= len(place) and all(_meets(want, step) for want, step in zip(pattern, place, strict=False))


def without(body: Any, patterns: Sequence[Pattern]) -> Any:
    """Take out of a body, in place, what the patterns mean; a body that is no object or array is left as it is."""
    for pattern in patterns:
        holders = [body]
        for step in pattern[:-1]:
            holders = [child for holder in holders for child in _children(holder, step)]
        for holder in holders:
            _remove(holder, pattern[-1])
    return body


def _step(match: re.Match[str]) -> Step | Every:
    kind, text = cast("str", match.lastgroup), match[cast("str", match.lastgroup)]
    if kind in ("members", "elements"):
        return Every.MEMBER if kind == "members" else Every.ELEMENT
    return int(text) if kind == "index" else text


def _written(step: Step | Every) -> str:
    if isinstance(step, Every):
        return str(step.value)
    if isinstance(step, int):
        return f"[{step}]"
    if _PLAIN.fullmatch(step):
        return f".{step}"
    return f"['{step}']" if "'" not in step else f"[{json.dumps(step, ensure_ascii=False)}]"


def _meets(want: Step | Every, step: Step) -> bool:
    if isinstance(want, Every):
        return isinstance(step, str) == (want is Every.MEMBER)
    return want == step


def _children(holder: Any, step: Step | Every) -> list[Any]:
    if isinstance(holder, dict):
        members = cast("dict[Any, Any]", holder)
        return list(members.values()) if step is Every.MEMBER else [members[step]] if step in members else []
    if isinstance(holder, list):
        elements = cast("list[Any]", holder)
        return list(elements) if step is Every.ELEMENT else elements[step : step + 1] if isinstance(step, int) else []
    return []


def _remove(holder: Any, step: Step | Every) -> None:
    if isinstance(holder, dict):
        if step is Every.MEMBER:
            holder.clear()
        else:
            cast("dict[Any, Any]", holder).pop(step, None)
    elif isinstance(holder, list):
        elements = cast("list[Any]", holder)
        if step is Every.ELEMENT:
            elements.clear()
        elif isinstance(step, int):
            del elements[step : step + 1]
