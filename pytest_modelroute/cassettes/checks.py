"""The check that every save goes through: a text that still holds a secret is not written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from pytest_modelroute.cassettes.redaction import Redactor
from pytest_modelroute.errors import SecretsRemain
from pytest_modelroute.wire.places import short_path

_SHOWN: Final = 10


def refuse_secrets(redactor: Redactor, path: Path, *, remedy: str) -> Callable[[str], None]:
    """
    What must hold of a cassette's text before it is saved.

    Args:
        redactor: Knows what a secret is.
        path: The cassette, for the message.
        remedy: What to do, the last line of the message.

    Returns:
        A function that raises SecretsRemain for a text that holds a secret, and names the lines.

    """

    def check(text: str) -> None:
        redactor.refresh()
        found = redactor.remains(text)
        if found:
            shown, secrets = short_path(str(path)), "1 secret" if len(found) == 1 else f"{len(found)} secrets"
            lines = "\n".join(f"  line {finding.line}: {finding.kind}" for finding in found[:_SHOWN])
            raise SecretsRemain(f"{shown} was not saved, since it would hold {secrets}:\n{lines}\n{remedy}")

    return check
