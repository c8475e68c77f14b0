import os

import pytest
import torch

from specdm.errors import UserError
from specdm.weights import load_weights, save_weights

WEIGHTS = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}


@pytest.fixture
def folder(tmp_path):
    save_weights(tmp_path / "m", WEIGHTS, {"kind": "teacher", "id": "1"}, lambda f: (f / "history.csv").write_text("h"))
    return tmp_path / "m"


def test_weights_and_config_survive_the_disk(folder):
    weights, config = load_weights(folder, "teacher")
    assert all(torch.equal(weights[key], WEIGHTS[key]) for key in WEIGHTS)
    assert config == {"kind": "teacher", "id": "1"}
    assert {p.name for p in folder.iterdir()} == {"weights.safetensors", "config.json", "history.csv"}


def test_a_folder_is_complete_or_absent(tmp_path):
    def fail(folder):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_weights(tmp_path / "m", WEIGHTS, {"kind": "teacher"}, fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json"])
def test_an_incomplete_folder_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"is not a complete model folder, {name} missing: train it anew"):
        load_weights(folder, "teacher")


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json"])
def test_a_damaged_file_is_refused(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=f"is not a complete model folder, {name} is damaged"):
        load_weights(folder, "teacher")


def test_a_model_of_another_kind_is_refused(folder):
    with pytest.raises(UserError, match="holds a model of the kind teacher, not denoiser"):
        load_weights(folder, "denoiser")


def test_new_weights_replace_the_old_ones_and_leave_other_files(folder):
    (folder / "note.txt").write_text("mine")
    save_weights(folder, {"c": torch.zeros(1)}, {"kind": "teacher", "id": "2"}, lambda f: None)
    weights, config = load_weights(folder, "teacher")
    assert list(weights) == ["c"] and config["id"] == "2"
    assert (folder / "note.txt").read_text() == "mine"


def test_the_config_arrives_last_so_that_who_finds_it_finds_the_weights(tmp_path, monkeypatch):
    arrived, replace = [], os.replace

    def noted(source, target):
        arrived.append(target.name)
        replace(source, target)

    monkeypatch.setattr("os.replace", noted)
    save_weights(tmp_path / "m", WEIGHTS, {"kind": "teacher"}, lambda f: (f / "z.csv").write_text("z"))
    assert sorted(arrived) == ["config.json", "weights.safetensors", "z.csv"]
    assert arrived[-1] == "config.json"
