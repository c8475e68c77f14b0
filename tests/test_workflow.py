"""The workflow as its users run it: dry runs of the paper's configuration, and one small run of everything."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from specdm import rasters
from specdm.labels import IGNORE
from specdm.patches import open_patches
from tests.workflow_runs import REPOSITORY, SMALL, jobs_of, snakemake


def test_paper_experiments_plan_on_a_bare_clone(tmp_path):
    jobs = jobs_of(snakemake(tmp_path, "-n", "--", "results/tables/downstream.csv"))
    assert sum(jobs.values()) < 260
    assert jobs["download"] == jobs["prepare"] == 2
    # data sets x (seven regimes for three networks, five more for the first) x seeds
    assert jobs["train_downstream"] == 2 * (7 * 3 + 5) * 3
    assert jobs["search_downstream"] == 2 * (7 * 3 + 5)
    assert jobs["train_diffusion"] == 2 * 3  # specdm, specdm-subset, ldm
    assert jobs["filter_samples"] == 2 and jobs["train_judge"] == 2 * 3
    assert jobs["fetch_encoder"] == 3  # of the networks that start from ImageNet
    assert not (tmp_path / "results").exists()


def test_every_rule_says_in_a_sentence_what_it_does(tmp_path):
    listed = snakemake(tmp_path, "--list-rules")
    rules = re.findall(r"^rule (\w+)", "\n".join(p.read_text() for p in (REPOSITORY / "rules").glob("*.smk")), re.M)
    for rule in rules:
        assert re.search(rf"^{rule} \(.+\.\)$", listed, re.M), rule


def test_generators_can_start_from_another_data_set_and_see_fewer_labels(tmp_path):
    more = tmp_path / "more.yaml"
    more.write_text("datasets: {oscd: {init_from: segmunich, method_overrides: {generator_data: subset}}}\n")
    target = "results/models/oscd/specdm/denoiser/config.json"
    output = snakemake(tmp_path, "-n", "-p", "--", target, configfiles=[str(more)])
    assert jobs_of(output)["train_autoencoder"] == jobs_of(output)["train_diffusion"] == 2
    start = "--init-from results/models/segmunich/specdm"
    stages = ("train-autoencoder", "train-diffusion", "encode")
    commands = {stage: re.findall(rf"(?:specdm|launch) {stage} .*", output) for stage in stages}
    for part, stage in (("autoencoder", "train-autoencoder"), ("denoiser", "train-diffusion")):
        oscd = [c for c in commands[stage] if "--out results/models/oscd" in c]
        assert len(oscd) == 1 and f"{start}/{part}" in oscd[0]
        assert start not in next(c for c in commands[stage] if "--out results/models/segmunich" in c)
    assert [c for c in commands["train-autoencoder"] if "--n-real" in c] == [
        c for c in commands["train-autoencoder"] if "--n-real 100 --subset-seed 0" in c and "models/oscd" in c
    ]
    assert all("--swap-dates" in c for c in commands["encode"])


def test_a_network_of_another_library_has_a_folder_and_settings_of_its_own(tmp_path):
    more = tmp_path / "more.yaml"
    more.write_text(
        "datasets: {oscd: {networks: ['smp:fpn/resnet18/diff']}}\n"
        "downstream: {overrides: {'smp:fpn/resnet18/diff': {steps: 77}}}\n"
    )
    target = "results/downstream/oscd/smp-fpn-resnet18-diff/real/seed0/metrics.json"
    output = snakemake(tmp_path, "-n", "-p", "--", target, configfiles=[str(more)])
    command = next(c for c in re.findall(r".*specdm train-downstream .*", output))
    assert "--network smp:fpn/resnet18/diff " in command and '"steps":77' in command
    assert "--out results/downstream/oscd/smp-fpn-resnet18-diff/real/seed0 " in command


def test_several_gpus_start_as_many_processes(tmp_path):
    target = "results/models/segmunich/specdm/denoiser/config.json"
    output = snakemake(tmp_path, "-n", "-p", "--set-resources", "train_diffusion:gpu=4", "--", target)
    assert "--standalone --nproc-per-node" in next(c for c in re.findall(r".*train-diffusion .*", output))


def test_wrong_key_stops_before_the_first_job_with_one_sentence(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("methods: {specdm: {autoencoder: {sad_wieght: 0}}}\n")
    with pytest.raises(AssertionError) as failure:
        snakemake(tmp_path, "-n", configfiles=[str(wrong)])
    assert "methods.specdm.autoencoder.sad_wieght: there is no such key, did you mean 'sad_weight'?" in str(
        failure.value
    )
    assert "Traceback" not in str(failure.value)


def write_scene(folder: Path) -> None:
    """A scene of five bands with two classes, of which most is not labelled, and its configuration own.yaml."""
    rng = np.random.default_rng(0)
    codes = np.kron(rng.integers(1, 3, (12, 12)), np.ones((16, 16), int))
    image = codes * 400 + rng.integers(0, 100, (5, *codes.shape))
    codes[rng.random(codes.shape) < 0.6] = 0
    place = ("EPSG:32633", (10.0, 0.0, 400_000.0, 0.0, -10.0, 5_100_000.0))
    rasters.write(folder / "image.tif", image.astype(np.uint16), *place)
    rasters.write(folder / "labels.tif", codes[None].astype(np.uint8), *place)
    prepare = {
        "scenes": [{"images": "image.tif", "labels": "labels.tif"}],
        "wavelengths_nm": [450, 550, 650, 850, 1600],
        "level": "BOA",
        "scale": 1e-4,
        "classes": [{"name": "meadow", "codes": [1]}, {"name": "wood", "codes": [2]}],
        "ignore_codes": [0],
        "patch_px": 32,
    }
    own = {"source": "scene", "raw": str(folder), "n_real": 8, "networks": ["segformer-b0"], "prepare": prepare}
    own["regimes"] = {"real": {"real": 1, "synthetic": 0}, "augmented-x1": {"real": 1, "synthetic": 1}}
    own["teacher"] = {"width": 4, "batch": 4, "steps": 2}
    (folder / "own.yaml").write_text(yaml.safe_dump({"datasets": {"own": own}}))


@pytest.fixture(scope="module")
def small_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("workflow")
    write_scene(folder)
    threads = yaml.safe_load((REPOSITORY / "workflow/profiles/demo/profile.yaml").read_text())["set-threads"]
    single = [f"{rule}={n}" for rule, n in threads.items()]  # jobs of one thread side by side, as the demo's
    configfiles = [*SMALL, f"{folder}/own.yaml"]
    snakemake(folder, "--quiet", "--set-threads", *single, "--", configfiles=configfiles)
    return folder


@pytest.mark.workflow
def test_small_run_leaves_tables_and_report(small_run):
    results = small_run / "results/test"
    table = pd.read_csv(results / "tables/downstream.csv")
    assert set(zip(table["dataset"], table["network"], table["regime"], strict=True)) == {
        ("segmunich", "segformer-b0", "real"),
        ("segmunich", "segformer-b0", "augmented-x5"),
        ("oscd", "changeformer-v3", "real"),
        ("oscd", "changeformer-v3", "augmented-x5"),
        ("oscd", "changeformer-v3", "augmented-x5-filtered"),
        ("own", "segformer-b0", "real"),
        ("own", "segformer-b0", "augmented-x1"),
    }
    assert table["miou_macro_mean"].between(0, 1).all() and table["mf1_macro_mean"].between(0, 1).all()
    assert table["paper_miou"].isna().all()  # other numbers of patches: not the paper's experiment
    assert len(pd.read_csv(results / "tables/downstream_seeds.csv")) == 7
    searched = pd.read_csv(results / "search/oscd/changeformer-v3/real/search.csv")
    chosen = json.loads((results / "downstream/oscd/changeformer-v3/real/seed0/metrics.json").read_text())
    assert len(searched) == 2
    assert chosen["learning_rate"] == pytest.approx(searched.loc[searched["score"].idxmax(), "learning_rate"])
    for dataset in ("segmunich", "oscd", "own"):
        pictures = (results / f"figures/{dataset}/downstream").iterdir()
        assert {path.name for path in pictures} == {"amount.png", "confusion.png", "predictions.png"}
    assert list(pd.read_csv(results / "tables/synthesis.csv")["dataset"]) == ["segmunich", "oscd", "own"]
    alignment = pd.read_csv(results / "tables/alignment.csv")
    assert set(alignment["dataset"]) == {"segmunich", "oscd", "own"} and "change angle" in set(alignment["scorer"])
    assert (alignment["scaled"].notna() | alignment["because"].notna()).all()
    copies = pd.read_csv(results / "tables/copies.csv")
    assert set(copies["dataset"]) == {"segmunich", "oscd", "own"}
    assert (copies["share_closer"].notna() | copies["because"].notna()).all()
    assert "<img" in (results / "report.html").read_text()
    assert not list((results / "state").rglob("*.pt"))  # finished trainings leave no state


@pytest.mark.workflow
def test_finished_run_has_nothing_to_do(small_run):
    assert "Nothing to be done" in snakemake(small_run, "-n", configfiles=[*SMALL, f"{small_run}/own.yaml"])


@pytest.mark.workflow
def test_the_users_own_scene_keeps_its_unlabelled_pixels_and_gets_whole_masks(small_run):
    real, drawn = (open_patches(small_run / "results/test" / part) for part in ("patches/own", "samples/own/specdm"))
    assert real.meta.wavelengths_nm == drawn.meta.wavelengths_nm == (450, 550, 650, 850, 1600)
    assert real.meta.bands == drawn.meta.bands == ("450nm", "550nm", "650nm", "850nm", "1600nm")
    assert 0.5 < (real.masks[:] == IGNORE).mean() < 0.7
    assert not (drawn.masks[:] == IGNORE).any()
    scores = json.loads((small_run / "results/test/downstream/own/segformer-b0/real/seed0/metrics.json").read_text())
    test = real.masks[real.ids("test")]
    assert scores["scores"]["pixels"] == np.count_nonzero(test != IGNORE)


@pytest.mark.workflow
def test_changed_labels_are_prepared_anew_and_the_benchmarks_are_not(small_run):
    labels = small_run / "labels.tif"
    before = labels.read_bytes()
    labels.write_bytes(before + b"changed")
    jobs = jobs_of(snakemake(small_run, "-n", configfiles=[*SMALL, f"{small_run}/own.yaml"]))
    labels.write_bytes(before)  # the content decides, not the time
    assert jobs["prepare"] == jobs["train_autoencoder"] == 1 and jobs["train_downstream"] == 2


@pytest.mark.workflow
def test_changed_setting_reruns_what_depends_on_it_and_nothing_else(small_run):
    changed = small_run / "changed.yaml"
    changed.write_text("datasets: {oscd: {method_overrides: {diffusion: {steps: 3}}}}\n")
    jobs = jobs_of(snakemake(small_run, "-n", configfiles=[*SMALL, f"{small_run}/own.yaml", str(changed)]))
    jobs.pop("all")
    assert jobs == {
        "train_diffusion": 1,
        "sample": 1,
        "filter_samples": 1,
        "evaluate": 1,
        "check_alignment": 1,
        "check_copies": 1,
        "search_downstream": 2,  # the augmented regimes of oscd; its real regime and segmunich stay
        "train_downstream": 2,
        "downstream_table": 1,
        "draw_downstream": 1,
        "synthesis_table": 1,
        "report": 1,
    }
