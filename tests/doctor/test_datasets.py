import shutil
from pathlib import Path

import pytest
import yaml

from specdm import config
from specdm.doctor.datasets import configuration, datasets

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "config" / "config.yaml"
SCENE = {
    "source": "scene",
    "raw": "mine",
    "n_real": 4,
    "networks": ["unet"],
    "methods": ["specdm"],
    "regimes": {"real": {"real": 1, "synthetic": 0}},
    "prepare": {
        "scenes": [{"images": [{"path": "{name}.tif"}], "labels": {"path": "{name}_labels.tif"}}],
        "classes": [{"name": "field", "codes": [1]}, {"name": "wood", "codes": [2]}],
        "sensor": "Sentinel-2 MSI",
        "level": "BOA",
        "bands": ["B02", "B03"],
        "scale": 1e-4,
        "patch_px": 32,
    },
}


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def described(there):
    """described(**data sets as the configuration has them, over the paper's) -> lines by data set, what is missing."""

    def run(**sets) -> tuple[dict[str, str], tuple[str, ...]]:
        over = {"results": "out", "datasets": sets}
        section = datasets(config.validate(config.merge(yaml.safe_load(MAIN.read_text()), over)))
        return {line.split(" (")[0]: line for line in section.lines}, section.missing

    return run


def _model(folder, parts=("autoencoder", "denoiser"), files=("weights.safetensors", "config.json")):
    for part in parts:
        (folder / part).mkdir(parents=True)
        for name in files:
            (folder / part / name).touch()


def test_at_the_beginning_there_is_nothing_and_nothing_is_missing(described):
    lines, missing = described()
    assert lines == {
        name: f"{name} (download): raw files not yet in data/{name}; not prepared; no generator trained"
        for name in ("segmunich", "oscd")
    }
    assert missing == ()


def test_a_download_is_complete_with_its_last_file(described, there):
    (there / "data/oscd").mkdir(parents=True)
    assert "raw files not yet in" in described()[0]["oscd"]
    (there / "data/oscd/images.zip").touch()
    assert "raw files incomplete in data/oscd" in described()[0]["oscd"]
    (there / "data/oscd/download.json").touch()
    assert "raw files complete in data/oscd" in described()[0]["oscd"]
    cities = [{"name": split, "split": split, "height": 64, "width": 64} for split in ("train", "test")]
    simulated = {"origin": "simulate", "simulate": {"cities": cities}}
    assert "raw files incomplete in data/oscd" in described(oscd=simulated)[0]["oscd"]


def test_files_that_should_have_been_given_are_missing(described, there):
    lines, missing = described(oscd={"origin": "given"})
    assert "(given): raw files not found in data/oscd" in lines["oscd"]
    assert missing == ("oscd: data/oscd holds no raw files: put them there, or check datasets.oscd.raw.",)
    (there / "data/oscd").mkdir(parents=True)
    assert len(described(oscd={"origin": "given"})[1]) == 1
    (there / "data/oscd/image.tif").touch()
    lines, missing = described(oscd={"origin": "given"})
    assert "raw files found in data/oscd" in lines["oscd"] and missing == ()


def test_scenes_of_ones_own_are_looked_for_file_by_file(described, there):
    lines, missing = described(mine=SCENE)
    assert "raw files not found in mine" in lines["mine"]
    assert missing == ("mine: mine/{name}.tif matches no file: check `raw` and the pattern.",)
    (there / "mine").mkdir()
    for name in ("a.tif", "b.tif", "a_labels.tif"):
        (there / "mine" / name).touch()
    (told,) = described(mine=SCENE)[1]
    assert told.startswith("mine: mine/b_labels.tif does not exist: ")
    (there / "mine/b_labels.tif").touch()
    lines, missing = described(mine=SCENE)
    assert "4 raw files found in mine" in lines["mine"] and missing == ()


