"""Cassettes as files: read whole, with every damage told by file, line and interaction."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, cast

from pytest_modelroute.cassettes.interaction import Interaction, checksum
from pytest_modelroute.cassettes.parsing import Parsed, broken, parse
from pytest_modelroute.errors import CassetteError

VERSION: Final = 1
"Of vcrpy's format."
DIGEST_BYTES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CassetteFile:
    """A cassette as it is on the disk."""

    path: Path
    raw: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    "The interactions in vcrpy's form, as parsed, with what other tools wrote into them."
    lines: list[int] = field(default_factory=list[int])
    "The line of each."
    interactions: list[Interaction] = field(default_factory=list[Interaction])
    "The same ones, as we read them."
    top: dict[str, Any] = field(default_factory=dict[str, Any])
    "Every other key of the file but version."
    digest: str = ""
    "Of its bytes; empty where there is no file."

    @property
    def exists(self) -> bool:
        """Whether there is a file; one that is missing holds nothing."""
        return bool(self.digest)


def read_cassette(path: Path, *, sealed: bool = True) -> CassetteFile:
    """
    Read a cassette; a file that does not exist is an empty one.

    Args:
        path: YAML, or JSON where it ends in .json.
        sealed: Whether checksums and count must hold, which tell what was edited, cut or merged by hand.

    Raises:
        CassetteError: The file cannot be read, or is not whole; names file, line and interaction.

    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return CassetteFile(path=path)
    except OSError as error:
        raise CassetteError(f"{path}: it cannot be read: {error.strerror}") from None
    if not data.strip(b" \t\r\n\0"):
        raise broken(
            path, "the file is empty; take it back from version control, or delete it and record it again", line=1
        )
    parsed = parse(path, data)
    digest = digest_of(data)
    del data
    _check_version(path, parsed)
    interactions: list[Interaction] = []
    for number, (line, raw) in enumerate(zip(parsed.lines, parsed.raw, strict=True), start=1):
        try:
            interactions.append(interaction_of(raw))
        except CassetteError as error:
            raise broken(path, str(error), line=line, number=number) from None
    if sealed:
        _check_checksums(path, parsed.lines, interactions)
        _check_count(path, parsed.lines, interactions)
    return CassetteFile(
        path=path, raw=parsed.raw, lines=parsed.lines, interactions=interactions, top=parsed.top, digest=digest
    )


def digest_of(data: bytes) -> str:
    """Tells one content of a file from another."""
    return blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def interaction_of(raw: Any) -> Interaction:
    """
    Read one interaction, and leave it as it is.

    Raises:
        CassetteError: Something is missing or of the wrong type.

    """
    request = cast("dict[str, Any]", raw).get("request") if isinstance(raw, dict) else None
    body: object = cast("dict[str, Any]", request).get("body") if isinstance(request, dict) else None
    if hasattr(body, "__next__") or hasattr(body, "read"):  # vcrpy keeps those that were sent; reading uses them up
        return Interaction.from_raw({**raw, "request": {**cast("dict[str, Any]", request), "body": copy(body)}})
    return Interaction.from_raw(raw)


def _check_version(path: Path, parsed: Parsed) -> None:
    if "version" not in parsed.top:
        raise broken(
            path,
            "the file was cut: its version is missing, which is the last line of a cassette; "
            "take it back from version control, or record it again",
            line=parsed.lines[-1] if parsed.lines else 1,
            number=len(parsed.lines),
        )
    version = parsed.top.pop("version")
    if type(version) is not int or version != VERSION:
        later = type(version) is int and version > VERSION
        raise broken(
            path,
            f"version {version!r} is {'later than' if later else 'not'} the one that is known, {VERSION}; "
            f"{'upgrade pytest-modelroute' if later else 'record it again'}",
            line=parsed.places["version"],
        )


def _check_checksums(path: Path, lines: list[int], interactions: list[Interaction]) -> None:
    for number, interaction in enumerate(interactions, start=1):
        facts = interaction.facts
        if facts is not None and facts.checksum and facts.checksum != checksum(interaction):
            raise broken(
                path,
                f"it was edited after it was recorded (its checksum does not hold); {_ways_out(path)}",
                line=lines[number - 1],
                number=number,
            )


def _check_count(path: Path, lines: list[int], interactions: list[Interaction]) -> None:
    """The last interaction of ours says how many there are; what another tool added after it has no facts."""
    ours = [
        (number, interaction.facts.count)
        for number, interaction in enumerate(interactions, start=1)
        if interaction.facts is not None
    ]
    counted = [(number, count) for number, count in ours if count is not None]
    if not ours or (counted == ours[-1:] and ours[-1][1] == len(ours)):
        return
    if not counted:
        number = ours[-1][0]
        problem = "the file was cut after this interaction (the last one recorded holds their count, and this has none)"
    elif len(counted) > 1 or counted != ours[-1:]:
        number = counted[0][0]
        problem = "the file was merged by hand (this interaction was the last one of a file)"
    else:
        number = counted[0][0]
        problem = f"interactions were removed or added by hand ({counted[0][1]} were recorded, {len(ours)} are there)"
    raise broken(path, f"{problem}; {_ways_out(path)}", line=lines[number - 1], number=number)


def _ways_out(path: Path) -> str:
    return (
        "record it again (pytest --modelroute-record=all with the test that uses it), "
        f"or vouch for what is there: modelroute cassettes accept {path}"
    )
