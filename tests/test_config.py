import json
import typing
from pathlib import Path

import pydantic
import pytest
import yaml

from specdm import config
from specdm.errors import UserError
from specdm.settings import AutoencoderSettings, DownstreamSettings, Section

FOLDER = Path(__file__).parents[1] / "config"
PAPER, DEMO = FOLDER / "config.yaml", FOLDER / "demo.yaml"


@pytest.fixture
def raw() -> dict:
    return json.loads(json.dumps(yaml.safe_load(PAPER.read_text())))  # anchors become copies


def _put(raw: dict, path: str, value: object) -> dict:
    *parents, last = path.split("/")
    place = raw
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = value
    return raw


def _sentence(raw: dict) -> str:
    with pytest.raises(UserError) as caught:
        config.validate(raw)
    text = str(caught.value)
    assert "\n" not in text
    assert text[-1] in ".?"
    assert not text.endswith("..")
    return text


def test_the_paper_and_the_demo_are_valid():
    paper, demo = config.load([PAPER]), config.load([PAPER, DEMO])
    assert set(paper.methods) == {"specdm", "specdm-paper", "specdm-paper-f8", "ldm", "specdm-no-sad", "specdm-subset"}
    assert list(demo.methods) == ["specdm"]
    assert set(demo.datasets) == {"segmunich", "oscd"}
    assert set(demo.datasets["oscd"].regimes) == {"real", "synthetic", "augmented-x5"}
    assert (paper.results, demo.results) == ("results", "results/demo")
    assert demo.datasets["segmunich"].teacher.steps == 500


def test_the_paper_table_names_data_sets_networks_and_regimes_of_the_configuration():
    import pandas as pd

    paper = config.load([PAPER])
    for row in pd.read_csv(FOLDER / "paper_results.csv").to_dict("records"):
        dataset = paper.datasets[row["dataset"]]
        assert row["network"] in dataset.networks
        assert row["regime"] in dataset.regimes
        assert row["n_real"] == dataset.n_real
        assert (row["network"], row["regime"]) in dataset.table("downstream")
        assert row["n_synthetic"] == dataset.regimes[row["regime"]].synthetic * dataset.n_real


def test_the_schema_file_is_the_one_of_the_models():
    assert json.loads((FOLDER / "schema.json").read_text()) == config.schema(), (
        "run: python -m specdm schema --out config/schema.json"
    )


def _sections(annotation: object, seen: set) -> set:
    """All section classes within a type."""
    if isinstance(annotation, type) and issubclass(annotation, Section) and annotation not in seen:
        seen.add(annotation)
        for field in annotation.model_fields.values():
            _sections(field.annotation, seen)
    for part in typing.get_args(annotation):
        _sections(part, seen)
    return seen


def test_every_key_is_described():
    for section in _sections(config.Config, set()):
        for key, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{key}"
        assert section.__doc__


@pytest.mark.parametrize("text", [PAPER.read_text(), DEMO.read_text()])
def test_every_key_of_the_files_is_in_the_schema(text):
    schema = config.schema()

    def check(data: object, node: dict, where: str):
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        options = node.get("anyOf", []) + node.get("oneOf", [])
        if options and isinstance(data, dict):
            if "source" in data or where.count(".") == 1:
                names = {"segmunich": "SegMunichDataset", "oscd": "OscdDataset"}
                node = schema["$defs"][names[where.split(".")[1]]]
            else:
                return check(data, next(o for o in options if o.get("type") != "null"), where)
        if isinstance(data, dict):
            for key, value in data.items():
                if "properties" in node:
                    assert key in node["properties"], f"{where}.{key}"
                    check(value, node["properties"][key], f"{where}.{key}".lstrip("."))
                elif isinstance(node.get("additionalProperties"), dict):
                    check(value, node["additionalProperties"], f"{where}.{key}".lstrip("."))
        return None

    check(yaml.safe_load(text), schema, "")


