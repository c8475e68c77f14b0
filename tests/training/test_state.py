import os
import signal

import pytest
import torch

from specdm.errors import Paused, UserError
from specdm.training import state as states
from tests.training.tiny import FINGERPRINT, losses, run_script, same, stops_at, train


def _step_of(path) -> int:
    return torch.load(path, weights_only=True)["step"]


@pytest.fixture
def paused_twice(tmp_path):
    """A state folder whose training was paused at step 5 and at step 12 of 20."""
    for step in (5, 12):
        with pytest.raises(Paused):
            train(tmp_path / "state", losses=stops_at(step - 1), ema_decay=0.9)
    return tmp_path / "state"


def _steps_then(state):
    """Resume; the steps that were taken, and what came of it."""
    steps = []

    def noted(model, data, device):
        steps.append(data[0])
        return losses(model, data, device)

    trained = train(state, losses=noted, ema_decay=0.9)
    return steps, trained


def _halve(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def test_the_last_two_states_are_kept(paused_twice):
    assert (_step_of(paused_twice / "last.pt"), _step_of(paused_twice / "previous.pt")) == (12, 5)
    assert {path.name for path in paused_twice.iterdir()} == {"last.pt", "previous.pt", "history.csv"}


@pytest.mark.parametrize("damage", [_halve, lambda path: path.write_bytes(b"")], ids=["halved", "emptied"])
def test_a_damaged_last_state_costs_one_interval_and_changes_no_bit(tmp_path, paused_twice, capsys, damage):
    damage(paused_twice / "last.pt")
    steps, trained = _steps_then(paused_twice)
    assert steps == list(range(5, 20))
    assert "last.pt cannot be read" in capsys.readouterr().err
    assert same(trained.weights, train(tmp_path / "fresh", ema_decay=0.9).weights)


def test_a_sound_last_state_is_used_whatever_the_previous_one_is(paused_twice):
    _halve(paused_twice / "previous.pt")
    assert _steps_then(paused_twice)[0] == list(range(12, 20))


def test_a_damaged_state_never_takes_the_place_of_a_sound_one(paused_twice):
    _halve(paused_twice / "last.pt")
    with pytest.raises(Paused):
        train(paused_twice, losses=stops_at(8), ema_decay=0.9)
    assert (_step_of(paused_twice / "last.pt"), _step_of(paused_twice / "previous.pt")) == (9, 5)


def test_two_damaged_states_are_told(paused_twice):
    for name in ("last.pt", "previous.pt"):
        _halve(paused_twice / name)
    with pytest.raises(UserError, match=r"last\.pt is damaged: remove the folder .*state to train anew"):
        train(paused_twice, ema_decay=0.9)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip"])
def test_a_damaged_only_state_is_told(tmp_path, content):
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"last\.pt is damaged: remove the folder .* to train anew"):
        train(tmp_path)


def test_a_kill_between_the_two_renames_loses_one_interval(tmp_path, monkeypatch):
    with pytest.raises(Paused):
        train(tmp_path / "state", losses=stops_at(4), ema_decay=0.9)
    replace, kill_at = os.replace, tmp_path / "state" / "last.pt"

    def killed(source, target):
        if target == kill_at:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        train(tmp_path / "state", losses=stops_at(11), ema_decay=0.9)
    assert {path.name for path in (tmp_path / "state").iterdir()} == {"previous.pt", "history.csv"}
    steps, trained = _steps_then(tmp_path / "state")
    assert steps == list(range(5, 20))
    assert same(trained.weights, train(tmp_path / "fresh", ema_decay=0.9).weights)


def test_a_kill_while_writing_leaves_both_states_as_they_were(paused_twice, monkeypatch):
    before = {path.name: path.read_bytes() for path in paused_twice.glob("*.pt")}

    def killed(content, path):
        path.write_bytes(b"half of a state")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch, "save", killed)
        train(paused_twice, losses=stops_at(15), ema_decay=0.9)
    assert {path.name: path.read_bytes() for path in paused_twice.glob("*.pt")} == before


@pytest.mark.parametrize(
    ("other", "key"),
    [
        ({"settings": {"lr": 0.1}, "data": "abc"}, "settings.lr"),
        ({"settings": {"lr": 0.05}, "data": "xyz"}, "data"),
        ({"settings": 3, "data": "abc"}, "settings"),
        (FINGERPRINT | {"stage_version": 2}, "stage_version"),
        (FINGERPRINT | {"init_from": None}, "init_from"),
        ({"settings": {"lr": 0.05}}, "data"),
    ],
)
def test_a_state_of_another_run_is_set_aside_and_named(tmp_path, capsys, other, key):
    with pytest.raises(Paused):
        train(tmp_path / "state", losses=stops_at(9))
    with pytest.raises(UserError, match=f"another run, {key} differs: train without --resume-only"):
        train(tmp_path / "state", fingerprint=other, resume_only=True)
    assert _step_of(tmp_path / "state" / "last.pt") == 10
    anew = train(tmp_path / "state", fingerprint=other)
    assert same(anew.weights, train(tmp_path / "fresh").weights)
    assert f"set aside as stale-state-1: {key} differs" in capsys.readouterr().err
    assert _step_of(tmp_path / "stale-state-1" / "last.pt") == 10


def test_the_differing_key_is_found_at_any_depth(tmp_path):
    def fingerprint(width):
        return {"data": "abc", "settings": {"lr": 0.1, "unet": {"layers": 2, "width": width}, "steps": 9}}

    states.save(tmp_path / "state", {"fingerprint": fingerprint(64)})
    with pytest.raises(UserError, match=r" settings\.unet\.width differs"):
        states.load(tmp_path / "state", fingerprint(128), resume_only=True)


def test_only_who_may_set_a_state_aside_moves_it(tmp_path):
    states.save(tmp_path / "state", {"fingerprint": FINGERPRINT})
    assert states.load(tmp_path / "state", {}, resume_only=False, sets_aside=False) is None
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_stale_states_never_overwrite_each_other(tmp_path):
    for data in ("a", "b", "c"):
        with pytest.raises(Paused):
            train(tmp_path / "state", losses=stops_at(2), fingerprint={"data": data})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["stale-state-1", "stale-state-2", "state"]
    kept = [torch.load(tmp_path / f"stale-state-{i}" / "last.pt", weights_only=True) for i in (1, 2)]
    assert [state["fingerprint"]["data"] for state in kept] == ["a", "b"]


def test_resume_only_accepts_the_same_run_and_a_first_one(tmp_path):
    with pytest.raises(Paused):
        train(tmp_path / "state", losses=stops_at(9), resume_only=True)
    assert same(train(tmp_path / "state", resume_only=True).weights, train(tmp_path / "fresh").weights)


def test_a_killed_process_goes_on_from_its_last_saved_state(tmp_path):
    """SIGKILL leaves no time to save: the state of save_every_s is what the same command finds."""
    script = f"""
import os, signal
from pathlib import Path
from tests.training import tiny

def losses(model, data, device):
    if data[0] == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return tiny.losses(model, data, device)

tiny.train(Path({str(tmp_path / "state")!r}), losses=losses, ema_decay=0.9, save_every_s=0.0)
"""
    status, said = run_script(tmp_path / "script.py", script)
    assert status == -signal.SIGKILL, said
    assert 1 <= _step_of(tmp_path / "state" / "last.pt") <= 7
    resumed = train(tmp_path / "state", ema_decay=0.9)
    assert same(resumed.weights, train(tmp_path / "fresh", ema_decay=0.9).weights)
