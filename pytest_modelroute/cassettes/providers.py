"""`recorded_providers`: what a test sees of its recordings."""

from __future__ import annotations

from pytest_modelroute.cassettes.keys import key_from_environment
from pytest_modelroute.cassettes.tape import RecordMode, Tape
from pytest_modelroute.wire.addresses import fake_key
from pytest_modelroute.wire.call_log import CallLog


class RecordedProviders:
    """
    The recorded providers of a test.

    Attributes:
        calls: What was called so far, replayed or live.
        cassette: The recordings.
        mode: `none` where all calls are replayed, `new` and `all` where calls are recorded.

    """

    def __init__(self, calls: CallLog, cassette: Tape, mode: RecordMode) -> None:
        """Show these."""
        self.calls = calls
        self.cassette = cassette
        self.mode = mode

    def key(self, name: str) -> str:
        """
        A provider's API key: that of the environment while calls are recorded, a stand-in for a replay.

        Raises:
            RecordingError: It is needed and not set; names the variable.

        """
        return fake_key(name) if self.mode == "none" else key_from_environment(name)
