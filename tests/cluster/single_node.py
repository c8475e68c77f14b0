"""A real SLURM of one node with GPUs that are none, started and stopped by the tests; needs root and Debian's packages.

Everything lies in one folder, except links in /etc/slurm: SLURM's own jobs look for its configuration there and nowhere
else.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sinfo", "sbatch", "scontrol", "scancel")
ETC = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
CONTROLLERS = ("memory", "freezer", "cpuset", "cpuacct")  # of control groups, version 1, that SLURM 22.05 uses


def why_not() -> str:
    """Why no SLURM can be started here, "" where one can."""
    missing = [name for name in PROGRAMS if _find(name) is None]
    if missing:
        return f"no {', '.join(missing)}: apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "SLURM's daemons of the tests need root"
    if any((ETC / name).exists() and not (ETC / name).is_symlink() for name in FILES):
        return f"{ETC} belongs to a real SLURM"
    return ""


def control_groups() -> bool:
    """Whether SLURM can confine jobs: with it memory is enforced and signals reach what they reach on real clusters."""
    return all(os.access(f"/sys/fs/cgroup/{name}", os.W_OK) for name in CONTROLLERS)


class SingleNode:
    """Starts the daemons on entry and stops them on exit, leaving nothing behind.

    Args:
        gpus: device nodes that stand in the place of GPUs.
        cpus, memory_mb: that SLURM may give away; more than there are.
    """

    def __init__(self, gpus: int = 4, cpus: int = 64, memory_mb: int = 512_000):
        self.gpus, self.cpus, self.memory_mb = gpus, cpus, memory_mb
        self.folder = Path(tempfile.mkdtemp(prefix="specdm-slurm-"))
        self.folder.chmod(0o755)  # munge refuses folders that not everybody may enter
        self.confined = control_groups()

    def __enter__(self) -> SingleNode:
        for name in ("etc", "run", "log", "dev", "spool/controller", "spool/node"):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "etc/munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        for i in range(self.gpus):
            os.mknod(self.folder / f"dev/gpu{i}", stat.S_IFCHR | 0o666, os.makedev(1, 3))  # SLURM accepts devices only
        for name, text in self._configuration().items():
            (self.folder / "etc" / name).write_text(text)
            (ETC / name).unlink(missing_ok=True)
            (ETC / name).symlink_to(self.folder / "etc" / name)
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._stop()

    def jobs(self) -> dict[str, str]:
        """Number -> state of all jobs that SLURM still knows."""
        listed = _ask("squeue", "--noheader", "--states=all", "--format=%i %T")
        return dict(line.split() for line in listed.splitlines())

    def running(self) -> list[str]:
        """Numbers of the jobs that run."""
        return [number for number, state in self.jobs().items() if state == "RUNNING"]

    def held_back(self) -> set[str]:
        """Numbers of the jobs that wait because they were put back into the queue."""
        return set(re.findall(r"JobId=(\d+) .* Reason=BeginTime", _ask("scontrol", "--oneliner", "show", "job")))

    def start_now(self, number: str) -> None:
        """Let a job that is held back start at once."""
        _ask("scontrol", "update", f"JobId={number}", "StartTime=now")

    def allow(self, number: str, minutes: int) -> None:
        """Give a job another time limit."""
        _ask("scontrol", "update", f"JobId={number}", f"TimeLimit={minutes}")

    def cancel(self, number: str) -> None:
        """Cancel a job as its user does."""
        _ask("scancel", number)

    def _start(self) -> None:
        run, log = self.folder / "run", self.folder / "log"
        munge = [f"--key-file={self.folder}/etc/munge.key", f"--socket={run}/munge.socket"]
        munge += [f"--pid-file={run}/munged.pid", f"--log-file={log}/munged.log", f"--seed-file={run}/munged.seed"]
        for command in (["munged", *munge], ["slurmctld", "-i"], ["slurmd", "-N", _node()]):
            subprocess.run([_find(command[0]), *command[1:]], check=True, timeout=60, capture_output=True)
        for _ in range(150):
            if _ask("sinfo", "--noheader", "--format=%T") == "idle":
                return
            time.sleep(0.2)
        raise RuntimeError((log / "slurmctld.log").read_text()[-2000:] + (log / "slurmd.log").read_text()[-2000:])

    def _stop(self) -> None:
        for number in self.running():
            self.cancel(number)
        for _ in range(100):
            if not self.running():
                break
            time.sleep(0.2)
        for name in ("slurmd", "slurmctld", "munged"):
            _end(self.folder / f"run/{name}.pid")
        for name in FILES:
            if (ETC / name).is_symlink() and os.readlink(ETC / name) == str(self.folder / "etc" / name):
                (ETC / name).unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _configuration(self) -> dict[str, str]:
        devices = f"{self.folder}/dev/gpu[0-{self.gpus - 1}]"
        files = {"slurm.conf": self._slurm_conf(), "gres.conf": f"NodeName={_node()} Name=gpu File={devices}\n"}
        if self.confined:
            files["cgroup.conf"] = (
                "CgroupAutomount=no\nCgroupMountpoint=/sys/fs/cgroup\nCgroupPlugin=cgroup/v1\n"
                "ConstrainRAMSpace=yes\nConstrainCores=no\nConstrainDevices=no\n"
            )
        return files

    def _slurm_conf(self) -> str:
        run, node, ports = self.folder / "run", _node(), _free_ports(2)
        track = ("cgroup", "cgroup") if self.confined else ("linuxproc", "none")
        settings = {
            "ClusterName": "tests",
            "SlurmctldHost": f"{node}(127.0.0.1)",
            "SlurmUser": "root",
            "SlurmdUser": "root",
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={run}/munge.socket",
            "SlurmctldPort": ports[0],
            "SlurmdPort": ports[1],
            "SlurmctldPidFile": run / "slurmctld.pid",
            "SlurmdPidFile": run / "slurmd.pid",
            "StateSaveLocation": self.folder / "spool/controller",
            "SlurmdSpoolDir": self.folder / "spool/node",
            "SlurmctldLogFile": self.folder / "log/slurmctld.log",
            "SlurmdLogFile": self.folder / "log/slurmd.log",
            "MailProg": "/bin/true",
            "MpiDefault": "none",
            "ProctrackType": f"proctrack/{track[0]}",
            "TaskPlugin": f"task/{track[1]}",
            "ReturnToService": 2,
            "SlurmdParameters": "config_overrides",  # more cores and memory than there are
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "AccountingStorageType": "accounting_storage/none",
            "JobAcctGatherType": "jobacct_gather/none",
            "KillWait": 5,
            "OverTimeLimit": 1,  # minutes: where starting takes most of the shortest limit, a job is not ended for it
            "GresTypes": "gpu",
        }
        nodes = f"NodeAddr=127.0.0.1 CPUs={self.cpus} RealMemory={self.memory_mb} Gres=gpu:{self.gpus} State=UNKNOWN"
        lines = [f"{key}={value}" for key, value in settings.items()]
        lines += [f"NodeName={node} {nodes}", f"PartitionName=tests Nodes={node} Default=YES MaxTime=INFINITE State=UP"]
        return "\n".join(lines) + "\n"


def _node() -> str:
    return platform.node().split(".")[0]


def _free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


def _ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()


def _end(pid_file: Path) -> None:
    """Ask a daemon to end, and wait until it has."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        return
