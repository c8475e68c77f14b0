"""The launcher of jobs: processes, threads, time limits, kills for memory, records, and jobs that meet."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from specdm import attempts, launch, lock
from specdm.launch import Job

# A worker in the place of `python -m specdm`: the launcher under test, with its command replaced.
DRIVER = """
import sys
from specdm import launch
launch.invocation = lambda job, minutes: [sys.executable, "-c", {code!r}, str(minutes)]
launch.KILL_S = 0.0
launch.slurm.seconds_left = lambda job: {left!r}
launch.slurm.requeue = lambda job: (print("requeue", job, flush=True), {requeues!r})[1]
launch.REQUEUE_S = 0.0
launch.typer.run(launch.launch)
"""


@pytest.fixture
def started(tmp_path):
    """Starts the launcher with a worker's code; returns the process."""

    def start(code, *options, state=None, left=None, requeues=False, command=("verb",), **environ):
        driver = DRIVER.format(code=code, left=left, requeues=requeues)
        words = [*command, *(["--state", str(state)] if state else [])]
        whole = [sys.executable, "-c", driver, "--log", str(tmp_path / "a.log"), *options, "--", *words]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SPECDM_", "CUDA_VISIBLE"))}
        return subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=clean | environ)

    return start


@pytest.fixture
def ended(started):
    """Runs it to its end: (exit status, what was printed)."""

    def run(*arguments, **options):
        process = started(*arguments, **options)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    return run


@pytest.fixture
def past(tmp_path):
    return lambda: attempts.read(attempts.beside(tmp_path / "a.log"))


def test_an_attempt_is_recorded_with_what_it_took(ended, past):
    code = "x = b'1' * 300_000_000"
    assert ended(code, "--memory-mb", "8000", "--gpus", "1")[0] == 0
    (only,) = past()
    assert (only.outcome, only.status, only.memory_mb, only.gpus, only.processes) == ("done", 0, 8000, 1, 1)
    assert 280 < only.peak_mb < 2000 and 0 < only.seconds < 30
    assert ended("raise SystemExit(3)")[0] == 3
    assert (past()[-1].outcome, past()[-1].status) == ("failed", 3)


def test_the_record_of_a_running_job_says_that_it_is_not_over(started, past, tmp_path):
    process = started("import time; print('up', flush=True); time.sleep(30)")
    process.stdout.readline()
    assert past()[0].outcome == "cut off"
    process.kill()  # the whole job, launcher and worker
    process.wait()
    assert past()[0].outcome == "cut off"


@pytest.mark.parametrize(
    ("status", "paused", "kills", "outcome"),
    [
        (0, False, False, "done"),
        (0, False, None, "done"),
        (75, True, False, "paused"),
        (1, True, False, "paused"),  # torchrun passes no exit status on
        (1, False, False, "failed"),
        (-9, False, True, "out of memory"),
        (1, False, True, "out of memory"),  # one of several processes
        (-9, False, None, "out of memory"),
        (-9, False, False, "failed"),  # somebody's kill -9 of the worker alone
        (-15, False, None, "failed"),
    ],
)
def test_what_an_exit_status_means(status, paused, kills, outcome):
    assert launch.outcome_of(status, paused, kills) == outcome


def test_a_signal_becomes_the_shells_exit_status(ended):
    assert ended("import os, signal; os.kill(os.getpid(), signal.SIGABRT)")[0] == 128 + signal.SIGABRT


@pytest.mark.parametrize(
    ("left_s", "minutes"),
    [(60, 0.5), (120, 1.0), (600, 9.0), (1200, 19.0), (3600, 57.0), (86400, 1430.0), (864000, 14390.0)],
)
def test_time_to_save_stays_before_the_limit(left_s, minutes):
    assert launch.minutes_to_work(left_s) == pytest.approx(minutes)


def job(**more) -> Job:
    base = dict(command=["train", "--state", "s"], log=Path("l"), gpus=1, n_processes=1, threads=8, memory_mb=1)
    return Job(**base | dict(inputs=(), outputs=(), has_time_limit=False) | more)


