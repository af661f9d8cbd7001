"""What the stories of the examples share: testing one version of an application, and showing what its tests say."""

import inspect
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

COMMAND = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:randomly", "-p", "no:asyncio"]


def run(folder: Path, *options: str) -> tuple[int, str]:
    """Run the tests of a folder; the exit code and the output."""
    done = subprocess.run([*COMMAND, *options], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def failures(output: str) -> str:
    """The part of an output that says what failed."""
    start = output.find("\n", output.find(" FAILURES ")) + 1
    return output[start : output.rfind("\n", 0, output.find(" modelroute ====")) + 1].rstrip()


def show_caught(version: str, what: object, command: str, code: int, output: str) -> bool:
    """Show what the tests say of a version that they are to catch; whether they caught it."""
    print(f"{version}: {inspect.getdoc(what)}\n")
    print(f"$ {command}\n{failures(output)}\n")
    print(output.splitlines()[-1])
    return code == 1


def tell(
    versions: Mapping[str, object],
    *,
    in_use: str,
    holds: Callable[[str], bool],
    caught: Callable[[str], bool],
    others: str,
) -> int:
    """
    Show the application as it is, then its other versions; or those alone that the command line names.

    Args:
        versions: What there is, by its name.
        in_use: The version that must pass.
        holds: Shows it; whether it passed.
        caught: Shows another one; whether the tests caught it.
        others: What the others are, for the last line.

    Returns:
        The exit code: 0 if every run ended as it should.

    """
    asked = sys.argv[1:] or list(versions)
    ends: list[bool] = []
    for version in asked:
        if version not in versions:
            print(f"there is no version {version!r}; there are: {', '.join(versions)}", file=sys.stderr)
            return 2
        ends.append(holds(version) if version == in_use else caught(version))
    if all(ends):
        if not sys.argv[1:]:
            print(f"\nThe application holds its limits; every {others} was caught.")
        return 0
    return 1
