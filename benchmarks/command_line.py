"""Wall time of what people wait for before anything runs, beside the bare interpreter and the bare Snakemake.

    python benchmarks/command_line.py

Targets: `python -m specdm --help` under 0.5 s; `snakemake -n results/tables/downstream.csv` with the paper's
configuration under 5 s, in a working folder without data; reading Snakefile and rules, which each job of a cluster does
again, under 2 s with Snakemake's own start.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
RUNS = 5


def seconds(command: list[str], folder: Path) -> float:
    """Median wall time of a command over RUNS runs, after one that fills the caches."""
    times = []
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}
        )
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def main() -> None:
    python, workflow = sys.executable, str(REPOSITORY / "Snakefile")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty").touch()
        snakemake = [python, "-m", "snakemake", "--snakefile"]
        for label, command in {
            "python -c pass": [python, "-c", "pass"],
            "python -m specdm --help": [python, "-m", "specdm", "--help"],
            "snakemake --version": [python, "-m", "snakemake", "--version"],
            "snakemake --list-rules, an empty Snakefile": [*snakemake, "empty", "--list-rules"],
            "snakemake --list-rules": [*snakemake, workflow, "--list-rules"],
            "snakemake -n results/tables/downstream.csv": [
                *(*snakemake, workflow, "-n", "--", "results/tables/downstream.csv"),
            ],
        }.items():
            print(f"{label:45} {seconds(command, folder):6.2f} s")


if __name__ == "__main__":
    main()
