"""Settings of generators that depend on each other, refused before the first job."""

from pathlib import Path

import pytest

from specdm import config
from specdm.errors import UserError
from specdm.settings import AutoencoderSettings, DiffusionSettings, MethodSettings, UNetSettings

PAPER = Path(__file__).parents[1] / "config" / "config.yaml"


def _load(tmp_path, text: str) -> config.Config:
    (tmp_path / "mine.yaml").write_text(text)
    return config.load([PAPER, tmp_path / "mine.yaml"])


def test_a_rate_for_one_patch_is_multiplied_by_the_batch():
    assert AutoencoderSettings(learning_rate=4.5e-6, lr_scale="batch", batch=24).base_lr == pytest.approx(1.08e-4)
    assert AutoencoderSettings(learning_rate=1e-4, batch=24).base_lr == 1e-4


def test_parts_of_a_batch_are_equal():
    with pytest.raises(UserError, match="accumulate 3 does not divide batch 64"):
        config.parse_section(DiffusionSettings, {"accumulate": 3})
    assert config.parse_section(DiffusionSettings, {"accumulate": 4}).accumulate == 4


def test_attention_stands_at_factors_or_below_a_size():
    by_size = UNetSettings(multipliers=(1, 2, 2, 4), attention_max_size=16)
    assert by_size.attention_levels(32) == (False, True, True, True)
    assert by_size.attention_levels(64) == (False, False, True, True)
    by_factor = UNetSettings(multipliers=(1, 2, 2, 4, 4), attention_factors=(1, 2, 4, 8))
    assert by_factor.attention_levels(32) == by_factor.attention_levels(64) == (True, True, True, True, False)
    assert UNetSettings(attention_factors=(2, 8)).attention_levels(32) == (False, True, False, True)


@pytest.mark.parametrize("asked", [{"want": {"water": 0.3}}, {"guidance": 1.5}])
def test_who_asks_needs_a_denoiser_that_listens(asked):
    with pytest.raises(UserError, match=r"need diffusion\.conditioning: true"):
        config.parse_section(MethodSettings, {"sampling": asked})
    config.parse_section(MethodSettings, {"sampling": asked, "diffusion": {"conditioning": True}})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{oscd: {init_from: segmunch}}", r"init_from: there is no 'segmunch', did you mean 'segmunich'\?"),
        ("{oscd: {init_from: oscd}}", "init_from: there is no 'oscd', did you mean 'segmunich'"),
        (
            "{oscd: {init_from: segmunich}, segmunich: {init_from: oscd}}",
            "segmunich.init_from: segmunich -> oscd -> segmunich goes in a circle",
        ),
        (
            "{oscd: {init_from: segmunich}, segmunich: {methods: [specdm, ldm, specdm-subset]}}",
            "init_from: segmunich does not train the method specdm-paper, add it to datasets.segmunich.methods",
        ),
        ("{oscd: {method_overrides: {generator_data: few}}}", "generator_data: Input should be 'full' or 'subset'"),
    ],
)
def test_a_start_that_cannot_be_is_told(tmp_path, text, sentence):
    with pytest.raises(UserError, match=sentence):
        _load(tmp_path, f"datasets: {text}")


def test_a_generator_starts_from_another_data_set_or_from_a_folder(tmp_path):
    assert _load(tmp_path, "datasets: {oscd: {init_from: segmunich}}").datasets["oscd"].init_from == "segmunich"
    assert _load(tmp_path, "datasets: {oscd: {init_from: models/big}}").datasets["oscd"].init_from == "models/big"
    assert config.load([PAPER]).datasets["oscd"].init_from is None
