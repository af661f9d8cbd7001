"""Where in the user's code something happened."""

from __future__ import annotations

import inspect
import linecache
import sysconfig
import traceback
from os.path import relpath
from pathlib import Path
from types import FrameType
from typing import Final

_OURS: Final = str(Path(__file__).parent.parent)
_LIBRARIES: Final = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")} | {_OURS, "<"}
)


def is_users(file: str) -> bool:
    """Whether a file is neither an installed package's, nor the standard library's, nor ours."""
    return not file.startswith(_LIBRARIES) and "site-packages" not in file


def is_ours(file: str) -> bool:
    """Whether a file is of this package."""
    return file.startswith(_OURS)


def short_path(file: str) -> str:
    """The path as a person would type it from here."""
    try:
        path = relpath(file)
    except ValueError:  # pragma: no cover - another drive on Windows
        return file
    return file if path.startswith("..") else path


def call_site() -> str:
    """File, line, function and source of the innermost frame of the user's own code; "" where there is none."""
    frame = _users_frame()
    if frame is None:
        return ""
    source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return f"{_place(frame)}, in {frame.f_code.co_name}: {source}"


def script_site() -> str:
    """File and line of the user's code that makes a script."""
    frame = _users_frame()
    return "unknown place" if frame is None else _place(frame)


def _users_frame() -> FrameType | None:
    frame = inspect.currentframe()
    while frame is not None and not is_users(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def _place(frame: FrameType) -> str:
    return f"{short_path(frame.f_code.co_filename)}:{frame.f_lineno}"


def raise_sites(error: BaseException) -> list[str]:
    """The places in the user's own code that an exception passed, outermost first."""
    return [
        f"{short_path(frame.filename)}:{frame.lineno}, in {frame.name}: {frame.line}"
        for frame in traceback.extract_tb(error.__traceback__)
        if is_users(frame.filename)
    ]


def raise_site(error: BaseException) -> str:
    """The innermost of them; "" where there is none."""
    return (raise_sites(error) or [""])[-1]


def script_traceback(error: BaseException | None) -> str:
    """The traceback of what a user's script raised, from its own first frame on; "" where no code of theirs raised."""
    trace = None if error is None else error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    if error is None or trace is None:
        return ""
    lines = traceback.format_exception(type(error), error, trace)
    return "\n\nthe script's own traceback:\n" + "".join(lines).rstrip()
