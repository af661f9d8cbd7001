"""
Shows the example's run: `python -m examples.real_model`, without any model, from what was recorded.

With the name of a classifier it shows what that one's run says. Exits with 0 if every run ends as it should.
"""

import inspect
import shlex
import subprocess
import sys
from pathlib import Path

from examples.real_model.versions import IN_USE, VERSIONS

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:randomly", "-p", "no:asyncio"]
JUDGED = ("test_questions.py", "test_labels.py", "-k", "not streamed")
"What another classifier changes; streamed, it says the same."


def run(version: str, *options: str) -> tuple[int, str]:
    """Test the application with a classifier; the exit code and the output."""
    command = [*COMMAND, f"--version-of-router={version}", *options]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def failures(output: str) -> str:
    """The part of an output that says what failed."""
    start = output.find("\n", output.find(" FAILURES ")) + 1
    return output[start : output.rfind("\n", 0, output.find(" modelroute ====")) + 1].rstrip()


def show(version: str) -> bool:
    """Show what the tests say of a classifier that asks the small model; whether they caught it."""
    code, output = run(version, *JUDGED)
    print(f"{version}: {inspect.getdoc(VERSIONS[version])}\n")
    print(f"$ pytest --version-of-router={version} {shlex.join(JUDGED)}\n{failures(output)}\n")
    print(output.splitlines()[-1])
    return code == 1


def main() -> int:
    """Show the application as it is, then with the other classifiers; or with one of them alone."""
    asked = sys.argv[1:] or list(VERSIONS)
    ends = []
    for version in asked:
        if version == IN_USE:
            code, output = run(version)
            print(f"$ pytest\n{output.rstrip()}")
            ends.append(code == 0)
        elif version in VERSIONS:
            ends.append(show(version))
        else:
            print(f"there is no version {version!r}; there are: {', '.join(VERSIONS)}", file=sys.stderr)
            return 2
    if all(ends):
        if not sys.argv[1:]:
            print("\nThe application holds its limits; every classifier that asks the small model was caught.")
        return 0
    print("Not as it should be: the application must pass, and every other classifier must fail.")
    return 1
