import os
import sys
from pathlib import Path

import pytest

import specdm
from specdm.doctor import machine
from specdm.doctor.cgroups import cpu_limit, memory_limit_bytes

GIB = 2**30


@pytest.fixture
def kernel(tmp_path):
    """kernel({path: text}) writes files below a root and returns it."""

    def write(**files: str) -> Path:
        for path, text in files.items():
            path = tmp_path / path.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return lambda files: write(**files)


V2 = {"proc/self/cgroup": "0::/user.slice/job_7/step"}
V1 = {"proc/self/cgroup": "9:name=systemd:/\n4:memory:/slurm/job_7\n1:cpu,cpuacct:/slurm/job_7\n3:cpuset:/set\n0::/"}
UNSET = "9223372036854771712"


def test_where_the_kernel_says_nothing_nothing_is_limited(tmp_path):
    assert memory_limit_bytes(tmp_path) is None and cpu_limit(tmp_path) is None


def test_version_2_the_smallest_limit_of_all_groups_around_counts(kernel):
    top = "sys/fs/cgroup/user.slice"
    root = kernel(
        V2
        | {
            f"{top}/memory.max": f"{6 * GIB}",
            f"{top}/job_7/memory.max": f"{4 * GIB}",
            f"{top}/job_7/step/memory.max": "max",
            f"{top}/cpu.max": "max 100000",
            f"{top}/job_7/cpu.max": "150000 100000",
            f"{top}/other/memory.max": "1",
        }
    )
    assert memory_limit_bytes(root) == 4 * GIB
    assert cpu_limit(root) == 1.5


def test_version_2_in_a_container_that_shows_only_its_own_group(kernel):
    inner = {"sys/fs/cgroup/memory.max": f"{3 * GIB}", "sys/fs/cgroup/docker/abc/memory.max": "1"}
    root = kernel({"proc/self/cgroup": "0::/../../docker/abc"} | inner)
    assert memory_limit_bytes(root) == 3 * GIB and cpu_limit(root) is None
    root = kernel({"proc/self/cgroup": "0::/not/shown"})
    assert memory_limit_bytes(root) == 3 * GIB and cpu_limit(root) is None


def test_version_1_controllers_have_trees_of_their_own(kernel):
    memory, cpu = "sys/fs/cgroup/memory/slurm", "sys/fs/cgroup/cpu,cpuacct/slurm/job_7"
    root = kernel(
        V1
        | {
            f"{memory}/job_7/memory.limit_in_bytes": f"{5 * GIB}",
            f"{memory}/memory.limit_in_bytes": UNSET,
            f"{cpu}/cpu.cfs_quota_us": "400000",
            f"{cpu}/cpu.cfs_period_us": "200000",
            "sys/fs/cgroup/cpu/set/cpu.cfs_quota_us": "1000",  # of another group than this process's
            "sys/fs/cgroup/cpu/set/cpu.cfs_period_us": "200000",
        }
    )
    assert memory_limit_bytes(root) == 5 * GIB
    assert cpu_limit(root) == 2.0


def test_version_1_without_quota(kernel):
    cpu = "sys/fs/cgroup/cpu/slurm/job_7"
    root = kernel(V1 | {f"{cpu}/cpu.cfs_quota_us": "-1", f"{cpu}/cpu.cfs_period_us": "100000"})
    root = kernel({"proc/self/cgroup": "1:cpu:/slurm/job_7"})
    assert cpu_limit(root) is None


def test_memory_is_the_machines_and_a_smaller_limit_of_the_group(kernel):
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    whole = machine.memory(kernel({})).lines[0]
    assert abs(float(whole.split()[0]) - total / GIB) < 0.6 and whole.endswith(" GiB")
    unset = kernel(V2 | {"sys/fs/cgroup/memory.max": UNSET})
    assert machine.memory(unset).lines[0] == whole
    small = kernel({"sys/fs/cgroup/memory.max": f"{GIB // 2}"})
    assert machine.memory(small).lines[0] == f"{whole}, of which the control group allows 0.5 GiB"


def test_cores_are_those_this_process_may_use_and_threads_those_asked_for(kernel):
    there, bound = os.cpu_count(), len(os.sched_getaffinity(0))
    lines = machine.cores(kernel(V2), {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "2", "OTHER": "1"}).lines
    assert lines[0].startswith(f"{bound} of {there} usable") and "control group" not in lines[0]
    assert lines[1] == "OMP_NUM_THREADS=3, MKL_NUM_THREADS=2"
    half = machine.cores(kernel(V2 | {"sys/fs/cgroup/cpu.max": "50000 100000"}), {}).lines
    assert half[0].startswith(f"1 of {there} usable (") and half[0].endswith("control group: time of 0.5)")
    assert half[1] == "no variable sets a number of threads"


def test_fewer_cores_by_binding_are_told(kernel, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert machine.cores(kernel({}), {}).lines[0] == "8 of 64 usable (bound to 8)"
    kernel(V2)
    roomy = kernel({"sys/fs/cgroup/cpu.max": "1000000 100000"})
    assert machine.cores(roomy, {}).lines[0] == "8 of 64 usable (bound to 8)"
    quota = kernel({"sys/fs/cgroup/cpu.max": "650000 100000"})
    assert machine.cores(quota, {}).lines[0] == "6 of 64 usable (bound to 8, control group: time of 6.5)"


def test_the_kind_of_environment(tmp_path):
    env = tmp_path / "envs" / "specdm"
    (env / "conda-meta").mkdir(parents=True)
    active = {"CONDA_PREFIX": str(env), "CONDA_DEFAULT_ENV": "named"}
    assert machine.environment(env, env, active) == "conda environment named"
    assert machine.environment(env, env, {"CONDA_PREFIX": "/base", "CONDA_DEFAULT_ENV": "base"}) == (
        "conda environment specdm"
    )
    assert machine.environment(tmp_path / "venv", tmp_path, active) == "virtual environment"
    assert machine.environment(tmp_path, tmp_path, active) == "system"


@pytest.mark.parametrize(
    ("called", "told"),
    [
        (sys.executable, None),
        (None, "The workflow's rules call `python`, and there is none on PATH"),
        ("/somewhere/else/python", "The workflow's rules call the `python` of PATH, which is not this one"),
    ],
)
def test_another_python_on_the_path_is_worth_knowing(called, told):
    section = machine.python({}, lambda name: called)
    assert section.lines[0].startswith(".".join(map(str, sys.version_info[:3])))
    assert section.missing == ()
    assert [sentence.split(":")[0] for sentence in section.worth_knowing] == ([told] if told else [])


def test_a_python_beside_this_one_is_the_same_whatever_the_link_is_called(tmp_path):
    (tmp_path / "link").symlink_to(Path(sys.executable).parent)
    assert machine.python({}, lambda name: str(tmp_path / "link" / "python")).worth_knowing == ()


def test_specdm_and_the_system_are_named():
    assert machine.version().lines[0].startswith(f"{specdm.__version__}, commit ")
    assert os.uname().release in machine.system().lines[0] and os.uname().machine in machine.system().lines[0]
