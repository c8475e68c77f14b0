"""Peaks of memory, and the kernel's counter of processes killed for it."""

import subprocess
import sys

import numpy as np
import pytest

from specdm.memory import out_of_memory_kills, peak_mb


def test_the_peak_grows_with_what_is_held():
    before = peak_mb()
    held = np.ones(int(200e6 // 8) + int(before * 2**20 / 8))
    assert peak_mb() - before > 150
    del held


def test_the_peak_of_children_is_that_of_the_largest():
    subprocess.run([sys.executable, "-c", "x = b'1' * 400_000_000"], check=True)
    assert 380 < peak_mb(of_children=True) < 100_000


@pytest.mark.parametrize(
    ("groups", "file", "text", "kills"),
    [
        (
            "9:name=systemd:/\n4:memory:/slurm/job_1/step_0\n0::/\n",
            "memory/slurm/job_1/step_0/memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            2,
        ),
        (
            "0::/system.slice/job_7\n",
            "system.slice/job_7/memory.events",
            "low 0\nhigh 0\nmax 9\noom 3\noom_kill 1\n",
            1,
        ),
        ("0::/\n", "memory.events", "low 0\noom_kill 0\n", 0),
        ("0::/job\n", "job/memory.events", "low 0\n", None),
        ("0::/job\n", "elsewhere/memory.events", "oom_kill 5\n", None),
        ("4:memory:/job\n", "memory/job/memory.oom_control", "nonsense\n", None),
    ],
)
def test_the_counter_is_that_of_this_control_group(tmp_path, groups, file, text, kills):
    (tmp_path / "cgroup").write_text(groups)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    assert out_of_memory_kills(tmp_path / "cgroup", tmp_path) == kills


def test_a_machine_without_control_groups_says_nothing(tmp_path):
    assert out_of_memory_kills(tmp_path / "absent", tmp_path) is None
