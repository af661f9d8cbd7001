"""What is said of a request that no recorded call answers: what is nearest, in what it differs, and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_modelroute.cassettes.differences import QUERY, Difference, Redact, printable
from pytest_modelroute.cassettes.interaction import RecordedRequest
from pytest_modelroute.cassettes.json_paths import Every, Place, Step, write_path
from pytest_modelroute.cassettes.matching import Matching
from pytest_modelroute.cassettes.nearest import Near, nearest
from pytest_modelroute.cassettes.volatile import kind_between, kind_of
from pytest_modelroute.cassettes.wording import counted

_PROMPT: Final = 100
"Characters shown of a prompt."
_LINES: Final = 12
"Differences shown."
_PROMPTS: Final = (("content",), ("text",), ("input",), ("prompt",), ("system",))
"The last steps to what a model is told."


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A request that no recorded call answers."""

    request: RecordedRequest
    "Without secrets."
    model: str = ""
    "The model asked; empty for a call that is none of a model."
    prompt: str = ""
    step: str | None = None
    case: str | None = None
    site: str = ""
    "Where in the user's code it was made."
    replayed: int = 0
    "How many equal requests the cassette holds; all of them were replayed already."


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """The cassette in which it was looked for."""

    path: str
    "As a person would type it from here."
    requests: Sequence[RecordedRequest] = ()
    "What it holds, in its order."
    lines: Sequence[int] = ()
    "The line of each in the file; empty where they are not known."
    exists: bool = True
    "Whether there is a file."


def describe_miss(miss: Miss, searched: Searched, *, command: str, redact: Redact, matching: Matching) -> str:
    """
    The message of a miss: verdict, the request, the nearest recorded one, in what it differs, and what to do.

    Args:
        miss: The request.
        searched: The cassette.
        command: What records the calls of this test.
        redact: Takes secrets out of a text; everything shown passes through it.
        matching: What does not tell requests apart.

    """
    lines = [*_asked(miss, redact), *_found(miss, searched, redact, matching), f"To record it: {command}"]
    return "\n".join(printable(redact(line)) for line in lines)


def _asked(miss: Miss, redact: Redact) -> Iterator[str]:
    named = (("model", miss.model), ("step", miss.step), ("case", miss.case))
    labels = "".join(f"  {name} {value!r}" for name, value in named if value)
    yield "no recorded call answers this request:"
    yield f"  {miss.request.method} {miss.request.url}{labels}"
    if miss.prompt:
        prompt = redact(miss.prompt)  # before it is cut: half a secret looks like none
        yield f"  prompt: {prompt if len(prompt) <= _PROMPT else prompt[:_PROMPT] + '...'!r}"
    if miss.site:
        yield f"  called at {miss.site}"


def _found(miss: Miss, searched: Searched, redact: Redact, matching: Matching) -> Iterator[str]:
    if not searched.exists:
        yield f"there is no cassette {searched.path} yet"
        return
    held = len(searched.requests)
    yield f"cassette {searched.path} holds {counted(held, 'interaction') if held else 'no interactions'}"
    if miss.replayed:
        often = "once and was" if miss.replayed == 1 else f"{miss.replayed} times and all were"
        yield f"it was recorded {often} replayed already: the code now makes this call more often"
        return
    for near in nearest(miss.request, searched.requests, matching=matching):
        yield from _compared(near, miss, searched, redact)


def _compared(near: Near, miss: Miss, searched: Searched, redact: Redact) -> Iterator[str]:
    line = f" (line {searched.lines[near.index]})" if near.index < len(searched.lines) else ""
    count = len(near.differences)
    yield f"the nearest recorded request is interaction {near.index + 1}{line}, with {counted(count, 'difference')}:"
    yield from (f"  {each.shown(redact)}" for each in near.differences[:_LINES])
    if count > _LINES:
        yield f"  ... {count - _LINES} more"
    yield from _hints(near, miss, searched.requests[near.index])


def _hints(near: Near, miss: Miss, recorded: RecordedRequest) -> Iterator[str]:
    places = {each.where for each in near.differences}
    if near.same_prompt:
        yield f"the same prompt was recorded for {near.model!r}: another route was taken"
    elif miss.request.body and places and places <= {"host", "path"}:
        another = "host or base URL" if "host" in places else "path"
        yield f"the same body was recorded at {recorded.url.partition('?')[0]}: this call goes to another {another}"
    elif all(_kind(each) for each in near.differences):
        yield from _ignoring(near.differences)


def _ignoring(differences: Sequence[Difference]) -> Iterator[str]:
    """What to put into the settings; a text that says something is not ignored for the date in it."""
    paths = [each for each in differences if each.place is not None and _stands_alone(each)]
    query = [each for each in differences if each.where.startswith(QUERY) and _stands_alone(each)]
    for name, values in (
        ("ignore_paths", [write_path(_for_every_element(each.place or ())) for each in paths]),
        ("ignore_query", [each.where.removeprefix(QUERY) for each in query]),
    ):
        distinct = list(dict.fromkeys(values))
        if distinct:
            parts = "this part changes" if len(distinct) == 1 else "these parts change"
            listed = json.dumps(distinct, ensure_ascii=False)
            yield f"If {parts} from run to run: {name} = {listed} in [tool.modelroute.recording]"
    for each in differences:
        if each not in paths and each not in query:
            what = f"the {_kind(each)} in {each.where}"
            yield f"If {what} changes from run to run, let the test give the code a fixed one"


def _kind(difference: Difference) -> str | None:
    """Of what kind the two values are, where they look as if they changed from run to run."""
    if difference.place == ("model",):
        return None
    return kind_between(difference.old, difference.new)


def _stands_alone(difference: Difference) -> bool:
    """Whether a value is nothing but an id or a time, at a place that is none of the prompt."""
    last = difference.place[-1:] if difference.place else ()
    return kind_of(difference.new) is not None and kind_of(difference.old) is not None and last not in _PROMPTS


def _for_every_element(place: Place) -> list[Step | Every]:
    return [Every.ELEMENT if isinstance(step, int) else step for step in place]
