"""The console command `modelroute`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_ERROR = 2
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run a command.

    Args:
        arguments: Of the command line; those of the process where left out.

    Returns:
        The exit code: 0 where all is fine, 1 for findings, 2 for an error, which stands on stderr.

    """
    from pytest_modelroute.cli.parser import parse
    from pytest_modelroute.errors import ModelRouteError

    command, options = parse(arguments)
    try:
        lines, code = command(options, _tell)
        _print(lines)
    except ModelRouteError as error:
        _tell(str(error))
        return _ERROR
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _tell("interrupted")
        return _INTERRUPTED
    return code


def _print(lines: Sequence[str]) -> None:
    text = "\n".join(lines) + "\n"
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def _tell(message: str) -> None:
    """Say what is going on, or went wrong, to people."""
    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(f"{message}\n".encode(encoding, "backslashreplace").decode(encoding))
    sys.stderr.flush()
