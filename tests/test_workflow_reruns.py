"""What a change makes the workflow do again, and what it does not."""

import re
import shutil
from pathlib import Path

import pytest

from specdm.stages import stage_version
from tests.workflow_runs import REPOSITORY, SMALL, jobs_of, snakemake


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
        "draw_samples": 1,
        "sample": 1,
        "filter_samples": 1,
        "choose_given": 1,
        "draw_given": 1,
        "evaluate": 1,
        "check_alignment": 1,
        "check_information": 1,
        "check_copies": 1,
        "search_downstream": 3,  # the augmented regimes of oscd; its real regime stays
        "train_downstream": 3,
        "downstream_table": 1,
        "draw_downstream": 1,
        "synthesis_table": 1,
        "report": 1,
        "costs_table": 1,
    }


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the repository's code, to change."""
    for name in ("specdm", "rules", "config", "envs", "docs"):
        shutil.copytree(REPOSITORY / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "requirements.lock"):
        shutil.copy2(REPOSITORY / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


def replanned(small_run: Path, copy: Path, *arguments: str) -> dict[str, int]:
    """Jobs that the copy would run in the finished run, as the profiles decide it."""
    triggers = ["--rerun-triggers", "mtime", "params", "input"]
    configfiles = [*SMALL, f"{small_run}/own.yaml"]
    output = snakemake(small_run, "-n", *triggers, *arguments, configfiles=configfiles, repository=copy)
    jobs = jobs_of(output)
    # They read files of the repository, which lie elsewhere now.
    elsewhere = ("all", "downstream_table", "synthesis_table", "report", "costs_table", "versions")
    return {rule: n for rule, n in jobs.items() if rule not in elsewhere}


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.workflow
def test_a_raised_stage_version_reruns_what_depends_on_it_and_nothing_else(small_run, copy):
    assert replanned(small_run, copy) == {}
    stage = copy / "specdm/stages/train_diffusion.py"
    version = stage_version("train_diffusion")
    change(stage, f"STAGE_VERSION = {version}", f"STAGE_VERSION = {version + 1}")
    jobs = replanned(small_run, copy)
    assert jobs["train_diffusion"] == jobs["sample"] == jobs["evaluate"] == 2
    assert not {"prepare", "train_autoencoder", "encode", "train_teacher", "train_judge"} & set(jobs)
    assert jobs["train_downstream"] == 4  # the augmented ones; real patches alone know no generator


@pytest.mark.workflow
def test_a_rule_can_be_run_again_alone_and_the_chain_stopped_at_one(small_run):
    configfiles = [*SMALL, f"{small_run}/own.yaml"]
    jobs = jobs_of(snakemake(small_run, "-n", "-R", "train_diffusion", configfiles=configfiles))
    assert jobs["train_diffusion"] == 2 and jobs["train_downstream"] == 4 and "encode" not in jobs
    jobs = jobs_of(snakemake(small_run, "-n", "-F", "--until", "sample", configfiles=configfiles))
    assert jobs["sample"] == 2 and not {"train_downstream", "evaluate", "report"} & set(jobs)
    jobs = jobs_of(
        snakemake(small_run, "-n", "-F", "--", "results/test/samples/own/specdm/meta.json", configfiles=configfiles)
    )
    assert jobs["sample"] == jobs["prepare"] == 1 and "simulate" not in jobs


@pytest.mark.workflow
def test_a_raised_version_of_joining_redraws_the_shards_that_are_gone(small_run, copy):
    change(copy / "specdm/stages/join_samples.py", "STAGE_VERSION = 1", "STAGE_VERSION = 2")
    jobs = replanned(small_run, copy)
    assert jobs["sample"] == jobs["draw_samples"] == 2 and "train_diffusion" not in jobs


@pytest.mark.workflow
def test_cosmetics_resources_and_environments_rerun_nothing(small_run, copy):
    change(copy / "specdm/stages/train_diffusion.py", "N_SHOWN = 6", "N_SHOWN = 6  # a comment")
    change(copy / "rules/diffusion.smk", "mem_mb=memory(24000)", "mem_mb=memory(48000)")
    change(copy / "rules/diffusion.smk", "runtime=1440", "runtime=60")
    change(copy / "rules/diffusion.smk", '"train-diffusion --latents', '"train-diffusion   --latents')
    change(copy / "rules/diffusion.smk", "Training the denoiser", "Training a denoiser")
    change(copy / "envs/specdm.yaml", "name: specdm", "name: specdm2")
    change(copy / "config/config.yaml", "\n", "\n# A remark.\n")
    assert replanned(small_run, copy) == {}
    threads = ["--set-threads", "train_diffusion=3", "--set-resources", "train_autoencoder:runtime=7"]
    assert replanned(small_run, copy, *threads) == {}


@pytest.mark.workflow
def test_a_setting_of_one_data_set_does_not_touch_the_others(small_run, copy):
    more = small_run / "touch.yaml"
    more.write_text("datasets: {own: {prepare: {min_labelled: 0.06}}}\n")
    output = snakemake(small_run, "-n", "-p", configfiles=[*SMALL, f"{small_run}/own.yaml", str(more)])
    made = re.findall(r"--out (results/test/\S+)", output)
    assert len(made) > 8
    shared = ("tables", "report.html", "versions.json")
    assert {name for name in made if "own" not in name.split("/")} <= {
        name for name in made if name.removeprefix("results/test/").startswith(shared)
    }
