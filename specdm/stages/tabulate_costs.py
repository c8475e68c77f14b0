"""Hours, GPU hours and memory of every stage of a run, as a table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from specdm import files
from specdm.costs import costs
from specdm.errors import UserError
from specdm.report.facts import NOTE_OF_TIMES, times
from specdm.report.html import Cell, Table
from specdm.stages.tabulate import write

STAGE_VERSION = 1


def tabulate_costs(run: Path, out: Path) -> str:
    """Write what a run cost: a row a stage in the order of the chain, and a last row of all (see specdm.costs.Cost).

    Args:
        run: folder of the run; its logs hold the records of attempts, its benchmarks Snakemake's measurements.
        out: the CSV file, whose columns are the fields of a Cost; beside it a readable table with the suffix .md.

    Returns:
        What was made, in words.

    Raises:
        UserError: for a folder without records and measurements, and for a measurement that cannot be read.
    """
    rows = costs(run)
    if not rows:
        raise UserError(
            f"{run} has no records of jobs (logs) and no measurements (benchmarks): give the folder of a run, the key "
            "`results` of its configuration."
        )
    table = pd.DataFrame([asdict(row) for row in rows])
    # Whole numbers stay whole where some rows have none.
    write(table.astype({"peak_mib": "Int64", "asked_mib": "Int64"}), out)
    with files.new_file(out.with_suffix(".md")) as temporary:
        temporary.write_text(f"{_markdown(times(rows))}\n{NOTE_OF_TIMES}\n")
    return f"{len(rows) - 1} stages in {out}"


def _markdown(shown: Table) -> str:
    """The table with aligned pipes, its first column on the left and numbers on the right."""
    lines = [[Cell(title) for title in shown.titles], *shown.rows, shown.foot]
    aligned = []
    for i, column in enumerate(zip(*lines, strict=True)):
        width = max(len(cell.text) for cell in column)
        title, *cells = (cell.text.rjust(width) if i else cell.text.ljust(width) for cell in column)
        aligned.append([title, "-" * (width - 1) + (":" if i else "-"), *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in zip(*aligned, strict=True))