def test_the_command_line_names_the_pause_only_where_there_is_a_limit():
    assert launch.invocation(job(), None) == [sys.executable, "-m", "specdm", "train", "--state", "s"]
    assert launch.invocation(job(), 12.345)[-2:] == ["--max-minutes", "12.35"]
    assert launch.invocation(job(), 0.0)[-2:] == ["--max-minutes", "0.01"]  # 0 would mean without end
    words = launch.invocation(job(n_processes=4), 1.0)
    assert words[:4] == [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    assert words[words.index("--nproc-per-node") + 1] == "4" and words[7:9] == ["specdm", "train"]


@pytest.mark.parametrize(
    ("asked", "given", "on_cluster", "n"),
    [
        (1, "0,1,2,3", False, 1),  # at home the number asked for counts
        (0, "0", False, 0),
        (4, "0,1", True, 2),  # on a cluster what the job got
        (0, "3", True, 1),  # asked for as gres
        (2, "", True, 2),  # the cluster does not say
        (1, "NoDevFiles", True, 0),
        (0, "", True, 0),
    ],
)
def test_gpus_are_those_that_the_job_got(asked, given, on_cluster, n):
    assert launch.n_gpus(asked, {"CUDA_VISIBLE_DEVICES": given} if given else {}, on_cluster) == n


@pytest.mark.parametrize(("gpus", "each", "n"), [(0, True, 1), (1, True, 1), (4, True, 4), (4, False, 1)])
def test_processes_and_threads_are_shared_out(ended, past, monkeypatch, gpus, each, n):
    code = "import os; print('threads', os.environ['OMP_NUM_THREADS'], repr(os.environ.get('CUDA_VISIBLE_DEVICES')))"
    options = ["--gpus", str(gpus), "--threads", "8", *(["--process-a-gpu"] if each else [])]
    _, output = ended(code, *options)
    cores = min(8, len(os.sched_getaffinity(0)))
    assert f"threads {max(1, cores // n)} {'None' if gpus else repr('')}" in output
    assert past()[-1].processes == n


def test_a_job_with_a_state_is_told_when_to_pause_and_one_without_is_not(ended, tmp_path):
    code = "import sys; print('minutes', sys.argv[1])"
    assert "minutes None" in ended(code, left=1200.0, state=tmp_path / "s")[1]  # not on a cluster
    on_cluster = {"SPECDM_ON_CLUSTER": "1", "SLURM_JOB_ID": "5"}
    assert "minutes 19.0" in ended(code, left=1200.0, state=tmp_path / "s", **on_cluster)[1]
    assert "minutes None" in ended(code, left=1200.0, **on_cluster)[1]
    assert "minutes None" in ended(code, left=None, state=tmp_path / "s", **on_cluster)[1]


PAUSE = "import os, pathlib, sys; pathlib.Path(os.environ['SPECDM_PAUSED']).touch(); sys.exit({status})"


@pytest.mark.parametrize("status", [75, 1])
def test_a_paused_job_goes_back_into_the_queue_of_a_cluster(ended, past, tmp_path, status):
    on_cluster = {"SPECDM_ON_CLUSTER": "1", "SLURM_JOB_ID": "5"}
    done, output = ended(PAUSE.format(status=status), state=tmp_path / "s", requeues=True, **on_cluster)
    assert done == 75 and "requeue 5" in output and "job 5 goes back into the queue" in output
    assert past()[-1].outcome == "paused" and past()[-1].job == "5"
    assert not lock.of(tmp_path / "s").exists()
    done, output = ended(PAUSE.format(status=status), state=tmp_path / "s", requeues=False, **on_cluster)
    assert done == 75 and "goes back" not in output  # Snakemake tries again
    done, output = ended(PAUSE.format(status=status), state=tmp_path / "s", requeues=True, SLURM_JOB_ID="5")
    assert done == 75 and "requeue" not in output  # somebody's own session on a cluster
    done, output = ended("raise SystemExit(1)", state=tmp_path / "s", requeues=True, **on_cluster)
    assert done == 1 and "requeue" not in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_asks_the_worker_and_waits_for_it(started, past, tmp_path, number):
    code = (
        "import os, pathlib, signal, sys, time\n"
        "def save(*_): time.sleep(0.5); pathlib.Path(os.environ['SPECDM_PAUSED']).touch(); sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, save); print('up', flush=True); time.sleep(30)"
    )
    process = started(code, state=tmp_path / "s")
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 75 and past()[-1].outcome == "paused"


def test_a_killed_process_of_a_worker_is_told_and_doubles_nothing_but_memory(ended, past, tmp_path):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    status, output = ended(code, "--memory-mb", "500")
    assert status == 128 + signal.SIGKILL
    if past()[-1].outcome == "out of memory":  # where the kernel does not count
        assert "launch: out of memory at 500 MB: the next attempt asks for twice as much" in output
    else:
        assert past()[-1].outcome == "failed"


def test_of_two_jobs_the_second_waits_and_does_nothing_that_the_first_has_done(started, past, tmp_path):
    source, made, times = tmp_path / "in", tmp_path / "out", tmp_path / "times"
    source.touch()
    code = (
        "import pathlib, sys, time; p = pathlib.Path\n"
        f"with p({str(times)!r}).open('a') as f: f.write('x')\n"
        f"print('up', flush=True); time.sleep(1.5); p({str(made)!r}).touch()"
    )
    options = ("--inputs", str(source), "--outputs", str(made))
    first = started(code, *options, state=tmp_path / "s")
    assert first.stdout.readline() == "up\n"
    second = started(code, *options, state=tmp_path / "s")
    output, _ = second.communicate(timeout=30)
    assert first.wait(10) == 0 and second.returncode == 0
    assert "held by" in output and "another job has made the outputs meanwhile" in output
    assert times.read_text() == "x" and [a.outcome for a in past()] == ["done"]


def finished(tmp_path, digest) -> None:
    record = attempts.beside(tmp_path / "a.log")
    attempts.begin(record, attempts.Attempt(digest, 1.0, "node", "", 1, 0))
    attempts.end(record, 1.0, "done", 0, 1.0, 1.0)


@pytest.mark.parametrize("case", ["fresh", "older", "absent", "other", "none"])
def test_outputs_of_another_command_or_older_than_the_inputs_are_not_taken(tmp_path, case):
    from specdm import files

    source, made = tmp_path / "in", tmp_path / "out"
    source.touch()
    made.touch()
    mine = job(log=tmp_path / "a.log", inputs=(source,), outputs=(made,))
    if case != "none":
        finished(tmp_path, "other" if case == "other" else files.digest(mine.command))
    if case == "older":
        os.utime(made, (1, 1))
    if case == "absent":
        made.unlink()
    assert launch.made_meanwhile(mine) is (case == "fresh")


def test_a_job_whose_state_was_taken_over_ends_at_once_with_its_worker(started, tmp_path):
    state, alive = tmp_path / "s", tmp_path / "alive"
    code = f"import time; print('up', flush=True)\nwhile True: open({str(alive)!r}, 'a').write('x'); time.sleep(0.1)"
    fast = "launch.lock.held = functools.partial(launch.lock.held, pace=launch.lock.Pace(beat_s=0.1))"
    driver = "import functools\n" + DRIVER.format(code=code, left=None, requeues=False)
    driver = driver.replace("launch.typer.run", f"{fast}\nlaunch.typer.run")
    whole = [sys.executable, "-c", driver, "--log", str(tmp_path / "a.log")]
    process = subprocess.Popen([*whole, "--", "verb", "--state", str(state)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    lock.of(state).write_text(json.dumps({"token": "theirs"}))
    assert process.wait(10) == 1
    size = alive.stat().st_size
    time.sleep(0.5)
    assert alive.stat().st_size == size
    assert json.loads(lock.of(state).read_text()) == {"token": "theirs"}


def test_the_real_command_line_runs_under_it(tmp_path):
    command = [sys.executable, "-m", "specdm.launch", "--log", str(tmp_path / "a.log"), "--threads", "1", "--"]
    done = subprocess.run([*command, "join-samples", str(tmp_path), "--out", "x"], capture_output=True, text=True)
    assert done.returncode == 1 and "error: " in done.stderr and "Traceback" not in done.stderr
    assert [a.outcome for a in attempts.read(attempts.beside(tmp_path / "a.log"))] == ["failed"]


def test_a_command_with_a_state_does_not_wait_for_its_own_launcher(tmp_path, segmentation_patches):
    command = [sys.executable, "-m", "specdm.launch", "--log", str(tmp_path / "a.log"), "--threads", "1", "--"]
    command += ["train-teacher", "--patches", str(segmentation_patches), "--out", str(tmp_path / "out")]
    command += ["--state", str(tmp_path / "state"), "--settings", '{"width": 4, "steps": 1, "batch": 2}']
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held by" not in done.stderr and not lock.of(tmp_path / "state").exists()
    assert [a.outcome for a in attempts.read(attempts.beside(tmp_path / "a.log"))] == ["done"]
