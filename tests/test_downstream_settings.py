"""What the configuration says of downstream trainings: which there are, and what is refused before any job."""

import re
from pathlib import Path

import pytest
import yaml

from specdm import config
from specdm.errors import UserError
from specdm.networks import NETWORKS

PAPER = Path(__file__).parents[1] / "config" / "config.yaml"
BASE = """
methods: {a: {}, b: {generator_data: subset}}
datasets:
  d:
    source: oscd
    raw: x
    n_real: 10
    methods: [a, b]
    networks: [changeformer-v3, fc-siam-diff]
    regimes:
      real: {real: 1, synthetic: 0}
      mixed: {real: 1, synthetic: 5, method: b}
      small: {real: 1, synthetic: 1, method: a, networks: first}
"""


def _config(text: str = "{}") -> config.Config:
    return config.validate(config.merge(yaml.safe_load(BASE), yaml.safe_load(text)))


def _dataset(text: str = "{}"):
    return _config(f"datasets: {{d: {text}}}").datasets["d"]


def test_the_headline_table_crosses_networks_and_regimes_but_for_restricted_ones():
    first, second = "changeformer-v3", "fc-siam-diff"
    assert _dataset().table("downstream") == [
        *((first, name) for name in ("real", "mixed", "small")),
        *((second, name) for name in ("real", "mixed")),
    ]
    named = _dataset("{regimes: {small: {networks: [fc-siam-diff]}}}").table("downstream")
    assert (second, "small") in named and (first, "small") not in named


def test_controls_are_a_table_with_what_they_stand_beside():
    assert _dataset().table("controls") == []
    controls = "{controls: {beside: [real], networks: first, regimes: {all: {real: 1, synthetic: 0, labels: all}}}}"
    dataset = _dataset(controls)
    assert dataset.table("controls") == [("changeformer-v3", "real"), ("changeformer-v3", "all")]
    assert ("changeformer-v3", "all") not in dataset.table("downstream") and dataset.all_regimes["all"].labels == "all"


def test_the_label_curve_names_regimes_by_their_labels_and_keeps_the_usual_ones():
    dataset = _dataset("{label_curve: {labels: [5, 10, all], regimes: [real, mixed]}}")
    names = [regime for network, regime in dataset.table("label_curve") if network == "fc-siam-diff"]
    assert names == ["real-labels-5", "real", "real-labels-all", "mixed-labels-5", "mixed", "mixed-labels-all"]
    assert dataset.all_regimes["mixed-labels-5"].labels == 5
    assert dataset.all_regimes["mixed-labels-5"].method == "b"
    assert dataset.all_regimes["mixed"].labels is None


def test_samples_are_drawn_for_the_hungriest_regime_of_a_method():
    dataset = _dataset("{controls: {regimes: {many: {real: 0, synthetic: 9, method: a}}}}")
    assert dataset.n_samples("a", 1) == 90 and dataset.n_samples("b", 1) == 50 and dataset.n_samples("b", 60) == 60
    assert dataset.n_samples("in-no-regime", 7) == 7
    again = _dataset("{controls: {regimes: {r: {real: 1, synthetic: 1, method: a, images: reconstructed}}}}")
    assert again.n_samples("a", 1) == 10


def test_the_regime_of_real_patches_alone_has_the_same_labels_and_augmentation():
    dataset = _dataset(
        "{regimes: {strong: {real: 1, synthetic: 0, augmentation: strong}, few: {real: 1, synthetic: 0, labels: 3},"
        " same: {real: 1, synthetic: 1, method: a, labels: 10}}}"
    )
    every = dataset.all_regimes
    assert dataset.real_alone(every["mixed"]) == dataset.real_alone(every["same"]) == "real"
    changed = every["mixed"].model_copy(update={"augmentation": "strong"})
    assert dataset.real_alone(changed) == "strong"
    assert dataset.real_alone(every["mixed"].model_copy(update={"labels": 3})) == "few"
    assert dataset.real_alone(every["mixed"].model_copy(update={"labels": 4})) is None


