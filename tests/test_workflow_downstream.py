"""What the workflow plans for downstream trainings: seeds, labels, controls, searches and encoders, by dry runs."""

import re

import pytest
import yaml

from tests.workflow_runs import commands_of, jobs_of, snakemake


@pytest.fixture
def planned(tmp_path):
    """planned(target, changed configuration) -> (jobs by rule, commands by verb) of a dry run."""

    def plan(target: str, changed: dict | None = None) -> tuple[dict[str, int], dict[str, list[str]]]:
        more = tmp_path / "more.yaml"
        more.write_text(yaml.safe_dump(changed or {"seed": 0}))
        output = snakemake(tmp_path, "-n", "-p", "--", target, configfiles=[str(more)])
        return jobs_of(output), commands_of(output)

    return plan


def option(command: str, name: str) -> str:
    """The value of an option in a command."""
    return re.search(rf"{name} ('[^']*'|\S+)", command)[1]


def the(commands: list[str], part: str) -> str:
    """The one command that holds a text."""
    (found,) = [c for c in commands if part in c]
    return found


def test_generator_subset_and_training_have_seeds_of_their_own(planned):
    run = "results/downstream/oscd/fc-siam-diff/augmented-x5-subset.generator2.subset1/seed7"
    _, commands = planned(f"{run}/metrics.json", {"seed": 10, "seeds": [7], "generators": 3, "subsets": 2})
    command = the(commands["train-downstream"], run)
    generator = "oscd/specdm-subset.generator2.subset1"
    assert option(command, "--samples") == f"results/samples/{generator}"
    seeds = [option(command, name) for name in ("--seed", "--subset-seed", "--generator-seed")]
    assert seeds == ["7", "11", "12"]
    for verb in ("train-autoencoder", "train-diffusion", "sample"):
        assert option(the(commands[verb], generator), "--seed") == "12"
    assert "--n-real 100 --subset-seed 11" in the(commands["train-autoencoder"], generator)
    # the search is made once, with the first of all
    (search,) = commands["search-downstream"]
    assert option(search, "--samples") == "results/samples/oscd/specdm-subset" and option(search, "--seed") == "7"


def test_a_generator_that_sees_all_labels_is_shared_by_the_subsets(planned):
    run = "results/downstream/oscd/fc-siam-diff/augmented-x5.generator1.subset1/seed0"
    _, commands = planned(f"{run}/metrics.json", {"generators": 2, "subsets": 2})
    assert option(the(commands["train-downstream"], run), "--samples") == "results/samples/oscd/specdm.generator1"
    assert not any("--n-real" in c for c in commands["train-autoencoder"])


def test_a_filter_knows_no_more_labels_than_the_generator(planned):
    first = "results/downstream/oscd/fc-siam-diff/augmented-x5-filtered/seed0"
    changed = {"datasets": {"oscd": {"regimes": {"few": {"real": 1, "synthetic": 1, "pool": 3, "keep": "best"}}}}}
    changed["datasets"]["oscd"]["regimes"]["few"] |= {"method": "specdm-subset", "labels": 30}
    _, commands = planned(f"{first}/metrics.json", changed)
    assert option(the(commands["train-downstream"], first), "--filter") == "results/filters/oscd/specdm"
    assert int(option(commands["sample"][0], "--n")) == 2000  # to measure; the pool of 2 x 5 x 100 is smaller
    (scored,) = commands["filter-samples"]
    assert re.findall(r"judges/\S+", scored) == [f"judges/oscd/full/fold{k}" for k in range(3)]
    assert "--n-real" not in scored
    assert sorted(option(c, "--fold") for c in commands["train-teacher"]) == ["1/3", "2/3", "3/3"]
    run = "results/downstream/oscd/fc-siam-diff/few.subset1/seed0"
    changed |= {"subsets": 2, "downstream": {"search": {"learning_rates": [1]}}}
    _, commands = planned(f"{run}/metrics.json", changed)
    generator, judges = "oscd/specdm-subset.labels30.subset1", "judges/oscd/subset.labels30.subset1"
    (scored,) = commands["filter-samples"]
    assert option(scored, "--samples") == f"results/samples/{generator}"
    assert re.findall(r"judges/\S+", scored) == [f"{judges}/fold{k}" for k in range(3)]
    assert len(commands["train-teacher"]) == 3
    assert all("--n-real 30 --subset-seed 1" in c for c in [scored, *commands["train-teacher"]])


def test_the_table_takes_all_seeds_together_and_real_patches_need_no_generator(planned):
    changed = {"generators": 2, "subsets": 2, "seeds": [0], "datasets": {"segmunich": None}}
    jobs, commands = planned("results/tables/downstream.csv", changed)
    regimes = [re.search(r"downstream/oscd/[\w-]+/([\w.-]+)/seed0", c)[1] for c in commands["train-downstream"]]
    counts = {name: len([r for r in regimes if r.split(".")[0] == name]) for name in ("real", "augmented-x5-subset")}
    assert counts == {"real": 3 * 2, "augmented-x5-subset": 3 * 2 * 2}
    # specdm and ldm twice, specdm-subset for each subset twice
    assert jobs["train_diffusion"] == 2 + 2 + 4
    (table,) = commands["tabulate-downstream"]
    assert len(re.findall(r"\S+metrics.json", table)) == jobs["train_downstream"] == len(regimes)
    assert "--single-stream ldm" in table