@pytest.mark.parametrize(
    ("path", "key", "nearest"),
    [
        ("sed", "sed", "seed"),
        ("methods/specdm/autoencodr", "methods.specdm.autoencodr", "autoencoder"),
        ("methods/specdm/autoencoder/sad_wieght", "methods.specdm.autoencoder.sad_wieght", "sad_weight"),
        ("methods/specdm/autoencoder/image/widht", "methods.specdm.autoencoder.image.widht", "width"),
        ("methods/specdm/diffusion/unet/head_dims", "methods.specdm.diffusion.unet.head_dims", "head_dim"),
        ("methods/ldm/sampling/step", "methods.ldm.sampling.step", "n_steps"),
        ("datasets/oscd/n_rael", "datasets.oscd.n_rael", "n_real"),
        ("datasets/oscd/prepare/stride", "datasets.oscd.prepare.stride", "stride_px"),
        ("datasets/segmunich/prepare/stride_px", "datasets.segmunich.prepare.stride_px", None),
        ("datasets/segmunich/prepare/max_backgruond", "datasets.segmunich.prepare.max_backgruond", "max_background"),
        ("datasets/oscd/regimes/real/methd", "datasets.oscd.regimes.real.methd", "method"),
        ("datasets/oscd/teacher/stepps", "datasets.oscd.teacher.stepps", "steps"),
        ("datasets/oscd/simulate/citys", "datasets.oscd.simulate.citys", "cities"),
        ("downstream/learning_rat", "downstream.learning_rat", "learning_rate"),
        ("evaluation/n_picture", "evaluation.n_picture", "n_pictures"),
    ],
)
def test_an_unknown_key_names_itself_and_the_nearest(raw, path, key, nearest):
    sentence = _sentence(_put(raw, path, 1))
    assert sentence.startswith(f"{key}: there is no such key, did you mean '{nearest or ''}")
    if nearest:
        assert sentence.endswith(f"did you mean '{nearest}'?")


def test_an_unknown_key_within_a_list_is_found(raw):
    city = {"name": "a", "split": "train", "heigth": 96}
    sentence = _sentence(_put(raw, "datasets/oscd/simulate", {"cities": [city, city]}))
    assert sentence == "datasets.oscd.simulate.cities.0.heigth: there is no such key, did you mean 'height'?"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("seed", "many", "seed: Input should be a valid integer"),
        ("seeds", [], "seeds: "),
        ("methods/specdm/autoencoder/batch", 0, "methods.specdm.autoencoder.batch: "),
        ("methods/specdm/autoencoder/streams", "three", "methods.specdm.autoencoder.streams: "),
        ("datasets/oscd/prepare/patch_px", "big", "datasets.oscd.prepare.patch_px: "),
        ("datasets/oscd/regimes/real/real", 2, "datasets.oscd.regimes.real.real: "),
        ("downstream/select", "first", "downstream.select: "),
        ("methods", ["specdm"], "methods: "),
        ("methods/specdm", 3, "methods.specdm: a method is a mapping"),
        ("methods/specdm/autoencoder", 3, "methods.specdm.autoencoder: "),
        ("datasets/oscd", "x", "datasets.oscd"),
        ("datasets", {"Bad Name": {}}, "datasets.Bad Name"),
    ],
)
def test_a_wrong_value_names_its_key_and_what_was_got(raw, path, value, message):
    sentence = _sentence(_put(raw, path, value))
    assert sentence.startswith(message)


def test_a_missing_key_is_named(raw):
    del raw["datasets"]["oscd"]["n_real"]
    assert _sentence(raw) == "datasets.oscd.n_real: this key is required and missing."
    assert _sentence({}) == "methods: this key is required and missing."


@pytest.mark.parametrize("source", ["landsat", None, 3])
def test_a_bad_source_names_the_readers(raw, source):
    sentence = _sentence(_put(raw, "datasets/oscd/source", source))
    assert sentence == "datasets.oscd.source: the source must be one of segmunich, oscd, scene, unlabelled."


