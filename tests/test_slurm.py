"""What SLURM's commands say, read; tests/cluster asks a real one."""

import pytest

from specdm import slurm


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45", 45),
        ("1:30", 90),
        ("23:59:07", 86347),
        ("2-03:00:01", 2 * 86400 + 3 * 3600 + 1),
        ("0:00", 0),
        ("UNLIMITED", None),
        ("INVALID", 0),
        ("NOT_SET", None),
        ("", None),
    ],
)
def test_times_of_slurm_become_seconds(text, seconds):
    assert slurm.duration_s(text) == seconds


def test_the_time_left_is_asked_for_the_job():
    asked = []

    def run(command):
        asked.append(command)
        return "12:00"

    assert slurm.seconds_left("17_3", run) == 720
    assert asked[0][0] == "squeue" and "17_3" in asked[0]


@pytest.mark.parametrize(
    ("accounting", "controller", "expected"),
    [
        ("OUT_OF_MEMORY", "", True),
        ("COMPLETED", "JobState=OUT_OF_MEMORY", False),
        ("", "JobId=5 JobState=OUT_OF_MEMORY Reason=OutOfMemory", True),
        ("", "JobId=5 JobState=RUNNING", False),
        ("CANCELLED by 0", "", False),
        ("", "", False),
    ],
)
def test_accounting_is_believed_first_then_the_controller(accounting, controller, expected):
    answers = {"sacct": accounting, "scontrol": controller}
    assert slurm.ran_out_of_memory("5", lambda command: answers[command[0]]) is expected


def test_a_missing_failing_or_silent_command_says_nothing(tmp_path):
    assert slurm.run([str(tmp_path / "absent")]) == ""
    assert slurm.run(["false"]) == ""
    assert slurm.run(["echo", "x"]) == "x"


def test_a_job_that_cannot_be_requeued_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.requeue("1") is False
    for status in (0, 1):
        (tmp_path / "scontrol").write_text(f"#!/bin/sh\n[ $1 = requeue ] && [ $2 = 12 ] && exit {status}; exit 3\n")
        (tmp_path / "scontrol").chmod(0o755)
        assert slurm.requeue("12") is (status == 0)


def test_the_job_here_is_known_by_its_number():
    assert slurm.job_here({"SLURM_JOB_ID": "9"}) == "9" and slurm.job_here({}) == ""