def test_the_label_curve_trains_generators_on_no_more_labels_than_the_networks(planned):
    changed = {"datasets": {"segmunich": None}, "seeds": [0]}
    jobs, commands = planned("results/tables/label_curve.csv", changed)
    trained = commands["train-downstream"]
    assert jobs["train_downstream"] == 8  # 25, 50, 100 and all, real and augmented
    few = the(trained, "augmented-x5-subset-labels-25/seed0")
    assert option(few, "--samples") == "results/samples/oscd/specdm-subset.labels25"
    assert '"labels":25' in option(few, "--regime") and option(few, "--n-real") == "100"
    usual = the(trained, "changeformer-v3/augmented-x5-subset/seed0")
    assert option(usual, "--samples") == "results/samples/oscd/specdm-subset" and '"labels":null' in usual
    seen = {option(c, "--out"): c for c in commands["train-autoencoder"]}
    assert "--n-real 25 " in seen["results/models/oscd/specdm-subset.labels25/autoencoder"]
    assert "--n-real" not in seen["results/models/oscd/specdm-subset.labelsall/autoencoder"]
    assert len(seen) == 4


def test_all_labels_are_chosen_once_however_many_subsets_there_are(planned):
    changed = {"datasets": {"segmunich": None}, "seeds": [0], "subsets": 2}
    _, commands = planned("results/tables/label_curve.csv", changed)
    runs = [option(c, "--out").split("changeformer-v3/")[1] for c in commands["train-downstream"]]
    assert len(runs) == 2 * (3 * 2 + 1)  # regimes x (25, 50 and 100 labels twice, and all)
    assert [r for r in runs if "labels-all" in r and "subset1" in r] == []
    generators = [option(c, "--out").split("/")[3] for c in commands["train-autoencoder"]]
    assert [g for g in generators if "labelsall" in g] == ["specdm-subset.labelsall"]
    assert len(generators) == 3 * 2 + 1


def test_controls_get_what_they_need(planned):
    changed = {"datasets": {"segmunich": None}, "seeds": [0]}
    jobs, commands = planned("results/tables/controls.csv", changed)
    trained = {re.search(r"--out \S+/([\w-]+)/seed0", c)[1]: c for c in commands["train-downstream"]}
    assert set(trained) == {
        "real",
        "augmented-x5",
        "real-all",
        "real-reconstructed",
        "augmented-x5-shuffled",
        "augmented-x5-predicted",
        "pretrained-x5",
    }
    assert option(trained["real-reconstructed"], "--autoencoder") == "results/models/oscd/specdm/autoencoder"
    assert "--samples" not in trained["real-reconstructed"]
    teacher = "results/downstream/oscd/changeformer-v3/real/seed0"
    assert option(trained["augmented-x5-predicted"], "--teacher") == teacher
    assert not any("--teacher" in c for name, c in trained.items() if name != "augmented-x5-predicted")
    assert jobs["train_diffusion"] == 1


def test_a_search_precedes_every_training_and_a_single_candidate_needs_none(planned):
    run = "results/downstream/oscd/fc-siam-diff/real/seed2/metrics.json"
    jobs, commands = planned(run)
    assert option(commands["train-downstream"][0], "--choice") == "results/search/oscd/fc-siam-diff/real/choice.json"
    assert jobs["search_downstream"] == 1 and option(commands["search-downstream"][0], "--seed") == "0"
    jobs, commands = planned(run, {"downstream": {"search": {"learning_rates": [1]}}})
    assert "search_downstream" not in jobs and "--choice" not in commands["train-downstream"][0]


def test_encoders_come_from_the_hub_or_a_file_as_configured(planned, tmp_path):
    run = "results/downstream/segmunich/segformer-b5/real/seed0/metrics.json"
    jobs, commands = planned(run)
    assert option(commands["train-downstream"][0], "--encoder-weights") == "results/encoders/mit_b5"
    assert jobs["fetch_encoder"] == 1 and "mit_b5 " in commands["fetch-encoder"][0]
    weights = tmp_path / "my weights.safetensors"
    weights.touch()
    changed = {"downstream": {"overrides": {"segformer-b5": {"encoder_weights": str(weights)}}}}
    jobs, commands = planned(run, changed)
    assert option(commands["train-downstream"][0], "--encoder-weights") == f"'{weights}'"
    assert "fetch_encoder" not in jobs
    jobs, commands = planned("results/downstream/oscd/changeformer-v3/real/seed0/metrics.json")
    assert "fetch_encoder" not in jobs and "--encoder-weights" not in commands["train-downstream"][0]
