"""What is known of a recorded interaction beyond what was said: when, how fast, by which model, at which price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Final, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from pytest_modelroute.errors import CassetteError

SCHEMA: Final = 1
"The version of what we write; a cassette with a later one is refused."
KEY: Final = "modelroute"
"The name of our part inside of a response."
_SHOWN: Final = 80

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of an interaction beyond what was said."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    schema: Count = SCHEMA
    recorded_at: str
    "UTC, to the second: 2026-11-24T15:00:00Z."
    latency_s: Seconds
    "Seconds until the reply was complete."
    ttft_s: Seconds | None = None
    "Seconds until the first piece of a stream; None for a reply that came whole."
    chunks: tuple[tuple[Seconds, Size], ...] | None = None
    "The pieces of a stream: (seconds since the piece before, bytes); the first one came at `ttft_s`."
    complete: bool = True
    "Whether the reply was read to its end; the client may have closed a stream before."
    provider: str = ""
    "The provider called; empty for a call that is none of a model."
    model: str = ""
    "The model asked for."
    model_answered: str = ""
    "The model that the reply names."
    fingerprint: str = ""
    "The system fingerprint that the reply names."
    attempt: Count = 1
    "2 for the first retry of an equal request in the same test, and so on."
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    "Package -> version, of the client and of this plugin."
    price: Mapping[str, str] | None = None
    "USD per million tokens at the time of recording, by bucket; None where the model had no price."
    checksum: str = ""
    "Of what was said and of these facts; empty where somebody vouches for an edit."
    count: Count | None = None
    "How many interactions the cassette holds, on its last one: a file that was cut has none."

    def to_raw(self) -> dict[str, Any]:
        """As a cassette holds them: only what differs from the default, in this order."""
        values = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        raw = {name: value for name, value in values.items() if name == "schema" or value not in (None, "", {})}
        if self.complete:
            del raw["complete"]
        if self.attempt == 1:
            del raw["attempt"]
        if self.chunks is not None:
            raw["chunks"] = [list(chunk) for chunk in self.chunks]
        for name in ("versions", "price"):
            if name in raw:
                raw[name] = dict(raw[name])
        return raw

    @classmethod
    def from_raw(cls, raw: object) -> Facts:
        """
        Read them.

        Raises:
            CassetteError: Another schema, an unknown key or a value of the wrong type.

        """
        schema = cast("dict[str, object]", raw).get("schema") if isinstance(raw, dict) else None
        if type(schema) is int and schema > SCHEMA:
            raise CassetteError(
                f"it was written by a later version of pytest-modelroute (schema {schema}; this one reads up to "
                f"{SCHEMA}): upgrade pytest-modelroute"
            )
        try:
            return _reader().validate_python(raw)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(["response", KEY, *map(str, problem["loc"])])
            message = problem["msg"]
            raise CassetteError(f"{where}: {message[0].lower()}{message[1:]}, not {shown(problem['input'])}") from None

    @classmethod
    def from_checked(cls, raw: dict[str, Any]) -> Facts:
        """Read what `to_raw` gave, without a look at it."""
        if "chunks" in raw:
            chunks: list[tuple[float, int]] = raw["chunks"]
            raw = {**raw, "chunks": tuple(tuple(chunk) for chunk in chunks)}
        return cls(**raw)


@cache
def _reader() -> TypeAdapter[Facts]:
    return TypeAdapter(Facts)


def shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