def test_a_missing_source_names_the_readers(raw):
    del raw["datasets"]["oscd"]["source"]
    assert _sentence(raw) == "datasets.oscd.source: the source must be one of segmunich, oscd, scene, unlabelled."


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "datasets/oscd/networks",
            ["segformer-b5"],
            "datasets.oscd.networks: segformer-b5 solves segmentation, this data set is change.",
        ),
        (
            "datasets/oscd/networks",
            ["segformer-b9"],
            "datasets.oscd.networks: there is no 'segformer-b9', did you mean 'segformer-b5'?",
        ),
        (
            "datasets/oscd/networks",
            ["smp:unet/resnet18"],
            "datasets.oscd.networks: smp:unet/resnet18 solves segmentation, this data set is change.",
        ),
        (
            "datasets/oscd/networks",
            ["smp:unet/a-b/diff", "smp:unet/a/b-diff", "smp:unet/a:b/diff"],
            "datasets.oscd.networks: 'smp:unet/a/b-diff' is no network of segmentation-models-pytorch, write "
            "smp:<architecture>/<encoder>, for two dates with /diff, /conc, /early behind; architectures: unet, "
            "unetplusplus, manet, linknet, fpn, pspnet, deeplabv3, deeplabv3plus, pan, upernet, segformer, dpt.",
        ),
        (
            "datasets/oscd/networks",
            ["smp:unet/a-b/diff", "smp:unet/a:b/diff"],
            "datasets.oscd.networks: smp:unet/a-b/diff and smp:unet/a:b/diff would share a folder, leave one out.",
        ),
        ("datasets/oscd/methods", ["spcdm"], "datasets.oscd.methods: there is no 'spcdm', did you mean 'specdm'?"),
        (
            "datasets/oscd/regimes/real",
            {"real": 0, "synthetic": 0},
            "datasets.oscd.regimes.real: real and synthetic are both 0: nothing to train on.",
        ),
        (
            "datasets/oscd/regimes/mine",
            {"real": 1, "synthetic": 1, "method": "lmd"},
            "datasets.oscd.regimes.mine.method: there is no 'lmd', did you mean 'ldm'?",
        ),
        (
            "datasets/oscd/prepare/bands",
            "papr",
            "datasets.oscd.prepare.bands: There is no band set 'papr': use 'paper' or a list of band names.",
        ),
        (
            "datasets/oscd/origin",
            "simulate",
            "datasets.oscd: origin simulate needs the section simulate.",
        ),
        (
            "downstream/options",
            {"segformer-b8": {}},
            "downstream.options: there is no 'segformer-b8', did you mean 'segformer-b5'?",
        ),
        (
            "methods/specdm/diffusion/beta_start",
            0.5,
            "methods.specdm.diffusion: beta_start 0.5 must be below beta_end 0.0155.",
        ),
        (
            "methods/specdm/diffusion/prediction",
            "epsilon",
            "methods.specdm.diffusion: zero_terminal_snr needs prediction v: "
            "pure noise tells nothing about the clean part.",
        ),
        (
            "methods/specdm/autoencoder/image/norm_groups",
            7,
            "methods.specdm.autoencoder.image: norm_groups 7 does not divide width 96 times its multipliers.",
        ),
        (
            "methods/specdm/diffusion/unet/norm_groups",
            7,
            "methods.specdm.diffusion.unet: norm_groups 7 does not divide width 128 times its multipliers.",
        ),
        (
            "methods/specdm/diffusion/unet/head_dim",
            48,
            "methods.specdm.diffusion.unet.head_dim: 48 does not divide the 256 channels of a level with attention "
            "(data set segmunich): choose one that divides width times the multipliers.",
        ),
        (
            "methods/specdm/sampling/n_steps",
            2000,
            "methods.specdm: sampling.n_steps 2000 exceeds diffusion.n_steps 1000.",
        ),
    ],
)
def test_settings_that_cannot_go_together_are_told(raw, path, value, sentence):
    assert _sentence(_put(raw, path, value)) == sentence


def test_streams_need_one_downsampling_factor(raw):
    _put(raw, "methods/specdm/autoencoder/mask/multipliers", [1, 2])
    assert "need one factor" in _sentence(raw)
    raw["methods"]["specdm"]["autoencoder"]["streams"] = "single"
    assert config.validate(raw).methods["specdm"].autoencoder.streams == "single"


@pytest.mark.parametrize(("patch_px", "message"), [(100, "is not a multiple of 32"), (48, "is not a multiple of 32")])
def test_patches_must_be_halved_as_often_as_the_networks_do(raw, patch_px, message):
    sentence = _sentence(_put(raw, "datasets/segmunich/prepare/patch_px", patch_px))
    assert sentence.startswith(f"datasets.segmunich.prepare.patch_px: {patch_px} ")
    assert message in sentence


def test_patches_must_suit_autoencoder_and_unet(raw):
    _put(raw, "methods/specdm-paper/diffusion/unet/multipliers", [1, 2, 2, 4, 4, 4])
    sentence = _sentence(_put(raw, "datasets/segmunich/prepare/patch_px", 64))
    assert sentence.endswith("of the method specdm-paper do: use a multiple of 128.")


@pytest.mark.parametrize("loop", [{"specdm": "ldm"}, {"specdm": "specdm"}, {"specdm": "specdm-no-sad"}])
def test_a_circle_of_bases_is_refused(raw, loop):
    for name, base in loop.items():
        raw["methods"][name]["base"] = base
    assert ".base: " in _sentence(raw)