def test_a_search_tries_every_pair_of_factors():
    search = _config("downstream: {search: {learning_rates: [1, 2], steps: [0.5, 1, 2]}}").downstream.search
    assert search.candidates == [(1, 0.5), (1, 1), (1, 2), (2, 0.5), (2, 1), (2, 2)]
    assert len(_config().downstream.search.candidates) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("regimes: {x: {real: 0, synthetic: 0}}", "regimes.x: real and synthetic are both 0"),
        ("regimes: {x: {real: 1, synthetic: 0, masks: shuffled}}", "masks shuffled needs synthetic patches"),
        ("regimes: {x: {real: 1, synthetic: 0, images: reconstructed}}", "images reconstructed needs synthetic"),
        ("regimes: {x: {real: 1, synthetic: 0, order: pretrain}}", "order pretrain needs synthetic patches"),
        ("regimes: {x: {real: 0, synthetic: 1, method: a, order: pretrain}}", "pretrain ends on real patches"),
        ("regimes: {x: {real: 1, synthetic: 2, method: a, images: reconstructed}}", "set synthetic to 1"),
        ("regimes: {x: {real: 1, synthetic: 1, method: a, pool: 2}}", "pool above 1 and keep best or random belong"),
        ("regimes: {x: {real: 1, synthetic: 1, method: a, keep: best}}", "pool above 1 and keep best or random belong"),
        ("regimes: {x: {real: 1, synthetic: 0, pool: 2, keep: best}}", "keep best chooses among drawn patches"),
        (
            "regimes: {x: {real: 1, synthetic: 1, method: a, pool: 2, keep: best, masks: shuffled}}",
            "keep best judges a patch's own mask",
        ),
        ("regimes: {x: {real: 1, synthetic: 0, labels: 0}}", "labels must be at least 1"),
        ("regimes: {x: {real: 1, synthetic: 0, labels: most}}", "labels: Input should be .*(got 'most')"),
        ("regimes: {x: {real: 1, synthetic: 0, networks: [unet]}}", r"regimes.x.networks: there is no 'unet'"),
        ("regimes: {x: {real: 1, synthetic: 1, method: c}}", r"regimes.x.method: there is no 'c'"),
        ("controls: {regimes: {x: {real: 1, synthetic: 1, method: c}}}", r"controls.regimes.x.method: there is no 'c'"),
        ("controls: {regimes: {real: {real: 1, synthetic: 0}}}", r"controls.regimes.real: .* has this name too"),
        ("controls: {beside: [rael]}", r"controls.beside: there is no 'rael', did you mean 'real'"),
        ("controls: {networks: [unet]}", r"controls.networks: there is no 'unet'"),
        ("label_curve: {regimes: [rael]}", r"label_curve.regimes: there is no 'rael', did you mean 'real'"),
        (
            "controls: {regimes: {x: {real: 1, synthetic: 1, method: a, masks: predicted, labels: 3}}}",
            r"controls.regimes.x.masks: predicted needs a regime of real patches alone",
        ),
        (
            "regimes: {real: {networks: first}, x: {real: 1, synthetic: 1, method: a, masks: predicted}}",
            "predicted needs a regime of real patches alone .* for every network",
        ),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(text, sentence):
    with pytest.raises(UserError) as caught:
        _dataset(f"{{{text}}}")
    assert re.search(sentence, str(caught.value)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{batch: 16, accumulate: 3}", "accumulate 3 does not divide batch 16"),
        ("{freeze_encoder: true}", "freeze_encoder needs trained weights: set encoder_weights"),
        ("{search: {learning_rates: [1, 0]}}", "factors of a search must be above 0"),
        ("{search: {learning_rates: []}}", "learning_rates: Tuple should have at least 1 item"),
        ("{overrides: {unet: {freeze_encoder: true}}}", "freeze_encoder needs trained weights"),
    ],
)
def test_trainings_that_cannot_be_are_told_in_a_sentence(text, sentence):
    with pytest.raises(UserError, match=sentence):
        _config(f"downstream: {text}")


def test_encoders_of_timm_take_no_weights_yet():
    networks = {"datasets": {"d": {"networks": ["smp:unet/tu-resnet18/diff"]}}}
    with pytest.raises(UserError, match=r"tu-\*. are not loaded yet, set it to none for smp:unet/tu-resnet18/diff"):
        _config(yaml.safe_dump(networks | {"downstream": {"encoder_weights": "imagenet"}}))
    _config(yaml.safe_dump(networks))


def test_controls_and_regimes_set_to_null_are_left_out():
    dataset = _dataset("{regimes: {small: null}, controls: {regimes: {x: null}}}")
    assert set(dataset.regimes) == {"real", "mixed"} and dataset.controls.regimes == {}


def test_every_network_of_the_configuration_can_be_built():
    paper = config.load([PAPER])
    assert {n for d in paper.datasets.values() for n in d.networks} <= set(NETWORKS)


def test_a_pool_asks_for_as_many_samples_more():
    dataset = _dataset("{regimes: {kept: {real: 1, synthetic: 3, pool: 4, method: a, keep: best}}}")
    assert (dataset.n_samples("a", 5), dataset.n_samples("b", 5), dataset.n_samples("a", 500)) == (120, 50, 500)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("features: [inception]", "evaluation: features inception need inception_weights: published, or a file"),
        ("features: [resnet]", "evaluation: features 'resnet': use teacher, inception or path/to/file.py:function"),
        ("folds: 1", r"evaluation.folds: .*greater than or equal to 2"),
    ],
)
def test_features_that_cannot_be_had_are_refused_before_any_job(text, sentence):
    with pytest.raises(UserError, match=sentence):
        _config(f"evaluation: {{{text}}}")
    assert _config("evaluation: {features: [teacher, 'a/b.py:f', inception], inception_weights: published}")
