"""
What the plugin costs where it is installed and not used: `python benchmarks/startup.py`.

CPU time of a whole pytest run of one empty test, alternating between the variants so that a slow moment of the machine
hits all of them; the median of the differences, pair by pair, and the middle half of them, which shows the noise. Where
that is wide, count instructions, with and without -p no:modelroute:
valgrind --tool=callgrind --callgrind-out-file=/dev/null python -m pytest -q -p no:respx
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 20
BASE = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
VARIANTS = {
    "without us, without respx's plugin": ["-p", "no:modelroute", "-p", "no:respx"],
    "our plugin alone": ["-p", "no:respx"],
    "the whole install (ours and respx's)": [],
}


def cpu_seconds(options: list[str], folder: Path) -> float:
    """User and system time of one run."""
    # As on most machines: Python may keep its bytecode, so that nothing is compiled anew.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*BASE, *options, "test_empty.py"], cwd=folder, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "test_empty.py").write_text("def test_empty() -> None:\n    pass\n", "utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
        for options in VARIANTS.values():
            cpu_seconds(options, folder)  # fills the bytecode caches
        runs = {name: list[float]() for name in VARIANTS}
        for _ in range(ROUNDS):
            for name, options in VARIANTS.items():
                runs[name].append(cpu_seconds(options, folder))
    base = runs["without us, without respx's plugin"]
    print(f"CPU of `pytest` on one empty test, median of {ROUNDS} alternating runs")
    for name, times in runs.items():
        low, more, high = statistics.quantiles([time - bare for time, bare in zip(times, base, strict=True)], n=4)
        spread = f"(middle half {low * 1000:+.1f} to {high * 1000:+.1f})"
        print(f"  {name:38} {statistics.median(times) * 1000:7.1f} ms  {more * 1000:+6.1f} ms  {spread}")


if __name__ == "__main__":
    main()
