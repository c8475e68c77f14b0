"""The record of attempts."""

from pathlib import Path

import pytest

from specdm import attempts
from specdm.attempts import Attempt


def attempt(started: float, **more) -> Attempt:
    return Attempt("digest", started, "node7", more.pop("job", ""), 1, 8000, **more)


def nobody(job):
    raise AssertionError(f"asked for job {job}")


def test_an_attempt_comes_back_as_it_was_written(tmp_path):
    record = attempts.beside(tmp_path / "logs" / "train" / "oscd.generator1.log")
    assert record == tmp_path / "logs" / "train" / "oscd.generator1.attempts.jsonl"
    assert attempts.read(record) == []
    attempts.begin(record, attempt(1.5, job="12", gpus=2))
    assert attempts.read(record) == [attempt(1.5, job="12", gpus=2)]
    assert attempts.read(record)[0].outcome == "cut off"
    attempts.begin(record, attempt(2.5))
    attempts.end(record, 1.5, "paused", 75, 60.5, 900.0)
    first, second = attempts.read(record)
    assert first == attempt(1.5, job="12", gpus=2, outcome="paused", status=75, seconds=60.5, peak_mb=900.0)
    assert second == attempt(2.5)


def test_a_torn_or_foreign_line_is_left_out(tmp_path):
    record = tmp_path / "x.attempts.jsonl"
    attempts.begin(record, attempt(1.0))
    attempts.end(record, 1.0, "done", 0, 1.0, 2.0)
    with record.open("a") as stream:
        stream.write('{"started": 3.0, "outcome": "done", "later": 1}\n{"started": 2.0, "comm')
    assert [a.started for a in attempts.read(record)] == [1.0]


@pytest.mark.parametrize(
    ("outcomes", "times"),
    [
        ([], 0),
        (["out of memory"], 1),
        (["out of memory", "paused", "out of memory", "failed"], 2),
        (["out of memory", "done"], 0),
        (["out of memory", "done", "out of memory"], 1),
        (["paused", "failed", "cut off"], 0),
    ],
)
def test_kills_for_memory_count_since_the_last_success(outcomes, times):
    past = [attempt(float(i), outcome=outcome) for i, outcome in enumerate(outcomes)]
    assert attempts.times_out_of_memory(past, nobody) == times


def test_slurm_is_asked_for_the_last_attempt_that_left_no_word():
    past = [attempt(1.0, job="1"), attempt(2.0, job="2")]
    assert attempts.times_out_of_memory(past, lambda job: job == "2") == 1
    assert attempts.times_out_of_memory(past, lambda job: job == "1") == 0
    assert attempts.times_out_of_memory([attempt(1.0)], nobody) == 0
    assert attempts.times_out_of_memory([attempt(1.0, job="1", outcome="failed")], nobody) == 0


def test_the_name_of_a_job_may_hold_points():
    assert attempts.beside(Path("a.b.log")).name == "a.b.attempts.jsonl"
