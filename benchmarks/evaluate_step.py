"""
What an evaluation adds to the code under test: `python benchmarks/evaluate_step.py`.

Trivial cases, so that everything measured is ours: loading, running, scoring, judging; and the peak memory.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (1_000, 10_000, 100_000)


def measure(path: Path) -> None:
    """Evaluate a file of cases in this process and print the cost as JSON."""
    from pytest_modelroute.evaluation.attempts import Bench
    from pytest_modelroute.evaluation.evaluate import StepEvaluator
    from pytest_modelroute.evaluation.thresholds import StepThreshold
    from pytest_modelroute.providers.prices import PriceBook
    from pytest_modelroute.wire.exchanges import Wire

    threshold = StepThreshold(step="echo", limits={"min_accuracy": 0.9, "max_latency_ms": 500})
    bench = Bench(wire=Wire(prices=PriceBook()), conclude=lambda _evaluation, _verdict: None, thresholds=[threshold])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    evaluation = StepEvaluator(bench)(path, run=str.upper)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"n": evaluation.n, "seconds": seconds, "base_mb": before / 1024, "peak_mb": peak / 1024}))


def main() -> None:
    """Measure each size in a process of its own, and print."""
    print("evaluate_step on trivial cases, CPU and peak memory of the process")
    first: float | None = None
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            path = Path(folder) / f"{size}.jsonl"
            with path.open("w", encoding="utf-8") as file:
                for number in range(size):
                    text = f"query number {number}"
                    row = {"id": f"case-{number}", "inputs": text, "expected_output": text.upper()}
                    file.write(json.dumps(row) + "\n")
            done = subprocess.run([sys.executable, __file__, str(path)], check=True, capture_output=True, text=True)
            result = json.loads(done.stdout)
            each = result["seconds"] / size * 1000
            first = first or each
            print(
                f"  {size:7,} cases: {each:.4f} ms a case ({each / first:.2f} x the first), "
                f"peak {result['peak_mb']:.0f} MB (before: {result['base_mb']:.0f} MB)"
            )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
    else:
        main()
