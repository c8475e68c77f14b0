"""The jobs of a target as Snakemake plans them: their rules, wildcards, dependencies and output files."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
NODE = re.compile(r'^\s*(\d+)\[label = "([^"]*)"')
EDGE = re.compile(r"^\s*(\d+) -> (\d+)\s*$")


@dataclass(frozen=True)
class Job:
    """A job of the workflow.

    Attributes:
        rule: what it runs.
        wildcards: name -> value, those of the jobs it depends on included where it has none of that name.
        needs: positions of the jobs that have to be done before it.
    """

    rule: str
    wildcards: dict[str, str]
    needs: tuple[int, ...]


def jobs(target: str) -> list[Job]:
    """All jobs of a target in a clone without results, each behind those it needs."""
    return read_graph(_snakemake("--dag", "--", target))


def read_graph(text: str) -> list[Job]:
    """The jobs of a graph as `snakemake --dag` prints it, each behind those it needs."""
    labels, needs = {}, {}
    for line in text.splitlines():
        if node := NODE.match(line):
            labels[int(node[1])] = node[2].split("\\n")
        elif edge := EDGE.match(line):
            needs.setdefault(int(edge[2]), []).append(int(edge[1]))
    done: dict[int, int] = {}
    ordered: list[Job] = []

    def add(number: int) -> None:
        if number in done:
            return
        before = sorted(needs.get(number, []))
        for other in before:
            add(other)
        own = {}
        for other in before:  # a wildcard that a job shares with one it needs is not printed
            own = {**ordered[done[other]].wildcards, **own}
        own |= dict(part.split(": ", 1) for part in labels[number][1:] if ": " in part)
        done[number] = len(ordered)
        ordered.append(Job(labels[number][0], own, tuple(done[other] for other in before)))

    for number in sorted(labels):
        add(number)
    return ordered


def output_files(target: str) -> Counter[str]:
    """Rule -> files that its jobs of a target leave, or keep until they are joined."""
    rows = csv.DictReader(_snakemake("--detailed-summary", "--", target).splitlines(), delimiter="\t")
    return Counter(row["rule"] for row in rows)


def _snakemake(*arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout
