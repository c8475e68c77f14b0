"""SLURM: whether it is there and answers, its partitions, and how the state of jobs can be asked for."""

from __future__ import annotations

import re

from specdm.doctor.commands import Find, Ran, Run
from specdm.doctor.section import Section, first_line, last_line

PROGRAMS = ("sbatch", "squeue", "sacct", "scontrol", "sinfo")
SECONDS = 5.0
LOCAL = "without it, use --profile workflow/profiles/local"
SQUEUE = (
    "SLURM's accounting does not answer{}: set slurm-status-command: squeue in a profile of your own "
    "(workflow/profiles/README.md)."
)


def version(run: Run, find: Find) -> str | None:
    """SLURM's version as it calls itself ("slurm 24.05.3"), None where it is not installed."""
    if find("sinfo") is None:
        return None
    ran = run(["sinfo", "--version"], SECONDS)
    return first_line(ran.out) if _answered(ran) and ran.out.strip() else None


def slurm(run: Run, find: Find) -> Section:
    """What of SLURM is there. It is needed for --profile slurm only, so nothing of it is missing."""
    absent = [name for name in PROGRAMS if find(name) is None]
    if len(absent) == len(PROGRAMS):
        return Section("SLURM", ("not found (needed only for --profile slurm)",))
    there = ", ".join(name for name in PROGRAMS if name not in absent)
    lines, knowing = [f"{version(run, find) or 'version unknown'}: {there} found"], []
    if absent:
        knowing.append(
            f"{' and '.join(absent)} of SLURM {'are' if absent[1:] else 'is'} not on PATH: load the cluster's module; "
            f"{LOCAL}."
        )
    ping = run(["scontrol", "ping"], SECONDS)
    if ping is None or " is UP" not in ping.out:  # of several controllers one is enough
        said = "" if ping is None else f" ({last_line(ping.message)})"
        lines.append("the controller does not answer")
        knowing.append(f"SLURM's controller does not answer{said}: ask the cluster's people; {LOCAL}.")
        return Section("SLURM", tuple(lines), worth_knowing=tuple(knowing))
    lines += ["the controller answers", *partitions(run(["sinfo", "--noheader", "--format=%P|%a|%l|%D|%G"], SECONDS))]
    accounts = run(["sacct", "--noheader", "--allocations", "--name=specdm-doctor"], SECONDS)
    if _answered(accounts):
        lines.append("accounting answers: slurm-status-command: sacct, as in the profile")
    else:
        said = "" if accounts is None else f" ({last_line(accounts.message)})"
        lines.append("accounting does not answer: slurm-status-command: squeue")
        knowing.append(SQUEUE.format(said))
    return Section("SLURM", tuple(lines), worth_knowing=tuple(knowing))


def partitions(listed: Ran | None) -> list[str]:
    """A line a partition of sinfo's `%P|%a|%l|%D|%G`: time limit, nodes, GPUs of a node; its default is told.

    sinfo has a line for each kind of node and state: their nodes are summed, their GPUs listed.
    """
    if not _answered(listed):
        return ["partitions unknown: sinfo does not answer"]
    nodes: dict[tuple[str, str, str], int] = {}
    gpus: dict[tuple[str, str, str], dict[str, None]] = {}
    for line in listed.out.splitlines():
        name, state, limit, n, resources = line.strip().split("|")
        key = (name, state, limit)
        nodes[key] = nodes.get(key, 0) + int(n)
        gpus.setdefault(key, {}).update(dict.fromkeys(_gpus(resources)))
    return [
        f"partition {name.removesuffix('*')}{' (default)' if name.endswith('*') else ''}"
        f"{'' if state == 'up' else f', {state}'}: {_limit(limit)}, {n} node{'s' * (n > 1)}, "
        f"{' or '.join(gpus[name, state, limit]) or 'no GPU'}"
        for (name, state, limit), n in nodes.items()
    ]


def _gpus(resources: str) -> list[str]:
    """GPUs of a node out of its generic resources: "gpu:a100:4(S:0-1),tmp:9" -> ["4 x a100"]."""
    plain = re.sub(r"\([^)]*\)", "", resources)
    found = re.findall(r"(?:^|,)gpu(?::([^:,]+))?:(\d+)(?=,|$)", plain)
    return [f"{n} x {kind or 'GPU'}" for kind, n in found]


def _limit(limit: str) -> str:
    return "no time limit" if limit == "infinite" else f"at most {limit}"


def _answered(ran: Ran | None) -> bool:
    return ran is not None and ran.status == 0
