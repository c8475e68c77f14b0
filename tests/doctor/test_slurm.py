import os
import time

import pytest

from specdm.doctor.commands import Ran, run
from specdm.doctor.slurm import partitions, slurm, version

UP = Ran(0, "Slurmctld(primary) at head is UP\n")
SINFO = "cpu*|up|infinite|3|(null)\ngpu|up|2-00:00:00|4|gpu:a100:4(S:0-1)\ngpu|up|2-00:00:00|1|gpu:a100:4(S:0-1)\n"
CLUSTER = {
    "sbatch": Ran(0),
    "squeue": Ran(0),
    "sacct": Ran(0),
    "scontrol ping": UP,
    "sinfo --version": Ran(0, "slurm 24.05.3\n"),
    "sinfo --noheader": Ran(0, SINFO),
}


def test_without_slurm_that_is_all(programs):
    nowhere = programs({})
    section = slurm(nowhere.run, nowhere.find)
    assert section.lines == ("not found (needed only for --profile slurm)",)
    assert section.missing == section.worth_knowing == () and nowhere.asked == []
    assert version(nowhere.run, nowhere.find) is None


def test_a_cluster_is_described(programs):
    cluster = programs(CLUSTER)
    section = slurm(cluster.run, cluster.find)
    assert section.lines == (
        "slurm 24.05.3: sbatch, squeue, sacct, scontrol, sinfo found",
        "the controller answers",
        "partition cpu (default): no time limit, 3 nodes, no GPU",
        "partition gpu: at most 2-00:00:00, 5 nodes, 4 x a100",
        "accounting answers: slurm-status-command: sacct, as in the profile",
    )
    assert section.missing == section.worth_knowing == ()
    assert max(seconds for _, seconds in cluster.asked) <= 5


def test_a_client_without_its_configuration_does_not_know_its_version(programs):
    lost = programs(CLUSTER | {"sinfo --version": Ran(1, "", "sinfo: fatal: no configuration")})
    assert version(lost.run, lost.find) is None
    assert slurm(lost.run, lost.find).lines[0].startswith("version unknown: sbatch, ")


def test_a_cluster_without_accounting_wants_another_command(programs):
    cluster = programs(CLUSTER | {"sacct": Ran(1, "", "Slurm accounting storage is disabled\n")})
    section = slurm(cluster.run, cluster.find)
    assert section.lines[-1] == "accounting does not answer: slurm-status-command: squeue"
    (told,) = section.worth_knowing
    assert told.startswith(
        "SLURM's accounting does not answer (Slurm accounting storage is disabled): set slurm-status-command: squeue "
    )


@pytest.mark.parametrize(
    ("ping", "because"),
    [
        (Ran(1, "Slurmctld(primary) at head is DOWN\n"), "(Slurmctld(primary) at head is DOWN)"),
        (Ran(None), "(no answer in time)"),
        (Ran(1, "", "scontrol: error: lookup failed\nscontrol: fatal: no configuration\n"), "(scontrol: fatal: no "),
    ],
)
def test_a_controller_that_does_not_answer_is_told_and_no_more_is_asked(programs, ping, because):
    cluster = programs(CLUSTER | {"scontrol ping": ping})
    section = slurm(cluster.run, cluster.find)
    assert section.lines[1:] == ("the controller does not answer",)
    assert section.worth_knowing[0].startswith(f"SLURM's controller does not answer {because}")
    assert section.missing == ()
    assert not any(words.startswith(("sacct", "sinfo --noheader")) for words, _ in cluster.asked)


def test_of_two_controllers_one_is_enough(programs):
    ping = Ran(1, "Slurmctld(primary) at a is DOWN\nSlurmctld(backup) at b is UP\n")
    cluster = programs(CLUSTER | {"scontrol ping": ping})
    assert slurm(cluster.run, cluster.find).lines[1] == "the controller answers"


def test_programs_that_are_not_on_the_path_are_told(programs):
    some = programs({name: ran for name, ran in CLUSTER.items() if name not in ("sacct", "squeue")})
    section = slurm(some.run, some.find)
    assert section.lines[0] == "slurm 24.05.3: sbatch, scontrol, sinfo found"
    assert section.worth_knowing[0].startswith("squeue and sacct of SLURM are not on PATH: ")
    assert "accounting does not answer: slurm-status-command: squeue" in section.lines


@pytest.mark.parametrize(
    ("resources", "told"),
    [
        ("(null)", "no GPU"),
        ("gpu:2", "2 x GPU"),
        ("gpu:a100:4(S:0,1),tmp:9,gpu:v100:2(S:1)", "4 x a100 or 2 x v100"),
        ("mygpu:7,license:gpu:3", "no GPU"),
        ("tmp:1,gpu:h100:8", "8 x h100"),
    ],
)
def test_gpus_of_a_node_are_read_out_of_its_resources(resources, told):
    assert partitions(Ran(0, f"p|up|1:00:00|1|{resources}\n")) == [f"partition p: at most 1:00:00, 1 node, {told}"]


def test_different_nodes_of_a_partition_are_one_line_and_a_closed_one_is_told():
    listed = Ran(0, "a|up|1:00:00|2|gpu:v100:2\na|up|1:00:00|5|gpu:a100:4\nb|down|1:00:00|1|(null)\n")
    assert partitions(listed) == [
        "partition a: at most 1:00:00, 7 nodes, 2 x v100 or 4 x a100",
        "partition b, down: at most 1:00:00, 1 node, no GPU",
    ]
    assert partitions(Ran(None)) == partitions(None) == ["partitions unknown: sinfo does not answer"]


def _program(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_programs_on_the_path_are_asked_and_a_silent_one_holds_nothing_up(tmp_path, monkeypatch):
    import shutil

    from specdm.doctor import slurm as module

    monkeypatch.setattr(module, "SECONDS", 1.0)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    for name in ("sbatch", "squeue"):
        _program(tmp_path, name, "exit 0")
    _program(tmp_path, "scontrol", "[ $1 = ping ] && echo 'Slurmctld(primary) at vm is UP'")
    _program(
        tmp_path,
        "sinfo",
        "[ $1 = --version ] && { echo slurm 25.11.0; exit; }\n"
        "[ \"$*\" = '--noheader --format=%P|%a|%l|%D|%G' ] && echo 'gpu*|up|infinite|1|gpu:1'",
    )
    _program(tmp_path, "sacct", "exec sleep 60")
    started = time.monotonic()
    section = slurm(run, shutil.which)
    assert time.monotonic() - started < 20
    assert section.lines == (
        "slurm 25.11.0: sbatch, squeue, sacct, scontrol, sinfo found",
        "the controller answers",
        "partition gpu (default): no time limit, 1 node, 1 x GPU",
        "accounting does not answer: slurm-status-command: squeue",
    )
    assert "(no answer in time)" in section.worth_knowing[0]
