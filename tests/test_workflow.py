"""The workflow as its users run it: dry runs of the paper's configuration, and one small run of everything."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from specdm import attempts
from specdm.labels import IGNORE
from specdm.patches import open_patches
from tests.workflow_runs import REPOSITORY, SMALL, commands_of, jobs_of, run_snakemake, snakemake


def test_paper_experiments_plan_on_a_bare_clone(tmp_path):
    jobs = jobs_of(snakemake(tmp_path, "-n", "--", "results/tables/downstream.csv"))
    assert sum(jobs.values()) < 280
    assert jobs["download"] == jobs["prepare"] == 2
    # data sets x (seven regimes for three networks, five more for the first) x seeds
    assert jobs["train_downstream"] == 2 * (7 * 3 + 5) * 3
    assert jobs["search_downstream"] == 2 * (7 * 3 + 5)
    assert jobs["train_diffusion"] == jobs["sample"] == 2 * 3  # specdm, specdm-subset, ldm
    assert jobs["draw_samples"] == 8 + 4 + 4 + 3  # 20 000 for a filter, 10 000 twice; oscd fits into one job each
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
    commands = {stage: commands_of(output)[stage] for stage in stages}
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
    (command,) = commands_of(output)["train-downstream"]
    assert "--network smp:fpn/resnet18/diff " in command and '"steps":77' in command
    assert "--out results/downstream/oscd/smp-fpn-resnet18-diff/real/seed0 " in command


def test_several_gpus_start_as_many_processes(tmp_path):
    target = "results/models/segmunich/specdm/denoiser/config.json"
    wanted = ["--resources", "gpu=4", "--set-resources", "train_diffusion:gpu=4"]
    output = snakemake(tmp_path, "-n", "-p", *wanted, "--", target)
    launched = next(c for c in re.findall(r".*train-diffusion .*", output))
    assert "--gpus 4 " in launched and "--process-a-gpu -- train-diffusion" in launched
    assert "--gpus 1 " in next(c for c in re.findall(r".*train-autoencoder .*", output))
    fewer = snakemake(tmp_path, "-n", "-p", "--resources", "gpu=1", *wanted[2:], "--", target)  # the local profile
    assert "--gpus 1 " in next(c for c in re.findall(r".*train-diffusion .*", fewer))


@pytest.fixture
def job_that_ran_out(tmp_path):
    """Leaves a record of a job: job_that_ran_out("oscd", outcomes...)."""

    def leave(name: str, *outcomes: str) -> None:
        record = attempts.beside(tmp_path / f"results/logs/train_diffusion/{name}.log")
        for i, outcome in enumerate(outcomes):
            attempts.begin(record, attempts.Attempt("", float(i), "node", "", 1, 0))
            attempts.end(record, float(i), outcome, 1, 1.0, 1.0)

    return leave


def test_memory_doubles_after_each_kill_for_it_and_for_nothing_else(tmp_path, job_that_ran_out):
    target = [f"results/models/{name}/specdm/denoiser/config.json" for name in ("segmunich", "oscd")]

    def asked() -> dict[str, str]:
        output = snakemake(tmp_path, "-n", "-p", "--", *target)
        found = re.findall(r"--memory-mb (\d+) .* -- train-diffusion .*--out results/models/(\w+)", output)
        return {name: memory for memory, name in found}

    assert asked() == {"segmunich": "24000", "oscd": "24000"}
    job_that_ran_out("oscd-specdm", "failed", "paused", "cut off")
    assert asked() == {"segmunich": "24000", "oscd": "24000"}
    job_that_ran_out("segmunich-specdm", "out of memory", "paused", "out of memory")
    assert asked() == {"segmunich": "96000", "oscd": "24000"}


def test_only_jobs_with_a_state_are_told_their_files(tmp_path):
    """Hundreds of scenes, inputs of one job, would not fit into its command."""
    output = snakemake(tmp_path, "-n", "-p", "--", "results/tables/downstream.csv", "results/teachers/oscd/config.json")
    launched = re.findall(r"(.*-m specdm\.launch .* -- .*)", output)
    assert len(launched) > 100
    for command in launched:
        assert ("--state " in command) == ('--inputs "${inputs[*]}" --outputs "${outputs[*]}"' in command), command


def test_a_set_is_drawn_in_shards_of_whole_batches(tmp_path):
    more = tmp_path / "more.yaml"
    target = "results/samples/oscd/specdm/meta.json"

    def shards(pairs_a_shard: int) -> list[str]:
        more.write_text(f"pairs_a_shard: {pairs_a_shard}\n")
        output = snakemake(tmp_path, "-n", "-p", "--", target, configfiles=[str(more)])
        drawn, (joined,) = commands_of(output)["sample"], commands_of(output)["join-samples"]
        given = [re.search(r"--shard (\S+)", c)[1] for c in drawn]
        assert sorted(joined.split(" --out")[0].split()) == sorted(
            f"results/shards/oscd/specdm/{shard.replace('/', '-of-')}" for shard in given
        )
        assert len({re.search(r"--state (\S+)", c)[1] for c in drawn}) == len(drawn)
        return sorted(given)

    assert shards(5000) == ["1/1"]
    assert shards(900) == ["1/3", "2/3", "3/3"]  # 2 000 pairs to measure
    assert len(shards(1)) == 63  # in batches of 32


def test_wrong_key_stops_before_the_first_job_with_one_sentence(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("methods: {specdm: {autoencoder: {sad_wieght: 0}}}\n")
    with pytest.raises(AssertionError) as failure:
        snakemake(tmp_path, "-n", configfiles=[str(wrong)])
    assert "methods.specdm.autoencoder.sad_wieght: there is no such key, did you mean 'sad_weight'?" in str(
        failure.value
    )
    assert "Traceback" not in str(failure.value)


@pytest.mark.workflow
def test_small_run_leaves_tables_and_report(small_run):
    results = small_run / "results/test"
    table = pd.read_csv(results / "tables/downstream.csv")
    assert set(zip(table["dataset"], table["network"], table["regime"], strict=True)) == {
        ("oscd", "changeformer-v3", "real"),
        ("oscd", "changeformer-v3", "augmented-x5"),
        ("oscd", "changeformer-v3", "augmented-x5-filtered"),
        ("oscd", "changeformer-v3", "from-real-masks"),
        ("own", "segformer-b0", "real"),
        ("own", "segformer-b0", "augmented-x1"),
    }
    assert table["miou_macro_mean"].between(0, 1).all() and table["mf1_macro_mean"].between(0, 1).all()
    assert table["paper_miou"].isna().all()  # other numbers of patches: not the paper's experiment
    assert len(pd.read_csv(results / "tables/downstream_seeds.csv")) == 6
    searched = pd.read_csv(results / "search/oscd/changeformer-v3/real/search.csv")
    chosen = json.loads((results / "downstream/oscd/changeformer-v3/real/seed0/metrics.json").read_text())
    assert len(searched) == 2
    assert chosen["learning_rate"] == pytest.approx(searched.loc[searched["score"].idxmax(), "learning_rate"])
    for dataset in ("oscd", "own"):
        pictures = (results / f"figures/{dataset}/downstream").iterdir()
        assert {path.name for path in pictures} == {"amount.png", "confusion.png", "predictions.png"}
    assert list(pd.read_csv(results / "tables/synthesis.csv")["dataset"]) == ["oscd", "own"]
    alignment = pd.read_csv(results / "tables/alignment.csv")
    assert set(alignment["dataset"]) == {"oscd", "own"} and {"change angle", "information"} <= set(alignment["scorer"])
    assert (alignment["scaled"].notna() | alignment["because"].notna()).all()
    copies = pd.read_csv(results / "tables/copies.csv")
    assert set(copies["dataset"]) == {"oscd", "own"}
    assert (copies["share_closer"].notna() | copies["because"].notna()).all()
    real, painted = (open_patches(results / name) for name in ("patches/oscd", "conditional/oscd/specdm/masks"))
    of = {name: i for i, name in enumerate(real.index["id"])}
    rows = [of[name.removesuffix("-1")] for name in painted.index["id"]]
    assert len(painted) == 2 * 4  # twice for each of four masks
    np.testing.assert_array_equal(painted.masks, real.masks[rows])
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
def test_every_heavy_job_is_measured_and_counted_in_the_table_of_costs(small_run):
    results = small_run / "results/test"
    table = pd.read_csv(results / "tables/costs.csv").set_index("stage")
    assert table.loc["train_downstream", "jobs"] == 6 and table.loc["train_diffusion", "jobs"] == 2
    assert table.loc["all", "jobs"] == table["jobs"].sum() / 2 and table.loc["all", "failed"] == 0
    assert (table["peak_mib"].dropna() > 50).all()
    for stage in ("prepare", "train_autoencoder", "encode", "draw_samples", "sample", "evaluate", "search_downstream"):
        assert table.loc[stage, "job_hours"] > 0, stage
    versions = json.loads((results / "versions.json").read_text())
    assert versions["packages"]["torch"] and versions["commit"]


def test_the_workflow_follows_snakemakes_conventions():
    done = run_snakemake("--lint", cwd=REPOSITORY)
    assert done.returncode == 0 and "in a good condition" in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("profile", ["slurm", "workflow/profiles/local", "workflow/profiles/demo"])
def test_the_profiles_work_as_typed_in_a_clone(tmp_path, profile):
    """Snakemake finds `slurm` in the root of the clone; its values are those of the installed version."""
    target = "results/demo/tables/downstream.csv" if "demo" in profile else "results/tables/downstream.csv"
    arguments = ["-n", "--profile", profile, "--directory", str(tmp_path)]
    done = run_snakemake(*arguments, "--", target, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs_of(done.stdout + done.stderr)["train_downstream"] >= 6


def test_the_example_of_a_site_is_a_second_profile_that_loses_nothing_of_the_first(tmp_path):
    profiles = REPOSITORY / "workflow/profiles"
    site = yaml.safe_load((profiles / "site.example.yaml").read_text())
    first = yaml.safe_load((profiles / "slurm/profile.yaml").read_text())
    for key in site.keys() & first.keys():  # a key replaces that of the first profile whole
        assert first[key].items() <= site[key].items(), key
    listed = snakemake(tmp_path, "--list-rules")
    assert all(re.search(rf"^{rule} \(", listed, re.MULTILINE) for rule in site["set-resources"])
    arguments = ["-n", "--profile", "slurm", "--profile", f"{profiles}/site.example.yaml", "--directory", str(tmp_path)]
    done = run_snakemake(*arguments, "--", "results/patches/oscd/meta.json", cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_with_a_gpu_can_ask_for_it_as_gres(tmp_path):
    text = "".join(path.read_text() for path in (REPOSITORY / "rules").glob("*.smk"))
    rules = re.split(r"^(?=rule |use rule )", text, flags=re.MULTILINE)
    with_gpu = {re.match(r"rule (\w+)", rule)[1] for rule in rules if "gpu=1," in rule}
    with_gpu |= {new for old, new in re.findall(r"^use rule (\w+) as (\w+)", text, re.MULTILINE) if old in with_gpu}
    listed = yaml.safe_load((REPOSITORY / "workflow/profiles/gres.yaml").read_text())["set-resources"]
    assert set(listed) == with_gpu and len(with_gpu) > 12
    assert all(wanted == {"gpu": 0, "gres": "gpu:1"} for wanted in listed.values())


def test_the_picture_of_the_rules_is_that_of_the_workflow(tmp_path):
    picture = (REPOSITORY / "docs/pictures/rules.svg").read_text()
    drawn = set(re.findall(r">(\w+)</text>", picture))
    jobs = jobs_of(snakemake(tmp_path, "-n"))
    assert drawn == set(jobs), "make graph"


def test_generators_that_can_be_asked_judge_themselves_and_labels_on_demand(tmp_path):
    more = tmp_path / "more.yaml"
    more.write_text("methods: {specdm-no-sad: {diffusion: {levels: streams}}}\n")
    jobs = jobs_of(output := snakemake(tmp_path, "-n", "-p", configfiles=[str(more)]))
    assert jobs["check_information"] == 2 < jobs["check_alignment"] and "check_labels" not in jobs
    (table,) = commands_of(output)["tabulate"]
    own = re.findall(r"--alignment results/metrics/(\w+)/specdm-no-sad/information.json", table)
    assert sorted(own) == ["oscd", "segmunich"]
    assert table.count("--alignment ") == jobs["check_alignment"] + 2
    pictures = re.search(r"Missing output files: results/report.html; (.*)$", output, re.MULTILINE)[1]
    assert pictures.count("/information.png") == 2 and pictures.count("/alignment.png") == jobs["check_alignment"]
    target = "results/labels/oscd/specdm-no-sad/labels.csv"
    jobs = jobs_of(output := snakemake(tmp_path, "-n", "-p", "--", target, configfiles=[str(more)]))
    assert jobs["check_labels"] == jobs["train_diffusion"] == 1 and "sample" not in jobs
    (command,) = commands_of(output)["check-labels"]
    assert "--model results/models/oscd/specdm-no-sad --patches results/patches/oscd --out " in command
