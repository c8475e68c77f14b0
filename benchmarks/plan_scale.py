"""What the paper's experiments cost: the tables of docs/scale.md, from measured rates, counted FLOP and planned jobs.

    python benchmarks/plan_scale.py [--rates benchmarks/rates_h200.csv] > tables.md

The jobs are those that Snakemake plans, the sizes and settings those of config/config.yaml, the rates those that
paper_scale.py wrote. Rates that the table lacks are estimated by counted FLOP and marked with ~.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import scale_disk
from job_graph import Job, jobs, output_files
from scale_time import H200, Hours, Rates, gflop, hours_of, wall_hours
from scale_work import STRONG, WHOLE, Work, work_of

TABLE, EVERYTHING = "results/tables/downstream.csv", "all"
RATES = Path(__file__).parent / "rates_h200.csv"
GB = 1e9
UNITS = {"encoding": "views", "denoiser training": "latents", "sampling": "pairs"}  # all else: patches


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in ([*head], *rows)]
    return "\n".join([lines[0], "|---" * len(lines[0].split(" | ")) + "|", *lines[1:]]) + "\n"


def round_to(x: float, digits: int = 3) -> str:
    """So many digits, thousands apart: 19507.3 -> 19 500."""
    whole = float(f"{x:.{digits}g}")
    return f"{whole:,.0f}".replace(",", " ") if abs(whole) >= 10 ** (digits - 1) else f"{whole:.{digits}g}"


def job_counts(table_jobs: list[Job], all_jobs: list[Job]) -> str:
    few, many = (Counter(job.rule for job in planned) for planned in (table_jobs, all_jobs))
    rows = [[rule, str(few[rule]), str(many[rule])] for rule in dict.fromkeys(job.rule for job in all_jobs)]
    rows.append(["total", str(len(table_jobs)), str(len(all_jobs))])
    return table(["rule", f"`{TABLE}`", f"`{EVERYTHING}`"], rows)


def rate_rows(works: Iterable[Work], rates: Rates) -> str:
    rows = []
    for work in dict.fromkeys(Work(w.what, w.dataset, w.name, 0) for w in works):
        rate, each = rates.of(work), gflop(work.what, work.dataset, work.name)
        if work.name in WHOLE.methods and work.name != "specdm" and not _own_row(work, rates):
            continue  # the same networks
        at = rate.per_second * each / 1000
        rows.append(
            [
                work.what,
                work.dataset,
                work.name,
                str(rate.batch or ""),
                ("~" if rate.estimated else "") + round_to(rate.per_second),
                UNITS.get(work.what, "patches"),
                round_to(each),
                "" if rate.estimated else f"{at:.1f} ({at / H200.bfloat16:.1%})",
                "" if rate.peak_gib is None else f"{rate.peak_gib:.1f}",
                "" if rate.loading is None else f"{rate.loading:.0%}",
            ]
        )
    head = ["what", "data set", "of", "batch", "a second", "unit", "GFLOP each", "TFLOP/s (of the peak)", "GiB"]
    return table([*head, "loading busy"], rows)


def _own_row(work: Work, rates: Rates) -> bool:
    """Whether a method's rate is its own: measured, or estimated of another number of FLOP."""
    usual = gflop(work.what, work.dataset, "specdm")
    measured = (work.what, work.dataset, work.name) in rates.measured
    return measured or gflop(work.what, work.dataset, work.name) != usual


def hour_rows(planned: list[Job], rates: Rates) -> str:
    """GPU hours by rule and data set."""
    found: dict[tuple[str, str], list] = {}
    for job in planned:
        works = work_of(job)
        if works:
            row = found.setdefault((job.rule, job.wildcards["dataset"]), [0, 0.0, 0.0, Hours()])
            row[0] += 1
            row[1] += sum(w.units for w in works if not w.what.endswith("inference"))
            row[2] += sum(w.units * gflop(w.what, w.dataset, w.name) for w in works) / 1e6
            row[3] = sum((hours_of(w, rates) for w in works), row[3])
    rows = [
        [rule, dataset, str(n), round_to(units / 1e6), round_to(pflop), *_hours(hours)]
        for (rule, dataset), (n, units, pflop, hours) in found.items()
    ]
    total = sum((hours for *_, hours in found.values()), Hours())
    counted = [sum(row[k] for row in found.values()) for k in range(3)]
    rows.append(["total", "", str(counted[0]), "", round_to(counted[2]), *_hours(total)])
    head = ["rule", "data set", "jobs", "million units", "PFLOP", "GPU hours", "were strong as fast as basic"]
    return table([*head, "RTX 3090, GPU hours"], rows)


def generator_rows(planned: list[Job], rates: Rates) -> str:
    """GPU hours of each generator."""
    stages = ("train_autoencoder", "encode", "train_diffusion", "draw_samples")
    found: dict[tuple[str, str], dict[str, Hours]] = {}
    marked = set()
    for job in planned:
        if job.rule in stages:
            key = (job.wildcards["dataset"], job.wildcards["method"])
            for work in work_of(job):
                own = found.setdefault(key, dict.fromkeys(stages, Hours()))
                own[job.rule] += hours_of(work, rates)
                if rates.of(work).estimated and _own_row(work, rates):
                    marked.add((*key, job.rule))
    rows = []
    for key, own in found.items():
        cells = [("~" if (*key, rule) in marked else "") + f"{own[rule].here:.2f}" for rule in stages]
        total = sum(own.values(), Hours())
        rows.append([*key, *cells, f"{total.here:.1f}", f"{total.low:.0f} to {total.high:.0f}"])
    head = ["data set", "method", "autoencoder", "encoding", "denoiser", "drawing", "all"]
    return table([*head, "RTX 3090"], rows)


