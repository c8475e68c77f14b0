"""The table of costs, from records as the launcher writes them."""

import json

import pandas as pd
import pytest

from specdm import attempts, files
from specdm.attempts import Attempt


@pytest.fixture
def run(tmp_path):
    """A run with a light job, and one that failed once on two GPUs and asked for much memory."""
    run = tmp_path / "results"
    record = attempts.beside(run / "logs" / "train_diffusion" / "towns.log")
    for started, outcome, seconds in ((1.0, "failed", 1800.0), (2.0, "done", 5400.0)):
        attempts.begin(record, Attempt("c", started, "host", "", 2, 128_000, gpus=2))
        with record.open("a") as stream:
            end = {"started": started, "outcome": outcome, "status": 0, "seconds": seconds, "peak_mb": 123_456.7}
            stream.write(json.dumps(end) + "\n")
    with files.new_file(run / "benchmarks" / "prepare" / "towns.jsonl") as temporary:
        temporary.write_text(json.dumps({"s": 36.0, "max_rss": "NA", "cpu_time": 9.0}) + "\n")
    return run


def test_the_table_holds_the_hours_and_memory_of_every_stage(run, tmp_path, verb, capsys):
    out = tmp_path / "tables" / "costs.csv"
    assert verb("tabulate-costs", run, out=out) == 0
    assert f"2 stages in {out}" in capsys.readouterr().out
    head, *lines = out.read_text().splitlines()
    assert head == (
        "stage,jobs,attempts,paused,out_of_memory,failed,cut_off,job_hours,gpu_hours,longest_hours,lost_hours,"
        "without_hours,peak_mib,asked_mib,cores_used"
    )
    assert lines == [
        "prepare,1,1,0,0,0,0,0.01,0,0.01,0,0,,,0.25",
        "train_diffusion,1,2,0,0,1,0,2,4,2,0.5,0,123457,128000,",
        "all,2,3,0,0,1,0,2.01,4,2,0.5,0,123457,128000,0.25",
    ]
    assert pd.read_csv(out)["job_hours"][:-1].sum() == pytest.approx(2.01)


def test_a_readable_table_stands_beside_it(run, tmp_path, verb):
    assert verb("tabulate-costs", run, out=tmp_path / "costs.csv") == 0
    table, note = (tmp_path / "costs.md").read_text().split("\n\n")
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    head, rule, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert head[0] == "stage" and [row[0] for row in rows] == ["prepare", "train_diffusion", "all"]
    assert not rule[0].endswith(":") and all(mark.endswith("-:") for mark in rule[1:])
    shown = [dict(zip(head, row, strict=True)) for row in rows]
    assert [row["time of all (h:mm:ss)"] for row in shown] == ["0:00:36", "2:00:00", "2:00:36"]
    assert [row["memory asked for (GiB)"] for row in shown] == ["", "125.00", "125.00"]
    assert note.startswith("Every attempt") and note.endswith(".\n")


def test_a_folder_without_records_is_refused(run, tmp_path, verb):
    out = tmp_path / "costs.csv"
    told = verb("tabulate-costs", run / "logs", out=out)
    assert f"{run / 'logs'} has no records of jobs" in told and "give the folder of a run" in told
    (run / "benchmarks" / "prepare" / "towns.jsonl").write_text("s\n")
    assert "is no measurement of Snakemake" in verb("tabulate-costs", run, out=out)
    assert not list(tmp_path.glob("costs.*"))