def test_an_unknown_base_names_the_nearest(raw):
    raw["methods"]["ldm"]["base"] = "spcdm"
    assert _sentence(raw) == "methods.ldm.base: 'spcdm' is no other method, did you mean 'specdm'?"


def test_a_method_takes_what_it_does_not_say_from_its_base(raw):
    methods = config.validate(raw).methods
    assert methods["ldm"].autoencoder.streams == "single"
    assert methods["ldm"].autoencoder.image.width == methods["specdm"].autoencoder.image.width
    assert methods["ldm"].autoencoder.image.latent_channels == 8
    assert methods["ldm"].diffusion == methods["specdm"].diffusion
    assert methods["specdm-no-sad"].autoencoder.sad_weight == 0
    raw["methods"]["third"] = {"base": "ldm", "autoencoder": {"sad_weight": 0.7}}
    third = config.validate(raw).methods["third"]
    assert (third.autoencoder.streams, third.autoencoder.sad_weight) == ("single", 0.7)


def test_overrides_of_a_data_set_win_over_every_method(raw):
    settings = config.validate(raw)
    assert settings.method("oscd", "specdm").autoencoder.batch == 4
    assert settings.method("oscd", "specdm-paper").diffusion.batch == 16
    assert settings.method("oscd", "specdm-paper").diffusion.unet.width == 192
    assert settings.method("segmunich", "specdm") == settings.methods["specdm"]


def test_a_wrong_override_is_told_with_its_place(raw):
    sentence = _sentence(_put(raw, "datasets/oscd/method_overrides/autoencoder/bacth", 4))
    assert sentence == ("datasets.oscd.method_overrides.autoencoder.bacth: there is no such key, did you mean 'batch'?")


def test_a_name_set_to_null_is_left_out(raw):
    raw["methods"]["ldm"] = None
    raw["datasets"]["segmunich"] = None
    raw["datasets"]["oscd"]["regimes"]["augmented-x5-ldm"] = None
    raw["datasets"]["oscd"]["methods"].remove("ldm")
    settings = config.validate(raw)
    assert "ldm" not in settings.methods
    assert list(settings.datasets) == ["oscd"]
    assert "augmented-x5-ldm" not in settings.datasets["oscd"].regimes
    assert raw["methods"]["ldm"] is None  # the caller's mapping stays as it was


def test_a_base_set_to_null_is_told(raw):
    raw["methods"]["specdm"] = None
    assert "methods.ldm.base: 'specdm' is no other method" in _sentence(raw)


def test_later_files_win_key_by_key(tmp_path):
    (tmp_path / "mine.yaml").write_text("seed: 7\ndatasets: {oscd: {prepare: {stride_px: 127}}}\n")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    settings = config.load([PAPER, tmp_path / "mine.yaml", tmp_path / "empty.yaml"])
    assert settings.seed == 7
    assert settings.datasets["oscd"].prepare.stride_px == 127
    assert settings.datasets["oscd"].prepare.patch_px == 256


@pytest.mark.parametrize("text", ["seed: [1", "a: b: c", "\t- x"])
def test_text_that_is_no_yaml_is_told(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match=r"^\S*bad.yaml cannot be read as YAML: [^\n]*\.$"):
        config.load([tmp_path / "bad.yaml"])
    with pytest.raises(UserError, match="cannot be read"):
        config.load([tmp_path / "missing.yaml"])


@pytest.mark.parametrize("text", ["just text", "[1, 2]", "3"])
def test_a_file_that_is_no_mapping_is_told(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match=r"bad\.yaml holds no settings"):
        config.load([tmp_path / "bad.yaml"])


def test_values_do_not_change_once_read():
    with pytest.raises(pydantic.ValidationError):
        config.load([PAPER]).seed = 3


def test_a_network_gets_its_own_options_only(raw):
    raw["downstream"]["options"]["changeformer-v3"] = {}
    settings = config.validate(raw)
    assert settings.downstream_of("segformer-b5").options == {"segformer-b5": {"adapter": "map3"}}
    assert settings.downstream_of("segformer-b0").options == {}


def test_a_section_alone_is_validated_like_the_whole():
    assert config.parse_section(AutoencoderSettings, {"batch": 3}).batch == 3
    with pytest.raises(UserError, match=r"image\.widht: there is no such key, did you mean 'width'\?"):
        config.parse_section(AutoencoderSettings, {"image": {"widht": 3}})
    with pytest.raises(UserError, match="'val_every'"):
        config.parse_section(DownstreamSettings, {"val_evry": 3})
