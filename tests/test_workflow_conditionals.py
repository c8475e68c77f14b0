"""What the workflow plans for patches that are drawn for something given, and for images without labels."""

import re

from tests.workflow_runs import REPOSITORY, commands_of, jobs_of, snakemake

FILES = [f"{REPOSITORY}/config/{name}.yaml" for name in ("demo", "conditionals")]
R = "results/conditionals"


def _option(command: str, name: str) -> list[str]:
    return re.findall(rf"--{name} (\S+)", command)


def test_each_kind_is_drawn_from_the_labels_of_the_networks(tmp_path):
    output = snakemake(tmp_path, "-n", "-p", "--", f"{R}/tables/downstream.csv", configfiles=FILES)
    jobs, commands = jobs_of(output), commands_of(output)
    assert jobs["choose_given"] == jobs["draw_given"] == 5  # oscd three kinds, segmunich two
    chosen = {tuple(_option(c, "out") + _option(c, "kind")): c for c in commands["choose-given"]}
    for (out, kind), command in chosen.items():
        n_real = "60" if "segmunich" in out else "40"
        assert _option(command, "n-real") == [n_real] and _option(command, "n") == [str(5 * int(n_real))]
        own = [f"{R}/patches/{'segmunich' if 'segmunich' in out else 'oscd'}"]
        assert _option(command, "unlabelled") == (own if kind == "images" else [])
    drawn = {_option(c, "out")[0]: c for c in commands["sample"] if "--given" in c}
    for out, command in drawn.items():
        given = out.replace("/conditional/", "/given/")
        streams = {"masks": ["mask"], "edited": ["date1", "mask"], "images": ["image"]}[out.rsplit("/", 1)[1]]
        assert _option(command, "given") == [f"{stream}={given}" for stream in streams]
        assert _option(command, "model") == [given.replace("/given/", "/models/").rsplit("/", 1)[0]]
    trained = [c for c in commands["train-downstream"] if "--regime-name self-labelled" in c]
    assert {_option(c, "samples")[0] for c in trained} == {
        f"{R}/conditional/{name}/specdm-subset/images" for name in ("oscd", "segmunich")
    }


def test_only_generators_that_have_labels_left_see_images_without_labels(tmp_path):
    output = snakemake(tmp_path, "-n", "-p", "--", f"{R}/tables/downstream.csv", configfiles=FILES)
    commands = commands_of(output)
    for verb in ("train-autoencoder", "encode"):
        for command in commands[verb]:
            name = re.search(r"patches/(\w+)", command)[1]
            subset = "specdm-subset" in _option(command, "out")[0]
            assert _option(command, "unlabelled") == ([f"{R}/patches/{name}"] if subset else [])
