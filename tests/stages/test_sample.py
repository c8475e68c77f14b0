import json
import shutil

import numpy as np
import pytest
import torch

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


def test_the_fractions_asked_for_stand_beside_the_samples(conditioned_chain):
    asked = np.load(conditioned_chain.samples / "asked.npy")
    known = np.load(conditioned_chain.denoiser / "fractions.npy")
    assert asked.shape == (N, 2) and asked.dtype == np.float32
    assert {tuple(row) for row in asked} <= {tuple(row) for row in known}
    drawn = SpecDM.from_pretrained(conditioned_chain.model, "cpu").sample(N, seed=0, n_steps=1)
    np.testing.assert_array_equal(asked, drawn.asked)


def test_a_model_without_conditioning_is_asked_for_nothing(chain, capsys, tmp_path, verb, settings):
    asked = np.load(chain.samples / "asked.npy")
    assert asked.shape == (N, len(open_patches(chain.patches).meta.labels)) and np.isnan(asked).all()
    arguments = dict(model=chain.model, out=tmp_path / "out", state=tmp_path / "state", n=2, settings=settings.sampling)
    assert verb("sample", **arguments) == 0
    assert "asked" not in capsys.readouterr().out


def test_a_wish_is_drawn_and_its_report_tells_how_it_was_met(conditioned_chain, tmp_path, verb, settings, capsys):
    out = tmp_path / "out"
    arguments = dict(model=conditioned_chain.model, out=out, state=tmp_path / "state", n=3, settings=settings.sampling)
    assert verb("sample", **arguments, want="change=0.3", guidance=2) == 0
    asked, masks = np.load(out / "asked.npy"), open_patches(out).masks[:]
    np.testing.assert_allclose(asked, [[0.7, 0.3]] * 3)
    got = np.array([(mask == 1).mean() for mask in masks])
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(
        f"sample: 3 patches in {out}, class fractions asked for are met within {100 * np.abs(got - 0.3).mean():.1f} "
        f"points on average; change: asked 30.0 %, got {100 * got.mean():.1f} %, "
    )
    provenance = open_patches(out).meta.provenance["settings"]
    assert provenance["want"] == {"change": 0.3} and provenance["guidance"] == 2


def test_wishes_of_the_command_line_come_before_those_of_the_settings(conditioned_chain, tmp_path, verb, settings):
    arguments = dict(model=conditioned_chain.model, state=tmp_path / "state", n=2)
    wished = settings.sampling | {"want": {"change": 0.9}}
    for name, more in (("settings", {}), ("words", {"want": ["change=0.1"]})):
        assert verb("sample", **arguments, out=tmp_path / name, settings=wished, **more) == 0
    np.testing.assert_allclose(np.load(tmp_path / "settings" / "asked.npy")[:, 1], 0.9)
    np.testing.assert_allclose(np.load(tmp_path / "words" / "asked.npy")[:, 1], 0.1)


def test_guidance_shapes_what_is_drawn_and_none_asks_for_nothing(conditioned_chain, tmp_path, verb, settings):
    for guidance in (0, 3):
        folders = dict(model=conditioned_chain.model, out=tmp_path / f"{guidance}", state=tmp_path / "state")
        assert verb("sample", **folders, n=2, settings=settings.sampling, guidance=guidance) == 0
    assert np.isnan(np.load(tmp_path / "0" / "asked.npy")).all()
    once, often = (open_patches(folder).images[:2] for folder in (conditioned_chain.samples, tmp_path / "3"))
    assert np.abs(once.astype(int) - often.astype(int)).max() > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"want": "change"}, "--want: 'change' is no class=fraction: write for example --want water=0.3."),
        ({"want": "chnge=0.5"}, "want: there is no class 'chnge', choose among no change, change."),
        ({"shard": "3/2"}, "--shard: '3/2' is no share: write for example --shard 1/4 for the first of four."),
    ],
)
def test_a_malformed_order_is_refused_in_one_sentence(conditioned_chain, tmp_path, verb, options, message):
    arguments = dict(model=conditioned_chain.model, out=tmp_path / "out", state=tmp_path / "state", n=2)
    assert verb("sample", **arguments, **options) == f"error: {message}"
    assert not (tmp_path / "out").exists()


def test_a_wish_of_a_model_without_conditioning_is_refused(segmentation_chain, tmp_path, verb):
    arguments = dict(model=segmentation_chain.model, out=tmp_path / "out", state=tmp_path / "state", n=2)
    refusal = verb("sample", **arguments, want="forests=0.5")
    assert refusal.startswith("error: want: this model was trained without conditioning")


def test_a_denoiser_of_another_autoencoder_is_refused(tmp_path, verb, segmentation_chain, single_chain):
    shutil.copytree(single_chain.autoencoder, tmp_path / "autoencoder")
    shutil.copytree(segmentation_chain.denoiser, tmp_path / "denoiser")
    status = verb("sample", model=tmp_path, out=tmp_path / "out", state=tmp_path / "state", n=2)
    assert status == f"error: {tmp_path}: the denoiser belongs to another autoencoder: train the denoiser anew."
    assert not (tmp_path / "out").exists()


def test_too_little_memory_names_the_setting_to_lower(tmp_path, verb, monkeypatch, segmentation_chain):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(SpecDM, "draw", full)
    folders = dict(model=segmentation_chain.model, out=tmp_path / "out", state=tmp_path / "state", n=4)
    status = verb("sample", **folders, settings={"batch": 3})
    assert status == "error: drawing synthetic: 3 patches at once need too much memory: lower `batch`."
