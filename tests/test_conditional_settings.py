"""Settings of conditionals: what goes together, and what a generator must not know."""

from pathlib import Path

import pytest

from specdm import config
from specdm.errors import UserError

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "config" / f"{name}.yaml" for name in ("config", "demo", "conditionals")]


def _with(tmp_path, text):
    (tmp_path / "more.yaml").write_text(text)
    return config.load([*FILES, tmp_path / "more.yaml"])


def _oscd_regime(text):
    return f"datasets: {{oscd: {{regimes: {{mine: {{real: 1, {text}}}}}}}}}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("methods: {specdm: {diffusion: {levels: shared}}}", "set diffusion.levels to streams"),
        ("methods: {specdm: {autoencoder: {streams: single}}}", "needs autoencoder.streams: two"),
        (
            "methods: {plain: {sampling: {order: mask-first}}}",
            "mask-first needs diffusion.levels: streams",
        ),
        ("methods: {plain: {sampling: {guidance: 2}}}", "need diffusion.conditioning: true"),
        (_oscd_regime("synthetic: 0, given: masks"), "given masks needs synthetic above 0"),
        (
            _oscd_regime("synthetic: 1, given: masks, masks: shuffled"),
            "goes with images drawn, keep first and masks own",
        ),
        (_oscd_regime("synthetic: 1, given: masks, pool: 2, keep: random"), "goes with images drawn, keep first"),
        (_oscd_regime("synthetic: 1, given: images"), "specdm has seen all labels"),
        (
            _oscd_regime("synthetic: 1, given: images, method: specdm-subset, labels: all"),
            "specdm-subset has seen all labels",
        ),
        ("datasets: {segmunich: {regimes: {mine: {real: 1, synthetic: 1, given: edited}}}}", "edited needs two dates"),
        (
            "datasets: {oscd: {unlabelled: [osdc]}}",
            "oscd.unlabelled: there is no 'osdc', did you mean 'oscd'?",
        ),
        ("datasets: {oscd: {unlabelled: [segmunich], prepare: {patch_px: 64}}}", "have another patch_px"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path, text, sentence):
    with pytest.raises(UserError) as refused:
        _with(tmp_path, text)
    assert sentence in str(refused.value)


def test_images_of_another_data_set_can_be_labelled_by_a_generator_of_all_labels(tmp_path):
    text = "datasets: {oscd: {unlabelled: [oscd, segmunich], regimes: {mine: {real: 1, synthetic: 1, given: images}}}}"
    assert _with(tmp_path, text).datasets["oscd"].regimes["mine"].given == "images"


def test_streams_can_be_guided_without_fractions(tmp_path):
    text = "methods: {specdm: {diffusion: {conditioning: false}, sampling: {guidance: 3}}}"
    assert _with(tmp_path, text).methods["specdm"].sampling.guidance == 3


def test_as_many_are_drawn_as_the_hungriest_regime_of_a_kind_needs(tmp_path):
    oscd = _with(tmp_path, _oscd_regime("synthetic: 7, given: masks, labels: 10")).datasets["oscd"]
    assert oscd.n_given("specdm", "masks", None) == oscd.n_given("specdm", "masks", oscd.n_real) == 5 * oscd.n_real
    assert oscd.n_given("specdm", "masks", 10) == 7 * oscd.n_real
    assert oscd.n_given("specdm-subset", "images", None) == 5 * oscd.n_real
    assert oscd.n_samples("specdm", 1) == 5 * oscd.n_real  # of joint draws, whatever is drawn for something
