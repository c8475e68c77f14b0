"""The validated configuration and the helpers that turn it into parameters of rules; nothing here computes."""

import functools
import re
import shlex
from pathlib import Path

from specdm import attempts, slurm
from specdm import config as specdm_config
from specdm.errors import UserError
from specdm.networks import folder_of
from specdm.settings import SceneDataset, SceneSettings, UnlabelledDataset
from specdm.sources.scene_files import input_files, label_files
from specdm.stages import stage_version
from snakemake.exceptions import WorkflowError

try:
    CONFIG = specdm_config.validate(config)
except UserError as error:
    raise WorkflowError(f"configuration: {error}") from None

RESULTS = CONFIG.results
LONGEST_ARGUMENT = 120_000  # characters; Linux takes 131 071
PATCH_FILES = ("images.npy", "masks.npy", "index.parquet", "meta.json")
SAMPLE_FILES = (*PATCH_FILES, "asked.npy")
MODEL_FILES = ("weights.safetensors", "config.json", "history.csv")
# What evaluate draws of a generator.
SET_PICTURES = ["samples.png"] + [
    f"{name}.{suffix}"
    for name in ("spectra", "classes", "power", "curves")
    for suffix in ("png", "pdf")
]
# Where fetch-inception puts what torch-fidelity publishes.
INCEPTION = f"{RESULTS}/encoders/inception/weights-inception-2015-12-05-6726825d.pth"
# A generator's place. The first of several with other seeds has no suffix, and so has the usual number of labels; only
# generators that see no more than the downstream networks depend on labels and their choice.
GENERATOR = "{dataset}/{method}{generator}{labels}{subset}"
GENERATOR_NAME = "{dataset}-{method}{generator}{labels}{subset}"
# A judge's place: trained without one part of all labelled patches, or of those that a generator is shown.
JUDGE = "judges/{dataset}/{shown}{labels}{subset}/fold{fold}"
JUDGE_NAME = "{dataset}-{shown}{labels}{subset}-fold{fold}"
# A downstream training's place, without its seed.
EXPERIMENT = "{dataset}/{network}/{regime}{generator}{subset}"
EXPERIMENT_NAME = "{dataset}-{network}-{regime}{generator}{subset}"
# Heavy jobs run a command under a launcher, which keeps them alive on a cluster (see specdm/launch.py).
LAUNCH = (
    "exec python -m specdm.launch --log {log} --gpus {resources.gpu} --threads {threads}"
    " --memory-mb {resources.mem_mb}"
)
# With a state two jobs may meet, and the second asks whether the first has made the outputs of these inputs. Others are
# not told: a data set of hundreds of scenes would not fit into a command.
LAUNCH_WITH_STATE = (
    "inputs=({input:q}); outputs=({output:q}); "
    f'{LAUNCH} --inputs "${{{{inputs[*]}}}}" --outputs "${{{{outputs[*]}}}}"'
)
# One process on one GPU, or with --set-resources train_diffusion:gpu=4 one on each of several.
LAUNCH_ON_EACH_GPU = f"{LAUNCH_WITH_STATE} --process-a-gpu -- "
LAUNCH_WITH_STATE += " -- "
LAUNCH += " -- "


def names(values):
    """A wildcard's alternatives; never matching when there are none."""
    return "|".join(sorted(values)) or "(?!)"


# The networks by their part of a path.
NETWORK_IN = {folder_of(n): n for d in CONFIG.datasets.values() for n in d.networks}


wildcard_constraints:
    dataset=names(CONFIG.datasets),
    method=names(CONFIG.methods),
    network=names(NETWORK_IN),
    regime=names({r for d in CONFIG.datasets.values() for r in d.all_regimes}),
    seed=r"\d+",
    generator=r"(\.generator[1-9]\d*)?",
    subset=r"(\.subset[1-9]\d*)?",
    shown="full|subset",
    kind="masks|edited|images",
    fold=r"\d+",
    shard=r"[1-9]\d*",
    shards=r"[1-9]\d*",
    labels=r"(\.labels([1-9]\d*|all))?",


# Data sets that nothing is trained on alone.
UNLABELLED = [n for n, d in CONFIG.datasets.items() if isinstance(d, UnlabelledDataset)]
LABELLED = [name for name in CONFIG.datasets if name not in UNLABELLED]


def of_origin(origin):
    """Names of the data sets whose raw files come from `origin`, as a wildcard constraint."""
    return names(
        name for name, dataset in CONFIG.datasets.items() if dataset.origin == origin
    )


def model_files(folders):
    return [f"{folder}/{name}" for folder in folders for name in MODEL_FILES[:2]]


def settings(pick):
    """A params function: the section that pick(wildcards) returns, as JSON for --settings.

    Only this text decides whether a stage reruns, so a data set's or method's settings never touch the others.
    """

    def text(wildcards):
        section = pick(wildcards)
        short = isinstance(
            section, SceneSettings
        )  # hundreds of scenes, each mostly defaults
        settings = section.model_dump_json(exclude_defaults=short)
        if len(settings) > LONGEST_ARGUMENT:
            raise WorkflowError(
                f"configuration: {len(settings)} characters of scenes do not fit into a command: "
                "let one entry with {name} in its paths stand for many scenes."
            )
        return settings

    return text


def trained_part(part):
    return settings(lambda wc: getattr(method_of(wc.dataset, wc.method), part))


def raw_files(wildcards):
    """The marker of a finished download, simulation or acquisition, or the user's own scenes: newer ones are read anew."""
    dataset = CONFIG.datasets[wildcards.dataset]
    if dataset.origin == "acquire":
        marker = f"{RESULTS}/raw/{wildcards.dataset}/acquire.json"
        names = [area.name for area in dataset.acquire.areas]
        return [
            marker,
            *given(
                wildcards.dataset,
                label_files,
                dataset.prepare.scenes,
                Path(dataset.raw),
                names,
            ),
        ]
    if isinstance(dataset, SceneDataset):
        return given(
            wildcards.dataset, input_files, dataset.prepare.scenes, Path(dataset.raw)
        )
    if dataset.origin == "given":
        return []
    return f"{RESULTS}/raw/{wildcards.dataset}/{dataset.origin}.json"


def given(name, files, *arguments):
    """The user's own files of a data set, which must be there."""
    try:
        return files(*arguments)
    except UserError as error:
        raise WorkflowError(f"{name}: {error}") from None


def area_files(wildcards):
    """The vector files of the areas that an acquisition is for."""
    dataset = CONFIG.datasets[wildcards.dataset]
    return [
        str(Path(dataset.raw) / area.file)
        for area in dataset.acquire.areas
        if area.file
    ]


def where(name):
    """A params function: the folder of the input files of that name."""
    return lambda wildcards, input: str(Path(input[name][0]).parent)


def model_of(wildcards, input):
    """A params function: the folder of the generator that an input named denoiser belongs to."""
    return str(Path(input.denoiser[0]).parents[1])


def memory(base_mb):
    """A resource function: so much, twice as much after each kill for use of memory, and never more for another reason."""

    def mem_mb(wildcards, rulename):
        log = getattr(rules, rulename).log[0].format(**dict(wildcards.items()))
        past = attempts.read(attempts.beside(Path(log)))
        return base_mb * 2 ** attempts.times_out_of_memory(
            past, slurm.ran_out_of_memory
        )

    return mem_mb


def longer_each_time(minutes):
    """A resource function: the time limit of a job that cannot go on where it was stopped."""
    return lambda wildcards, attempt: minutes * attempt
