import json
import shutil

import numpy as np
import pytest

from specdm.model import SpecDM
from specdm.patches import open_patches
from specdm.settings import SamplingSettings
from specdm.stages.sample import sample

N = 14


def test_the_model_object_draws_the_samples_that_the_stage_wrote(chain):
    written = open_patches(chain.samples)
    drawn = SpecDM.from_pretrained(chain.model, "cpu").sample(3, seed=0, n_steps=4, batch=3)
    np.testing.assert_allclose(drawn.images, written.reflectance([0, 1, 2]), atol=0.501 * written.meta.scale)
    np.testing.assert_array_equal(drawn.masks, written.masks[:3])
    assert drawn.meta.bands == written.meta.bands


@pytest.mark.parametrize("sampler", ["dpm++", "ddim", "ddpm"])
def test_a_sample_does_not_depend_on_its_batch(segmentation_chain, sampler):
    model = SpecDM.from_pretrained(segmentation_chain.model, "cpu")
    one, three = (model.sample(3, seed=7, sampler=sampler, n_steps=4, batch=batch) for batch in (1, 3))
    assert np.abs(one.images - three.images).max() <= one.meta.scale
    assert (one.masks == three.masks).mean() >= 0.999


def test_samples_differ_between_indices_and_between_seeds(segmentation_chain):
    model = SpecDM.from_pretrained(segmentation_chain.model, "cpu")
    zero, one = (model.sample(2, seed=seed, n_steps=4).images for seed in (0, 1))
    assert np.abs(zero[0] - zero[1]).max() > 1e-4
    assert np.abs(zero[0] - one[0]).max() > 1e-4


def test_synthetic_patches_look_like_the_data_on_disk_but_have_no_place(chain):
    real, synthetic = open_patches(chain.patches), open_patches(chain.samples)
    assert len(synthetic) == N
    assert synthetic.images.dtype == real.images.dtype
    assert synthetic.images.shape[1:] == real.images.shape[1:]
    for key in ("bands", "level", "scale", "offset", "nodata", "labels", "sensor"):
        assert getattr(synthetic.meta, key) == getattr(real.meta, key)
    assert synthetic.meta.synthetic
    assert set(synthetic.index["split"]) == {"train"}
    assert set(synthetic.index["crs"]) == {""}
    assert synthetic.index["synthetic"].all()
    assert synthetic.index["group"].nunique() == N
    assert synthetic.masks[:].max() < len(real.meta.labels)


def test_provenance_names_both_models_and_the_seed(chain):
    provenance = open_patches(chain.samples).meta.provenance
    parts = ("autoencoder", "denoiser")
    ids = {part: json.loads((chain.model / part / "config.json").read_text())["id"] for part in parts}
    assert provenance["models"] == ids
    assert provenance["seed"] == 0


def test_an_interrupted_run_goes_on_from_the_kept_batches(tmp_path, monkeypatch, segmentation_chain):
    drawn, original = [], SpecDM.draw

    def counted(self, indices, *rest):
        if len(drawn) == 2:
            drawn.append("cut")
            raise KeyboardInterrupt
        drawn.append(tuple(indices))
        return original(self, indices, *rest)

    monkeypatch.setattr(SpecDM, "draw", counted)
    settings = SamplingSettings(n_steps=4, batch=3)
    arguments = (segmentation_chain.model, tmp_path / "out", tmp_path / "state", N, settings, 0, "synthetic")
    with pytest.raises(KeyboardInterrupt):
        sample(*arguments)
    assert not (tmp_path / "out").exists()
    sample(*arguments)
    assert drawn == [(0, 1, 2), (3, 4, 5), "cut", (6, 7, 8), (9, 10, 11), (12, 13)]
    again, first = open_patches(tmp_path / "out"), open_patches(segmentation_chain.samples)
    assert again.meta.checksums == first.meta.checksums
    assert not (tmp_path / "state").exists()


def test_batches_kept_for_another_seed_are_not_used(tmp_path, monkeypatch, segmentation_chain):
    settings = SamplingSettings(n_steps=2, batch=2)
    for seed in (0, 1):
        monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)  # the state of the first run stays
        sample(segmentation_chain.model, tmp_path / f"out{seed}", tmp_path / "state", 2, settings, seed, "s")
    zero, one = (open_patches(tmp_path / f"out{seed}") for seed in (0, 1))
    assert zero.meta.checksums["images"] != one.meta.checksums["images"]


def test_a_denoiser_of_another_autoencoder_is_refused(tmp_path, verb, segmentation_chain, single_chain):
    shutil.copytree(single_chain.autoencoder, tmp_path / "autoencoder")
    shutil.copytree(segmentation_chain.denoiser, tmp_path / "denoiser")
    status = verb("sample", model=tmp_path, out=tmp_path / "out", state=tmp_path / "state", n=2)
    assert status == f"error: {tmp_path}: the denoiser belongs to another autoencoder: train the denoiser anew."
    assert not (tmp_path / "out").exists()
