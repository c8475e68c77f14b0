"""A generator that sees only the labelled patches which the downstream networks get."""

import json

import pytest

from specdm.stages.batches import Mixture
from specdm.stages.encode import open_latents

N = 12


@pytest.fixture
def seen(monkeypatch) -> list[str]:
    """Ids of the patches that are loaded in a training view, that is, trained on."""
    ids, original = [], Mixture.batch

    def noting(self, rows, normaliser, views=None):
        if views is not None:
            ids.extend(self.ids()[row] for row in rows)
        return original(self, rows, normaliser, views)

    monkeypatch.setattr(Mixture, "batch", noting)
    return ids


@pytest.fixture
def train(tmp_path, verb, settings, change_patches):
    """Trains an autoencoder for one epoch of twelve patches; returns its folder."""

    def run(name, **options):
        once = settings.autoencoder | {"steps": 3, "batch": 4, "validations": 1}
        folders = dict(patches=change_patches, out=tmp_path / name, state=tmp_path / "state")
        assert verb("train-autoencoder", **folders, settings=once, **options) == 0
        return tmp_path / name

    return run


def _config(folder):
    return json.loads((folder / "config.json").read_text())


def test_the_generator_sees_exactly_the_patches_of_the_downstream_networks(
    tmp_path, train, seen, verb, change_patches, trained_downstream
):
    labelled = json.loads((trained_downstream["change"] / "ids.json").read_text())
    assert len(labelled) == N
    autoencoder = train("autoencoder", n_real=N)
    assert sorted(seen) == sorted(labelled)
    assert _config(autoencoder)["subset"] == [N, 0]
    options = dict(patches=change_patches, autoencoder=autoencoder, augment="none")
    assert verb("encode", **options, out=tmp_path / "latents") == 0
    latents = open_latents(tmp_path / "latents")
    assert (latents.meta["n_train"], latents.meta["n_val"]) == (N, 8)
    assert latents.ids[:N] == labelled
    assert latents.mean.shape[0] == len(latents.fractions) == N + 8
    assert not set(latents.ids[N:]) & set(labelled)


def test_another_seed_chooses_other_patches(train, seen):
    first, second = train("first", n_real=N, subset_seed=0), train("second", n_real=N, subset_seed=1)
    assert set(seen[:N]) != set(seen[N:])
    assert _config(first)["id"] != _config(second)["id"]
    assert _config(second)["subset"] == [N, 1]


def test_without_a_subset_the_generator_sees_other_patches_as_well(train, seen):
    assert _config(train("all"))["subset"] is None
    train("half", n_real=N)
    assert set(seen[:N]) - set(seen[N:])


def test_more_patches_than_there_are_cannot_be_asked_for(tmp_path, verb, change_patches):
    options = dict(patches=change_patches, out=tmp_path / "out", state=tmp_path / "state", n_real=25)
    refusal = verb("train-autoencoder", **options)
    assert "n_real asks for 25 training patches, the split holds 24: lower n_real." in refusal