def network_rows(planned: list[Job], rates: Rates) -> str:
    """GPU hours of one downstream training, and of all of a network."""
    found: dict[tuple[str, str], dict[bool, list[Hours]]] = {}
    for job in planned:
        if job.rule in ("train_downstream", "search_downstream"):
            works = work_of(job)
            hours = sum((hours_of(w, rates) for w in works), Hours())
            strong = any(w.loading for w in works)
            key = (job.wildcards["dataset"], job.wildcards["network"])
            own = found.setdefault(key, {False: [], True: [], "all": []})
            own["all"].append(hours)
            if job.rule == "train_downstream":
                own[strong].append(hours)
    rows = []
    for key, own in found.items():
        total = sum(own["all"], Hours())
        one = [f"{own[kind][0].here:.2f}" for kind in (False, True)]
        rows.append([*key, *one, str(len(own[False]) + len(own[True])), *_hours(total)])
    head = ["data set", "network", "a training", "with strong augmentation", "trainings", "all, searches too"]
    return table([*head, "were strong as fast as basic", "RTX 3090"], rows)


def _hours(hours: Hours) -> list[str]:
    return [f"{hours.here:.1f}", f"{hours.unaugmented:.1f}", f"{hours.low:.0f} to {hours.high:.0f}"]


def wall_rows(targets: dict[str, list[Job]], rates: Rates) -> str:
    rows = []
    for target, planned in targets.items():
        each = [sum((hours_of(w, rates) for w in work_of(job)), Hours()) for job in planned]
        for gpus in (1, 4):
            here, unaugmented, low, high = (
                wall_hours(planned, [getattr(hours, kind) for hours in each], gpus)
                for kind in ("here", "unaugmented", "low", "high")
            )
            rows.append([f"`{target}`", str(gpus), f"{here:.0f}", f"{unaugmented:.0f}", f"{low:.0f} to {high:.0f}"])
    return table(["target", "GPUs", "hours", "were strong as fast as basic", "RTX 3090, hours"], rows)


def loading_rows(rates: Rates) -> str:
    """How many loading threads each network could use."""
    rows = []
    for dataset, settings in WHOLE.datasets.items():
        strong = rates.loading(dataset, STRONG)
        for network in settings.networks:
            own = rates.of(Work("downstream training", dataset, network, 0))
            pace = [round_to(own.per_second), f"{own.loading:.0%}", round_to(strong)]
            rows.append([dataset, network, *pace, f"{own.per_second / strong:.1f}"])
    head = ["data set", "network", "patches/s in training", "loading busy", "strong loading, patches/s of a thread"]
    return table([*head, "threads to keep the pace, at least"], rows)


def longest_jobs(planned: list[Job], rates: Rates) -> str:
    """The longest job of each rule that takes an hour or more."""
    longest: dict[str, tuple[Hours, str]] = {}
    for job in planned:
        hours = sum((hours_of(w, rates) for w in work_of(job)), Hours())
        if hours.here >= max(1, longest.get(job.rule, (Hours(), ""))[0].here):
            what = (job.wildcards.get(key) for key in ("dataset", "network", "regime"))
            if "network" not in job.wildcards:
                what = (job.wildcards["dataset"], job.wildcards["method"])
            longest[job.rule] = (hours, " ".join(what))
    rows = [[rule, what, f"{h.here:.1f}", f"{h.low:.0f} to {h.high:.0f}"] for rule, (h, what) in longest.items()]
    return table(["rule", "longest job", "hours", "RTX 3090"], rows)


def disk_rows(planned: list[Job]) -> str:
    outputs = output_files(EVERYTHING)
    found = scale_disk.disk(planned, outputs)
    shards = scale_disk.SHARDS
    folders = sorted(found.files.keys() - {shards}, key=lambda folder: (-found.size[folder], -found.files[folder]))
    left = [sum(found.size[f] for f in folders), sum(found.files[f] for f in folders)]
    rows = [
        *([f"`{name}`", _size(found.size[name]), str(found.files[name])] for name in folders),
        ["left in the end", round_to(left[0] / GB), str(left[1])],
        [f"`{shards}`, in the meantime", _size(found.size[shards]), str(found.files[shards])],
        ["`state/` of the largest training, in the meantime", _size(scale_disk.largest_state(planned)), "2"],
        ["`.snakemake/metadata/`, one an output", "", str(outputs.total())],
    ]
    return table(["folder of `results/`", "GB", "files"], rows)


def _size(size: int) -> str:
    return round_to(size / GB, 2) if size else "< 1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=Path, default=RATES)
    rates = Rates(parser.parse_args().rates)
    targets = {target: jobs(target) for target in (TABLE, EVERYTHING)}
    planned = targets[EVERYTHING]
    works = [work for job in planned for work in work_of(job)]
    for title, text in (
        ("Jobs", job_counts(*targets.values())),
        (f"Rates: {rates.machine}", rate_rows(works, rates)),
        ("By rule", hour_rows(planned, rates)),
        ("Generators", generator_rows(planned, rates)),
        ("Downstream networks", network_rows(planned, rates)),
        ("Hours to wait", wall_rows(targets, rates)),
        ("Longest jobs", longest_jobs(planned, rates)),
        ("Loading", loading_rows(rates)),
        ("Disk", disk_rows(planned)),
    ):
        print(f"### {title}\n\n{text}")


if __name__ == "__main__":
    main()
