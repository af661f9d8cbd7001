"""
Shows the example's two suites: `python -m examples.support_agent`.

With the name of a broken version it shows what that version's run says. Exits with 0 if every run ends as it should.
"""

import inspect
import subprocess
import sys
from pathlib import Path

from broken_versions import VERSIONS

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:randomly", "-p", "no:asyncio"]


def run(version: str) -> tuple[int, str]:
    """Test a version of the application; the exit code and the output."""
    command = [*COMMAND, f"--version-of-agent={version}"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def failures(output: str) -> str:
    """The part of an output that says what failed."""
    start = output.find("\n", output.find(" FAILURES ")) + 1
    return output[start : output.rfind("\n", 0, output.find(" modelroute ====")) + 1].rstrip()


def show_broken(version: str) -> bool:
    """Show what the tests say of a broken version; whether they caught it."""
    code, output = run(version)
    print(f"{version}: {inspect.getdoc(VERSIONS[version])}\n")
    print(f"$ pytest --version-of-agent={version}\n{failures(output)}\n")
    print(output.splitlines()[-1])
    return code == 1


def main() -> int:
    """Show the application as it is, then its broken versions; or one of those alone."""
    asked = sys.argv[1:] or list(VERSIONS)
    ends = []
    for version in asked:
        if version == "good":
            code, output = run(version)
            print(f"$ pytest\n{output}")
            ends.append(code == 0)
        elif version in VERSIONS:
            ends.append(show_broken(version))
        else:
            print(f"there is no version {version!r}; there are: {', '.join(VERSIONS)}", file=sys.stderr)
            return 2
    if all(ends):
        if not sys.argv[1:]:
            print("\nThe application holds its limits; every broken version of it was caught.")
        return 0
    print("Not as it should be: the application must pass, and every broken version of it must fail.")
    return 1
