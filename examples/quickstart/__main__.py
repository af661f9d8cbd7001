"""Shows the plugin at work: `python -m examples.quickstart`. Exits with 0 if both runs end as they should."""

import difflib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:randomly", "-p", "no:asyncio"]


def run(test: str) -> tuple[int, str]:
    """Run one test file; its exit code and its output."""
    done = subprocess.run([*COMMAND, test], cwd=HERE, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def edit() -> str:
    """The lines in which the broken application differs."""
    good, broken = ((HERE / name).read_text("utf-8").splitlines()[1:] for name in ("app.py", "broken_app.py"))
    changed = [line for line in difflib.unified_diff(good, broken, n=0, lineterm="") if line[0] in "+-"]
    return "\n".join(line for line in changed if not line.startswith(("+++", "---")))


def main() -> int:
    """Run the application as it is, then with one line edited."""
    code, output = run("test_intents.py")
    print("1. A routing step on 400 real customer queries, judged by its limits.\n")
    print(f"$ pytest test_intents.py\n{output}")
    broken_code, broken_output = run("broken_intents.py")
    print(f"2. The same application with one line edited.\n\n{edit()}\n")
    print(f"$ pytest broken_intents.py\n{broken_output}")
    if (code, broken_code) == (0, 1):
        print("The step holds its limits; the edit was caught.")
        return 0
    print(f"Not as it should be: exit codes {code} and {broken_code}, 0 and 1 were expected.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
