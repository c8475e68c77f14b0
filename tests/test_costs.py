"""What a run cost, against sums by hand."""

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from specdm import attempts, files
from specdm.attempts import Attempt
from specdm.costs import CHAIN, costs
from specdm.errors import UserError

RULES = Path(__file__).parents[1] / "rules"


def record(run, name, *tries, gpus=1, memory_mb=16000):
    """The record of a job as the launcher writes it: (outcome, seconds, peak_mb) a try, only a start for "cut off"."""
    path = attempts.beside(run / "logs" / f"{name}.log")
    for number, (outcome, seconds, peak_mb) in enumerate(tries):
        attempts.begin(path, Attempt("c", float(number), "host", "", 1, memory_mb, gpus=gpus))
        if outcome != "cut off":
            end = {"started": float(number), "outcome": outcome, "status": 0, "seconds": seconds, "peak_mb": peak_mb}
            with path.open("a") as stream:
                stream.write(json.dumps(end) + "\n")


def measure(run, name, *lines):
    """Lines of Snakemake's benchmark file of a job."""
    with files.new_file(run / "benchmarks" / f"{name}.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def run(tmp_path):
    """A run with a job of four ends, one that was cut off, light ones, and one of 4 GPUs."""
    run = tmp_path / "run"
    tries = [("failed", 1800.0, 900.0), ("out of memory", 720.0, 15000.0), ("paused", 3600.0, 1000.0)]
    record(run, "train_diffusion/towns", *tries, ("done", 1080.0, 1100.0))
    measure(run, "train_diffusion/towns", {"s": 1081.0, "max_rss": 1200.4, "cpu_time": 2162.0, "h:m:s": "0:18:01"})
    record(run, "train_diffusion/fields.generator2", ("cut off", 0, 0), ("done", 360.0, 15500.6), memory_mb=24000)
    measure(run, "train_diffusion/fields.generator2", {"s": 719.0, "max_rss": "NA", "cpu_time": 538.0})
    record(run, "prepare/towns", ("done", 36.0, 140.0), gpus=0, memory_mb=0)
    measure(run, "prepare/fields", {"s": 72.0, "max_rss": 120.0, "cpu_time": "NA"})
    record(run, "train_autoencoder/towns", ("done", 900.0, 800.0), gpus=4)
    return run


def row(stage, jobs, tries, job_hours, gpu_hours, longest_hours, memory, cores_used, ends=(0, 0, 0, 0), lost=(0.0, 0)):
    names = ("paused", "out_of_memory", "failed", "cut_off")
    own = dict(stage=stage, jobs=jobs, attempts=tries) | dict(zip(names, ends, strict=True))
    own |= dict(job_hours=job_hours, gpu_hours=gpu_hours, longest_hours=longest_hours, cores_used=cores_used)
    own |= dict(lost_hours=lost[0], without_hours=lost[1], peak_mib=memory[0], asked_mib=memory[1])
    return pytest.approx(own)


def test_every_stage_is_a_row_in_the_order_of_the_chain_and_all_together_the_last(run):
    several = dict(ends=(1, 1, 1, 1), lost=(0.7, 1))  # 1800 + 720 s
    assert [asdict(own) for own in costs(run)] == [
        row("prepare", 2, 2, 0.03, 0.0, 0.02, (140, None), None),  # the longest is one that was measured only
        row("train_autoencoder", 1, 1, 0.25, 1.0, 0.25, (800, 16000), None),
        # 1800 + 720 + 3600 + 1080 s and 360 s; 2162 + 538 processor seconds in 1081 + 719 s.
        row("train_diffusion", 2, 6, 2.1, 2.1, 2.0, (15501, 24000), 1.5, **several),
        row("all", 5, 9, 2.38, 3.1, 2.0, (15501, 24000), 1.5, **several),
    ]


def test_the_larger_memory_of_both_sources_counts(tmp_path):
    record(tmp_path, "encode/a", ("done", 60.0, 500.0))
    measure(tmp_path, "encode/a", {"s": 61.0, "max_rss": 700.0})
    assert costs(tmp_path)[0].peak_mib == 700
    record(tmp_path, "encode/b", ("failed", 60.0, 900.0), ("done", 60.0, 100.0))
    assert costs(tmp_path)[0].peak_mib == 900


def test_time_until_a_death_was_noticed_is_no_time_of_work(tmp_path):
    """The launcher that asks SLURM how the one before died knows neither its time nor its memory."""
    record(tmp_path, "encode/a", ("out of memory", None, None), ("done", 1800.0, 500.0), gpus=2)
    own, _ = costs(tmp_path)
    assert (own.job_hours, own.gpu_hours, own.longest_hours, own.lost_hours) == (0.5, 1.0, 0.5, 0.0)
    assert (own.out_of_memory, own.cut_off, own.without_hours) == (1, 0, 1)


def test_names_with_points_are_of_different_jobs(tmp_path):
    for name in ("encode/a", "encode/a.generator2", "encode/a.generator2.labels50"):
        record(tmp_path, name, ("done", 3600.0, 500.0))
        measure(tmp_path, name, {"s": 3601.0})
    own, _ = costs(tmp_path)
    assert (own.jobs, own.attempts, own.longest_hours) == (3, 3, 1.0)


def test_stages_that_the_chain_does_not_know_come_last(tmp_path):
    for stage in ("zeal", "train_downstream", "another", "prepare"):
        measure(tmp_path, f"{stage}/a", {"s": 3600.0})
    assert [own.stage for own in costs(tmp_path)] == ["prepare", "train_downstream", "another", "zeal", "all"]


def test_a_job_right_below_the_logs_is_its_own_stage(tmp_path):
    record(tmp_path, "report", ("done", 36.0, 100.0))
    measure(tmp_path, "report", {"s": 40.0})
    assert [(own.stage, own.jobs, own.attempts) for own in costs(tmp_path)] == [("report", 1, 1), ("all", 1, 1)]


def test_every_repetition_of_a_job_without_a_record_is_an_attempt(tmp_path):
    measure(tmp_path, "encode/a", {"s": 3600.0, "cpu_time": 0.0}, {"s": 1800.0, "cpu_time": 2700.0})
    own, _ = costs(tmp_path)
    assert (own.jobs, own.attempts, own.job_hours, own.longest_hours, own.cores_used) == (1, 2, 1.5, 1.5, 0.5)


def test_a_job_of_no_time_says_nothing_of_cores(tmp_path):
    measure(tmp_path, "encode/a", {"s": 0.0, "cpu_time": 0.1})
    assert costs(tmp_path)[0].cores_used is None


def test_where_nothing_was_recorded_there_are_no_rows(tmp_path):
    assert costs(tmp_path) == [] == costs(tmp_path / "none")
    torn = attempts.beside(tmp_path / "logs" / "encode" / "a.log")
    torn.parent.mkdir(parents=True)
    torn.write_text('{"command": "c", "star')
    (tmp_path / "logs" / "encode" / "a.log").write_text("words\n")
    assert costs(tmp_path) == []


@pytest.mark.parametrize(
    "content", ["s\th:m:s\n1.0\t0:00:01\n", '{"max_rss": 3.0}\n', "[1]\n", '{"s": "NA"}\n', '{"s": 1']
)
def test_what_is_no_measurement_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "benchmarks" / "encode" / "a.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(UserError, match=rf"{re.escape(str(path))} is no measurement of Snakemake: remove it"):
        costs(tmp_path)


def test_the_chain_holds_every_rule_that_is_measured():
    """Each under the name of its folder."""
    text = "".join(path.read_text() for path in sorted(RULES.glob("*.smk")))
    assert sorted(CHAIN) == sorted(set(re.findall(r"/benchmarks/(\w+)/", text)))
    recorded = re.findall(r"benchmark:\s+f\"{RESULTS}/benchmarks/(\w+)/(\S+)\.jsonl\"", text)
    assert len(recorded) == len(CHAIN)
    for rule, name in recorded:  # else a job's record and its measurement would count as two jobs
        assert f"/logs/{rule}/{name}.log" in text
        assert f"rule {rule}:" in text or f" as {rule} with:" in text


def test_the_launcher_records_the_gpus_of_a_job(tmp_path):
    for gpus in (0, 3):
        command = [sys.executable, "-m", "specdm.launch", "--log", f"{tmp_path}/logs/info/{gpus}.log"]
        command += ["--gpus", str(gpus), "--", "--help"]
        subprocess.run(command, check=True, capture_output=True)
    read = [attempts.read(tmp_path / "logs" / "info" / f"{gpus}.attempts.jsonl")[0] for gpus in (0, 3)]
    assert [attempt.gpus for attempt in read] == [0, 3]
    own, _ = costs(tmp_path)
    assert own.gpu_hours == pytest.approx(3 * read[1].seconds / 3600) and own.gpu_hours > 0
    assert own.longest_hours < own.job_hours
