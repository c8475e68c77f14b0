"""The lock with a heartbeat: one works, the others wait, and what is left behind is taken over."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from specdm import lock
from specdm.lock import Pace

FAST = Pace(beat_s=0.1, look_s=0.02, stale_s=2.0)


def left_behind(path: Path, **more) -> None:
    """A lock of a job that was killed on another machine."""
    holder = {"token": "theirs", "host": "node9", "pid": 1, "born": 1.0, "beat": 4}
    path.write_text(json.dumps(holder | more))


def test_a_free_lock_is_had_at_once_and_is_gone_afterwards(tmp_path):
    path = lock.of(tmp_path / "state" / "train" / "oscd.generator1")
    assert path == tmp_path / "state" / "train" / "oscd.generator1.lock"
    with lock.held(path, FAST) as waited:
        assert waited is False and path.exists()
    assert not path.exists()


def test_it_is_given_back_when_the_work_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), lock.held(tmp_path / "lock", FAST):
        _ = 1 / 0
    assert not (tmp_path / "lock").exists()


def test_the_second_waits_until_the_first_ends_however_long_that_takes(tmp_path, capfd):
    path, order = tmp_path / "lock", []

    def second():
        with lock.held(path, FAST) as waited:
            order.append(("second", waited))

    with lock.held(path, FAST):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(1.5 * FAST.stale_s)  # heartbeats keep it
        order.append(("first", False))
    thread.join(10)
    assert order == [("first", False), ("second", True)]
    assert f"{path}: held by " in capfd.readouterr().err


def test_a_lock_of_another_machine_is_taken_over_only_when_it_no_longer_changes(tmp_path, capfd):
    path = tmp_path / "lock"
    left_behind(path)
    started = time.monotonic()
    with lock.held(path, FAST) as waited:
        assert waited and time.monotonic() - started > FAST.stale_s
        assert json.loads(path.read_text())["token"] != "theirs"
    assert not path.exists()
    assert "left behind by node9: taken over" in capfd.readouterr().err


def test_a_changing_lock_of_another_machine_is_respected(tmp_path):
    path, had = tmp_path / "lock", threading.Event()
    left_behind(path)

    def waiting():
        with lock.held(path, FAST):
            had.set()

    thread = threading.Thread(target=waiting, daemon=True)
    thread.start()
    for beat in range(20):
        left_behind(path.with_name("new"), beat=beat)
        os.replace(path.with_name("new"), path)
        time.sleep(0.2)
    assert not had.is_set()  # four seconds, twice what a dead one is given
    thread.join(10)
    assert had.is_set()


def test_nobody_waits_for_a_process_of_this_machine_that_is_dead(tmp_path):
    path = tmp_path / "lock"
    code = (
        "import sys, os, signal; from pathlib import Path; from specdm import lock\n"
        "with lock.held(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.exists()
    started = time.monotonic()
    with lock.held(path, Pace(look_s=0.02)) as waited:  # the usual patience is a minute and a half
        assert waited is False
    assert time.monotonic() - started < 5


def test_a_process_number_that_was_given_anew_is_not_the_holder(tmp_path):
    import platform

    path = tmp_path / "lock"
    left_behind(path, host=platform.node(), pid=os.getpid(), born=12.0)
    with lock.held(path, Pace(look_s=0.02)) as waited:
        assert waited is False


def test_of_many_who_find_a_dead_lock_one_has_it_at_a_time(tmp_path):
    path, inside, most, done = tmp_path / "lock", [], [], []
    left_behind(path)

    def work(i):
        with lock.held(path, FAST):
            inside.append(i)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(i)
            done.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == list(range(6)) and max(most) == 1


def test_a_holder_that_was_taken_for_dead_learns_it_and_leaves_the_lock_alone(tmp_path, capfd):
    path, lost = tmp_path / "lock", threading.Event()
    with lock.held(path, FAST, on_loss=lost.set):
        left_behind(path)
        assert lost.wait(5)
    assert json.loads(path.read_text())["token"] == "theirs"
    assert "taken over by another job" in capfd.readouterr().err


def test_by_default_a_holder_that_lost_its_lock_ends_at_once(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from specdm import lock; path = Path(sys.argv[1])\n"
        "with lock.held(path, lock.Pace(beat_s=0.05)):\n"
        "    path.write_text('{\"token\": \"theirs\"}'); time.sleep(20); print('still here')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")], capture_output=True, check=False)
    assert done.returncode == 1 and b"still here" not in done.stdout
    assert (tmp_path / "lock").exists()


def test_a_heartbeat_survives_a_file_system_that_does_not_answer(tmp_path, monkeypatch):
    path, calls, original = tmp_path / "lock", [], lock._write

    def flaky(*arguments):
        calls.append(len(calls))
        if calls[-1] < 3:
            raise OSError("stale file handle")
        original(*arguments)

    with lock.held(path, FAST):
        before = json.loads(path.read_text())["beat"]
        monkeypatch.setattr(lock, "_write", flaky)
        time.sleep(1.0)
        assert json.loads(path.read_text())["beat"] > before
    assert not path.exists()
