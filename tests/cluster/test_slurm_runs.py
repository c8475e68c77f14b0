"""The workflow on a real SLURM: from simulated images to the table, and through what clusters do to jobs."""

import re

import pandas as pd
import pytest
from safetensors.numpy import load_file

from tests.cluster import scenarios
from tests.cluster.runs import AUTOENCODER, DENOISER, RESULTS, TABLE, Run


def assert_same_weights(run: Run, undisturbed: Run) -> None:
    ours, theirs = load_file(run / AUTOENCODER), load_file(undisturbed / AUTOENCODER)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert (ours[key] == value).all(), key


def test_the_small_configuration_reaches_its_table(undisturbed):
    table = pd.read_csv(undisturbed / TABLE)
    assert set(zip(table["network"], table["regime"], strict=True)) == {
        ("fc-siam-diff", "real"),
        ("fc-siam-diff", "augmented-x5"),
    }
    assert table["miou_macro_mean"].between(0, 1).all()
    assert not list((undisturbed / f"{RESULTS}/state").rglob("*.*"))  # no state, no lock
    (trained,) = undisturbed.attempts("train_autoencoder")
    assert trained.outcome == "done" and trained.job and trained.gpus == 1 and trained.memory_mb == 24000
    assert "Nothing to be done" in undisturbed.make("-n", "--", TABLE)


def test_shards_are_jobs_of_one_array_and_light_steps_are_no_jobs(undisturbed):
    drawn = sorted((undisturbed / f"{RESULTS}/logs/draw_samples").glob("*.attempts.jsonl"))
    assert [path.name for path in drawn] == [f"oscd-specdm-{k}-of-2.attempts.jsonl" for k in (1, 2)]
    printed = "".join(path.read_text() for path in (undisturbed / ".snakemake/log").glob("*.log"))
    assert re.search(r"Submitted array job .* task IDs are 1-2", printed)
    assert "rule_train_autoencoder/" in printed and not re.search(r"rule_(simulate|downstream_table)/", printed)


def test_a_training_longer_than_its_time_limit_goes_on_until_it_is_done(runs, undisturbed):
    """Where users may not requeue their jobs, each continuation is a retry."""
    run = runs["out_of_memory_and_time"].result()
    past = [a for a in run.attempts("train_autoencoder") if a.outcome != "out of memory"]
    assert [a.outcome for a in past] == ["paused"] * (len(past) - 1) + ["done"] and len(past) > 1
    assert len({a.job for a in past}) == len(past)
    assert {a.gpus for a in past} == {1}  # got as --gres
    assert "resuming at step" in run.log("train_autoencoder")
    assert_same_weights(run, undisturbed)


def test_memory_grows_after_a_kill_for_it_and_for_nothing_else(runs, slurm):
    if not slurm.confined:
        pytest.skip("SLURM enforces memory with control groups only, and they cannot be written here")
    past = runs["out_of_memory_and_time"].result().attempts("train_autoencoder")
    killed = [a.outcome == "out of memory" for a in past]
    assert killed[0] and sum(killed) < len(past) - 1  # a kill, a pause, the end
    assert [a.memory_mb for a in past] == [scenarios.TOO_LITTLE_MB * 2 ** sum(killed[:i]) for i in range(len(past))]


def test_a_training_out_of_time_requeues_itself_and_uses_up_no_retry(runs, undisturbed):
    run = runs["out_of_time_requeued"].result()
    past = run.attempts("train_autoencoder")
    assert [a.outcome for a in past] == ["paused"] * (len(past) - 1) + ["done"] and len(past) > 1
    assert len({a.job for a in past}) == 1
    assert_same_weights(run, undisturbed)


def test_after_ctrl_c_the_same_command_goes_on_and_a_cancelled_job_is_tried_again(runs, undisturbed):
    run = runs["interrupted_and_cancelled"].result()
    past = run.attempts("train_autoencoder")
    assert past[-1].outcome == "done" and {a.memory_mb for a in past} == {24000}
    assert len(past) == 3
    assert_same_weights(run, undisturbed)


def test_after_kill_9_the_same_command_does_not_disturb_the_job_that_still_runs(runs, undisturbed):
    run = runs["killed"].result()
    first, *second = run.attempts("train_autoencoder")
    assert [a.outcome for a in (first, *second)] == ["done"] * (1 + len(second))
    # The new job waits, and finds the work done; on a slow machine it comes when the first has ended, and works itself.
    assert len(second) <= 1 and all(a.started >= first.started + first.seconds for a in second)
    assert_same_weights(run, undisturbed)


def test_two_gpus_are_two_processes_that_learn_the_same(runs, undisturbed):
    run = runs["two_gpus"].result()
    last = run.attempts("train_diffusion")[-1]
    assert (last.outcome, last.gpus, last.processes) == ("done", 2, 2)
    ours, theirs = load_file(run / DENOISER), load_file(undisturbed / DENOISER)
    for key, value in theirs.items():
        assert abs(ours[key] - value).max() < 1e-5, key


def test_a_failing_job_is_told_with_its_rule_its_number_and_its_log(runs):
    run = runs["failing"].result()
    printed = (run / "failure.txt").read_text()
    assert "rror in rule train_downstream" in printed
    assert f"{RESULTS}/logs/train_downstream/oscd-fc-siam-diff-real-seed0.log" in printed
    assert re.search(r"external_jobid: \d+", printed)
    assert "5000" in re.search(r"^\s*error: (.*)", printed, re.MULTILINE)[1]  # the sentence itself
    assert "Traceback" not in printed


def test_nothing_runs_when_all_is_done(runs, slurm):
    for future in runs.values():
        future.exception()
    assert slurm.running() == []
