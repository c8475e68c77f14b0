"""Two processes that torchrun starts train as one would: one script runs all trainings, the tests look at them."""

import shutil
from types import SimpleNamespace

import pytest
import torch

from specdm.errors import UserError
from specdm.training import Part, devices
from tests.training.tiny import alike, of_a_method, plain, run_script, same, train, two_terms, with_dropout

SCRIPT = """
import os, signal, sys, time
from pathlib import Path

import torch

from specdm.errors import Paused, UserError
from specdm.training import state as states
from tests.training import tiny

FOLDER, RANK = Path(sys.argv[0]).parent, int(os.environ["RANK"])
told = {}

def run(name, state=None, **options):
    validated = []
    def validate(model, device, step):
        validated.append(step)
        return {"score": -float(model.layers[0].weight.abs().sum())}
    options = dict(steps=8, network=tiny.plain, losses=tiny.two_terms, validate=validate, val_every=4) | options
    try:
        trained = tiny.train(FOLDER / (state or name), **options)
        told[name] = dict(trained.__dict__, validated=validated)
    except (Paused, UserError) as error:
        saved = (FOLDER / (state or name) / "last.pt").exists()
        told[name] = {"error": type(error).__name__, "text": str(error), "saved": saved}

class Exchange:
    \"\"\"Losses that note whether the gradients so far are the same in both processes.\"\"\"
    def __init__(self):
        self.alike = []
    def __call__(self, model, data, device):
        held = [p.grad for p in model.parameters() if p.grad is not None]
        if held:
            mine = held[0].double().norm()
            both = [torch.zeros_like(mine) for _ in range(2)]
            torch.distributed.all_gather(both, mine)
            self.alike.append(bool(both[0] == both[1]))
        return tiny.losses(model, data, device)

def broken(model, data, device):
    return {"total": tiny.losses(model, data, device)["total"] * (torch.nan if RANK == 1 and data[0] == 3 else 1)}

asked = []
def data_at(part):
    asked.append(tuple(part))
    return tiny.data_at(part)

def save_slowly(*args):
    time.sleep(0.5)
    save(*args)

run("whole", f"whole-{RANK}", ema_decay=0.9)
run("last", ema_decay=None)
run("dropout", network=tiny.with_dropout, accumulate=2, ema_decay=0.9, data_at=data_at)
told["asked"] = asked
run("method", losses=tiny.of_a_method, forward_methods=("negated",))
run("budget", ema_decay=0.9, ends=0)
told["files"] = sorted(path.name for path in (FOLDER / "budget").iterdir())
run("resumed", "budget", ema_decay=0.9)
save, states.save = states.save, save_slowly
run("left", ema_decay=0.9, ends=0)
states.save = save
run("sigterm", losses=tiny.stops_at(2, tiny.two_terms) if RANK == 1 else tiny.two_terms, ema_decay=0.9)
run("patience", steps=20, val_every=2, patience=2, keep="best", factor=lambda step: 0.001 if step < 6 else 1)
run("uneven", batch=15)
exchange = Exchange()
run("exchange", losses=exchange, accumulate=2, steps=2)
told["exchanged"] = exchange.alike
run("broken", losses=broken, ids=lambda part: part.take([f"patch{i}" for i in range(16)]))
torch.save(told, FOLDER / f"told-{RANK}.pt")
"""


def _alone(folder, **options):
    def validate(model, device, step):
        return {"score": -float(model.layers[0].weight.abs().sum())}

    options = dict(steps=8, network=plain, losses=two_terms, validate=validate, val_every=4) | options
    return train(folder, **options)


def _close(a: list[dict], b: list[dict]) -> bool:
    return a == [pytest.approx(row, rel=1e-5) for row in b]


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> SimpleNamespace:
    """What the two processes told of their trainings, first and second, and where their states lie."""
    folder = tmp_path_factory.mktemp("together")
    status, said = run_script(folder / "script.py", SCRIPT, processes=2)
    assert status == 0, said
    first, second = (torch.load(folder / f"told-{rank}.pt", weights_only=True) for rank in range(2))
    return SimpleNamespace(folder=folder, said=said, first=first, second=second)


@pytest.mark.parametrize(("name", "ema_decay"), [("last", None), ("whole", 0.9)])
def test_two_processes_train_as_one(tmp_path, together, name, ema_decay):
    alone = _alone(tmp_path, ema_decay=ema_decay)
    for told in (together.first[name], together.second[name]):
        assert alike(told["weights"], alone.weights)
        assert _close(told["history"], alone.history)
        assert told["steps"] == 8
    assert same(together.first[name]["weights"], together.second[name]["weights"])


def test_two_processes_that_accumulate_drop_out_as_one_that_takes_all_parts(tmp_path, together):
    alone = _alone(tmp_path, network=with_dropout, accumulate=4, ema_decay=0.9)
    assert alike(together.first["dropout"]["weights"], alone.weights)
    assert _close(together.first["dropout"]["history"], alone.history)


def test_each_process_makes_its_own_parts_of_each_batch(together):
    assert together.first["asked"] == [Part(step, index, 4) for step in range(8) for index in (0, 1)]
    assert together.second["asked"] == [Part(step, index, 4) for step in range(8) for index in (2, 3)]


def test_methods_besides_forward_exchange_gradients_too(tmp_path, together):
    alone = _alone(tmp_path, losses=of_a_method, forward_methods=("negated",))
    assert alike(together.first["method"]["weights"], alone.weights)
    assert same(together.first["method"]["weights"], together.second["method"]["weights"])


