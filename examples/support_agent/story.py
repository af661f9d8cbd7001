"""
Shows the example's two suites: `python -m examples.support_agent`.

With the name of a broken version it shows what that version's run says. Exits with 0 if every run ends as it should.
"""

from pathlib import Path

from broken_versions import VERSIONS

from examples.showing import run, show_caught, tell

HERE = Path(__file__).parent


def holds(version: str) -> bool:
    """Show what the tests say of the application as it is."""
    code, output = run(HERE, f"--version-of-agent={version}")
    print(f"$ pytest\n{output}")
    return code == 0


def caught(version: str) -> bool:
    """Show what the tests say of a broken version."""
    code, output = run(HERE, f"--version-of-agent={version}")
    return show_caught(version, VERSIONS[version], f"pytest --version-of-agent={version}", code, output)


def main() -> int:
    """Show the application as it is, then its broken versions; or one of those alone."""
    code = tell(VERSIONS, in_use="good", holds=holds, caught=caught, others="broken version of it")
    if code == 1:
        print("Not as it should be: the application must pass, and every broken version of it must fail.")
    return code
