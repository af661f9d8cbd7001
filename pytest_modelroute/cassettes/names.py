"""Where a cassette of a name lives: inside of the folder of cassettes, whatever the name says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pytest_modelroute.errors import CassetteError

SUFFIXES: Final = (".yaml", ".yml", ".json")
_RESERVED: Final = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')
_DEVICES: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_LONGEST: Final = 200
"Bytes of one part of a name; file systems take 255, and temporary files need some of them."


def cassette_path(folder: Path, name: str) -> Path:
    """
    The file of a cassette, `.yaml` where the name has no suffix of a cassette.

    Args:
        folder: The folder of cassettes.
        name: Parts separated by /, such as checkout/refund; the same on every system.

    Raises:
        CassetteError: The name is none that every system takes, or leads out of the folder, also through a symlink.

    """
    problem = _problem(name)
    if problem is not None:
        raise CassetteError(
            f"the cassette name {name!r} {problem}; a name such as checkout/refund was expected, "
            f"which is a file below {folder}"
        )
    path = folder / (name if name.endswith(SUFFIXES) else f"{name}.yaml")
    real_path(path, folder)
    return path


def real_path(path: Path, folder: Path) -> Path:
    """
    Where a cassette really is, once symlinks are followed.

    Raises:
        CassetteError: Outside of the folder.

    """
    try:
        real, home = path.resolve(), folder.resolve()
    except (OSError, RuntimeError) as error:  # symlinks in a circle
        raise CassetteError(f"{path}: it cannot be followed: {error}") from None
    if not real.is_relative_to(home) or real == home:
        raise CassetteError(f"{path}: it leads out of {folder}, to {real}; cassettes stay inside of their folder")
    return real


def is_device(part: str) -> bool:
    """Whether a part of a name is a device on Windows, whatever its suffix."""
    return _DEVICES.fullmatch(part) is not None


def _problem(name: str) -> str | None:
    parts = name.split("/")
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:(?:[\\/]|$)", name):
        return "is absolute"
    if ".." in parts:
        return "leads out of the folder (..)"
    if "" in parts or "." in parts:
        return "has an empty part"
    return _unportable(name, parts)


def _unportable(name: str, parts: list[str]) -> str | None:
    found = _RESERVED.search(name)
    if found is not None:
        return f"has the character {found.group()!r}, which some systems do not allow"
    for part in parts:
        if part[-1] in ". ":
            return "has a part that ends in a dot or a space, which some systems drop"
        if is_device(part):
            return f"has the part {part!r}, which is a device on Windows"
        if len(part.encode("utf-8", "surrogatepass")) > _LONGEST:
            return f"has a part of more than {_LONGEST} bytes"
    return None