def test_only_the_first_process_validates_and_writes(together):
    assert (together.first["whole"]["writes"], together.second["whole"]["writes"]) == (True, False)
    assert (together.first["whole"]["validated"], together.second["whole"]["validated"]) == ([4, 8], [])
    assert (together.folder / "whole-0" / "history.csv").exists()
    assert not (together.folder / "whole-1").exists()
    assert together.first["files"] == ["history.csv", "last.pt"]


def test_only_the_first_process_speaks_of_the_progress(together):
    assert together.said.count("training: resuming at step 1 of 8") == 1


def test_two_processes_pause_together_and_go_on_as_if_they_had_not(together):
    for told in (together.first, together.second):
        assert told["budget"]["text"] == "training is saved at step 1 of 8: the same command goes on."
        assert same(told["resumed"]["weights"], together.first["whole"]["weights"])
        assert told["resumed"]["history"] == together.first["whole"]["history"]


def test_no_process_leaves_before_the_state_is_saved(together):
    """torchrun ends the others when one has left, also one that is still writing."""
    assert together.first["left"]["saved"]
    assert together.second["left"]["saved"]


def test_one_process_goes_on_from_what_two_saved(tmp_path, together):
    shutil.copytree(together.folder / "left", tmp_path / "left")
    trained = _alone(tmp_path / "left", ema_decay=0.9)
    assert alike(trained.weights, together.first["whole"]["weights"])
    assert _close(trained.history, together.first["whole"]["history"])


def test_sigterm_in_one_process_pauses_both_at_the_same_step(together):
    texts = [told["sigterm"]["text"] for told in (together.first, together.second)]
    assert texts == ["training is saved at step 3 of 8: the same command goes on."] * 2


def test_two_processes_lose_patience_together(tmp_path, together):
    first, second = together.first["patience"], together.second["patience"]
    assert first["steps"] == second["steps"] < 20
    assert same(first["weights"], second["weights"])
    assert second["validated"] == []


def test_a_batch_that_two_processes_cannot_share_is_told(together):
    for told in (together.first, together.second):
        assert "a batch of 15 does not divide into 2 parts (2 process(es), accumulate 1)" in told["uneven"]["text"]


def test_gradients_are_exchanged_with_the_last_part_of_a_step_only(together):
    """The second part sees what the first left, once a step: the process's own until they are exchanged."""
    assert together.first["exchanged"] == [False, False]


def test_a_broken_loss_in_one_process_ends_both_and_is_named_there(together):
    assert together.first["broken"]["error"] == together.second["broken"]["error"] == "TrainingLost"
    text = together.second["broken"]["text"]
    assert "total is not finite at step 3" in text
    assert "patch8, patch9" in text
    assert "patch7" not in text


RACE = """
import os, sys, time
from pathlib import Path

import torch

from specdm.errors import Paused
from specdm.training import state as states
from tests.training import tiny

def slowly(path):
    time.sleep(0.5 + RANK)
    return read(path)

RANK = int(os.environ["RANK"])
STATE = Path(sys.argv[0]).parent / "state"
try:
    tiny.train(STATE, fingerprint={"data": "old"}, network=tiny.plain, ends=0)
except Paused:
    torch.distributed.barrier()
read, states._read = states._read, slowly
tiny.train(STATE, fingerprint={"data": "new"}, network=tiny.plain, steps=4)
"""


def test_a_state_of_another_run_is_set_aside_when_all_have_read_it(tmp_path):
    status, said = run_script(tmp_path / "script.py", RACE, processes=2)
    assert status == 0, said
    assert "cannot be read" not in said
    assert "state set aside as stale-state-1: data differs" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["script.py", "stale-state-1", "state"]


@pytest.fixture
def started(monkeypatch):
    """How many processes are found with these variables and no others that a launcher sets."""

    def find(**variables):
        for name in list(devices.os.environ):
            if name.startswith(("SLURM", "TORCHELASTIC", "WORLD", "LOCAL_WORLD", "GROUP")):
                monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        return devices.started_together()

    return find


def _torchrun(total, here, nodes):
    return dict(TORCHELASTIC_RUN_ID="x", WORLD_SIZE=total, LOCAL_WORLD_SIZE=here, GROUP_WORLD_SIZE=nodes)


def test_a_lone_process_is_one(started):
    assert started() == (1, 1)
    assert started(SLURM_NTASKS=4, SLURM_JOB_ID=7) == (1, 1)  # in a batch script, not started by srun
    assert started(SLURM_STEP_NUM_TASKS=1, SLURM_STEP_NUM_NODES=1) == (1, 1)


@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize("here", [1, 2, 4])
def test_those_that_a_launcher_started_are_counted(started, here, nodes):
    assert started(**_torchrun(here * nodes, here, nodes)) == (here, nodes)
    assert started(SLURM_STEP_NUM_TASKS=here * nodes, SLURM_STEP_NUM_NODES=nodes) == (here, nodes)


def test_torchrun_within_a_slurm_job_counts_its_own(started):
    assert started(**_torchrun(4, 4, 1), SLURM_STEP_NUM_TASKS=2, SLURM_STEP_NUM_NODES=2) == (4, 1)


@pytest.mark.parametrize(
    "variables",
    [
        _torchrun(3, 2, 2),
        _torchrun(3, 1, 2),
        dict(SLURM_STEP_NUM_TASKS=5, SLURM_STEP_NUM_NODES=2),
        dict(SLURM_STEP_NUM_TASKS=3, SLURM_STEP_NUM_NODES=2),
    ],
)
def test_unequal_nodes_are_told(started, variables):
    with pytest.raises(UserError, match=r"training: \d processes do not spread evenly over"):
        started(**variables)
