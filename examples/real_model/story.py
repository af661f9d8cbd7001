"""
Shows the example's run: `python -m examples.real_model`, without any model, from what was recorded.

With the name of a classifier it shows what that one's run says. Exits with 0 if every run ends as it should.
"""

import shlex
from pathlib import Path

from examples.real_model.versions import IN_USE, VERSIONS
from examples.showing import run, show_caught, tell

HERE = Path(__file__).parent
JUDGED = ("test_questions.py", "test_labels.py", "-k", "not streamed")
"What another classifier changes; streamed, it says the same."


def holds(version: str) -> bool:
    """Show what the tests say of the classifier in use."""
    code, output = run(HERE, f"--version-of-router={version}")
    print(f"$ pytest\n{output.rstrip()}")
    return code == 0


def caught(version: str) -> bool:
    """Show what the tests say of a classifier that asks the small model."""
    code, output = run(HERE, f"--version-of-router={version}", *JUDGED)
    command = f"pytest --version-of-router={version} {shlex.join(JUDGED)}"
    return show_caught(version, VERSIONS[version], command, code, output)


def main() -> int:
    """Show the application as it is, then with the other classifiers; or with one of them alone."""
    code = tell(VERSIONS, in_use=IN_USE, holds=holds, caught=caught, others="classifier that asks the small model")
    if code == 1:
        print("Not as it should be: the application must pass, and every other classifier must fail.")
    return code
