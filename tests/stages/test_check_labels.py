import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from specdm.patches import PatchWriter, open_patches
from specdm.stages.tabulate import rows_table

FEW = {"n_levels": 2, "n_noises": 1, "n_pictures": 3, "batch": 7, "n_bootstrap": 50, "n_samples": 8}


@pytest.fixture(scope="module")
def asked(tmp_path_factory, verb, settings, change_chain):
    """A generator whose streams have noise levels of their own, its patches and samples."""
    model = tmp_path_factory.mktemp("asked")
    shutil.copytree(change_chain.autoencoder, model / "autoencoder")
    streams = settings.diffusion | {"levels": "streams", "conditioning": True, "steps": 2}
    out, state = model / "denoiser", model / "state"
    assert verb("train-diffusion", latents=change_chain.latents, out=out, state=state, settings=streams) == 0
    return SimpleNamespace(model=model, patches=change_chain.patches, samples=change_chain.samples)


def test_labels_are_listed_by_suspicion_with_their_maps(tmp_path, verb, asked):
    out = tmp_path / "labels"
    assert verb("check-labels", model=asked.model, patches=asked.patches, out=out, split="all", settings=FEW) == 0
    told, table = json.loads((out / "labels.json").read_text()), pd.read_csv(out / "labels.csv")
    maps, patches = np.load(out / "information.npy"), open_patches(asked.patches)
    px = told["cell_px"]
    assert maps.shape == (40, 32 // px, 32 // px) and maps.dtype == np.float32 and np.isfinite(maps).all()
    assert told["positions"] == list(range(40)) and told["unit"] == "bits per cell"
    assert sorted(table["id"]) == sorted(patches.index["id"])
    assert (np.diff(table["suspicion"]) <= 0).all()
    place = dict(zip(patches.index["id"], range(40), strict=True))
    for row in table.itertuples():
        bits = maps[place[row.id]]
        judged = (patches.masks[place[row.id]] != 255).reshape(32 // px, px, -1, px).mean((1, 3)) >= 0.5
        assert row.bits == pytest.approx(bits[judged].sum(), rel=1e-3, abs=1e-2)
        y, x = int(row.y_px) // px, int(row.x_px) // px
        window = np.s_[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        assert row.suspicion == pytest.approx(-bits[window][judged[window]].mean(), rel=1e-3, abs=1e-3)
        assert judged[y, x]
    assert set(table["class"]) <= set(patches.meta.labels.names)
    with Image.open(out / "suspicious.png") as picture:
        assert picture.width > 500 and len(np.unique(np.asarray(picture))) > 50


def test_a_split_alone_and_a_second_run_are_the_same(tmp_path, verb, asked):
    maps = []
    for name, split, batch in (("all", "all", 7), ("val", "val", 3)):
        options = dict(model=asked.model, patches=asked.patches, out=tmp_path / name, split=split)
        assert verb("check-labels", **options, settings=FEW | {"batch": batch}) == 0
        maps.append(np.load(tmp_path / name / "information.npy"))
    held_out = open_patches(asked.patches).ids("val")
    np.testing.assert_allclose(maps[1], maps[0][held_out], rtol=1e-3, atol=1e-3)


def test_a_patch_without_labels_comes_last_and_has_no_suspicion(tmp_path, verb, asked):
    patches = open_patches(asked.patches)
    masks = patches.masks[:4].copy()
    masks[2] = 255
    with PatchWriter(tmp_path / "some", patches.meta, patches.images.shape[1:], patches.images.dtype) as writer:
        writer.append(patches.images[:4], masks, patches.records(range(4)))
    out = tmp_path / "labels"
    assert verb("check-labels", model=asked.model, patches=tmp_path / "some", out=out, settings=FEW) == 0
    table = pd.read_csv(out / "labels.csv")
    assert table["id"].iloc[-1] == patches.index["id"].iloc[2]
    assert table[["bits", "suspicion", "class", "y_px"]].isna().sum(axis=1).tolist() == [0, 0, 0, 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(model="shared"), "one noise level for image and mask"),
        (dict(patches="fields"), "differ from the model's"),
        (dict(split="none"), "there is no 'none'"),
        (dict(settings={"smooth_cells": 4}), "smooth_cells 4 has no middle"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(
    tmp_path, verb, asked, change_chain, segmentation_patches, change, message
):
    places = {"shared": change_chain.model, "fields": segmentation_patches}
    changed = {key: places.get(value, value) if isinstance(value, str) else value for key, value in change.items()}
    options = dict(model=asked.model, patches=asked.patches, out=tmp_path / "labels", settings=FEW) | changed
    assert message in verb("check-labels", **options)
    assert not (tmp_path / "labels").exists()


def test_information_is_a_row_of_alignment_between_exchanged_and_held_out_pairs(tmp_path, verb, asked):
    out, picture, table = tmp_path / "information.json", tmp_path / "information.png", tmp_path / "alignment.csv"
    options = dict(patches=asked.patches, samples=asked.samples, model=asked.model, out=out, picture=picture)
    assert verb("check-information", **options, dataset="d", method="m", settings=FEW) == 0
    found = json.loads(out.read_text())
    (row,) = found["rows"]
    assert (row["scorer"], found["n"], found["n_real"], row["curve"]) == ("information", 8, 8, {})
    assert "by the generator itself" in row["title"] and row["classes_lost"] >= 0
    for key in ("synthetic", "real", "exchanged", "seen"):
        assert np.isfinite(row[key])
    assert row["synthetic_low"] <= row["synthetic"] <= row["synthetic_high"]
    with Image.open(picture) as drawn:
        assert drawn.height > 500
    rows_table([out], table)
    assert pd.read_csv(table)["scorer"].tolist() == ["information"]


def test_the_real_bound_of_information_is_that_of_the_maps(tmp_path, verb, asked):
    """What check-information says of held-out pairs is the mean that check-labels finds cell by cell."""
    settings = FEW | {"of": "date2", "alignment_of": "date2"}
    options = dict(model=asked.model, patches=asked.patches, settings=settings)
    out, labels = tmp_path / "information.json", tmp_path / "labels"
    told = dict(dataset="d", method="m", samples=asked.samples, picture=tmp_path / "information.png", out=out)
    assert verb("check-information", **options, **told) == 0
    assert verb("check-labels", **options, out=labels, split="val") == 0
    masks = open_patches(asked.patches).masks[open_patches(asked.patches).ids("val")]
    bits, px = np.load(labels / "information.npy"), json.loads((labels / "labels.json").read_text())["cell_px"]
    judged = (masks != 255).reshape(8, 32 // px, px, -1, px).mean((2, 4)) >= 0.5
    (row,) = json.loads(out.read_text())["rows"]
    assert row["real"] == pytest.approx(bits[judged].mean(), rel=1e-3, abs=1e-3)