def test_patches_are_counted(described, there, segmentation_patches):
    shutil.copytree(segmentation_patches, there / "out/patches/segmunich")
    lines, missing = described()
    assert "; 40 patches; " in lines["segmunich"] and "; not prepared; " in lines["oscd"] and missing == ()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "meta.json").write_text("{"),
        lambda folder: (folder / "meta.json").write_text('{"schema_version": 1}'),
        lambda folder: (folder / "images.npy").unlink(),
        lambda folder: (folder / "masks.npy").write_bytes((folder / "masks.npy").read_bytes()[:500]),
    ],
)
def test_damaged_patches_are_missing(described, there, segmentation_patches, damage):
    folder = there / "out/patches/segmunich"
    shutil.copytree(segmentation_patches, folder)
    damage(folder)
    lines, missing = described()
    assert "; patches damaged; " in lines["segmunich"]
    assert missing == ("out/patches/segmunich is damaged: remove it, and the workflow prepares it anew.",)


def test_a_generator_is_trained_when_both_its_parts_are_complete(described, there):
    models = there / "out/models/oscd"
    _model(models / "specdm")
    _model(models / "specdm.generator1")
    _model(models / "ldm", parts=["autoencoder"])
    _model(models / "specdm-paper", files=["weights.safetensors"])
    _model(models / "specdm-no-sad", parts=["denoiser"])
    _model(models / "of-nobody")
    line = described()[0]["oscd"]
    assert line.endswith(
        "; trained: specdm, specdm.generator1; not yet: specdm-paper, ldm, specdm-no-sad, specdm-subset"
    )
    for method in ("ldm", "specdm-paper", "specdm-no-sad"):
        shutil.rmtree(models / method)
    for method in ("ldm", "specdm-paper", "specdm-no-sad", "specdm-subset"):
        _model(models / method)
    assert "; not yet" not in described()[0]["oscd"]


def test_a_folder_that_may_not_be_looked_at_counts_as_empty(described):
    long = "r" * 300
    lines, _ = described(oscd={"raw": long}, segmunich={"raw": long, "origin": "given"})
    assert f"raw files not yet in {long}" in lines["oscd"]
    assert f"raw files not found in {long}" in lines["segmunich"]
    lines, missing = described(mine=SCENE | {"raw": long, "prepare": _fixed(SCENE["prepare"])})
    assert f"raw files unreadable in {long}" in lines["mine"]
    assert missing == (f"mine: {long} cannot be read (File name too long): mend its permissions.",)


def _fixed(prepare):
    return prepare | {"scenes": [{"images": [{"path": "a.tif"}], "labels": {"path": "a_labels.tif"}}]}


def test_files_are_merged_as_snakemake_does(there):
    (there / "one.yaml").write_text("results: elsewhere\nseed: 4\n")
    (there / "two.yaml").write_text("seed: 5\ndatasets: {oscd: null}\n")
    found, section = configuration(MAIN, [Path("one.yaml"), Path("two.yaml")])
    assert (found.results, found.seed, list(found.datasets)) == ("elsewhere", 5, ["segmunich"])
    assert section.lines == ("config.yaml, one.yaml, two.yaml: valid",) and section.missing == ()


def test_a_wrong_key_is_missing_in_the_configurations_own_sentence(there):
    (there / "one.yaml").write_text("sede: 4\n")
    found, section = configuration(MAIN, [Path("one.yaml")])
    assert found is None and section.lines == ("config.yaml, one.yaml: not valid",)
    assert section.missing == ("configuration: sede: there is no such key, did you mean 'seed'?",)
    assert "nowhere.yaml cannot be read" in configuration(MAIN, [Path("nowhere.yaml")])[1].missing[0]


def test_outside_the_repository_there_is_no_configuration(there):
    found, section = configuration(there / "config/config.yaml", [])
    assert found is None and section.lines == ("none",)
    assert section.missing == (
        "There is no config/config.yaml beside the package: run from a clone of the repository.",
    )
    found, section = configuration(there / "config/config.yaml", [MAIN])
    assert found is not None and len(section.missing) == 1
