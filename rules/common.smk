"""The validated configuration and the helpers that turn it into parameters of rules; nothing here computes."""

import functools
import re
import shlex
from pathlib import Path

from specdm import config as specdm_config
from specdm.errors import UserError
from specdm.networks import folder_of
from specdm.settings import SceneDataset, SceneSettings
from specdm.sources.scene_files import input_files
from specdm.stages import stage_version
from snakemake.exceptions import WorkflowError

try:
    CONFIG = specdm_config.validate(config)
except UserError as error:
    raise WorkflowError(f"configuration: {error}") from None

RESULTS = CONFIG.results
LONGEST_ARGUMENT = 120_000  # characters; Linux takes 131 071
PATCH_FILES = ("images.npy", "masks.npy", "index.parquet", "meta.json")
MODEL_FILES = ("weights.safetensors", "config.json", "history.csv")
# A generator's place. The first of several with other seeds has no suffix, and so has the usual number of labels; only
# generators that see no more than the downstream networks depend on labels and their choice.
GENERATOR = "{dataset}/{method}{generator}{labels}{subset}"
GENERATOR_NAME = GENERATOR.replace("/", "-")
# A judge's place: trained without one part of all labelled patches, or of those that a generator is shown.
JUDGE = "judges/{dataset}/{shown}{labels}{subset}/fold{fold}"
JUDGE_NAME = "{dataset}-{shown}{labels}{subset}-fold{fold}"
# One process on one GPU; on more of them, by --set-resources train_diffusion:gpu=4, one process each.
EXEC = (
    "launch='python -m specdm'; [ {resources.gpu} -le 1 ] || launch='python -m torch.distributed.run --standalone"
    " --nproc-per-node {resources.gpu} -m specdm'; exec $launch"
)


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
    fold=r"\d+",
    labels=r"(\.labels([1-9]\d*|all))?",


def of_origin(origin):
    """Names of the data sets whose raw files come from `origin`, as a wildcard constraint."""
    return names(
        name for name, dataset in CONFIG.datasets.items() if dataset.origin == origin
    )


@functools.cache
def method_of(dataset, method):
    return CONFIG.method(dataset, method)


def number(suffix):
    """Which of several: "" -> 0, ".generator2" -> 2."""
    return int(re.sub(r"\D", "", suffix) or 0)


def generator_seed(wildcards):
    return CONFIG.seed + number(wildcards.generator)


def subset_seed(wildcards):
    return CONFIG.seed + number(wildcards.subset)


def labels_of(wildcards):
    """Labelled patches that a generator of a method of generator_data: subset sees: a number, or all."""
    if wildcards.labels == ".labelsall":
        return "all"
    return number(wildcards.labels) or CONFIG.datasets[wildcards.dataset].n_real


def shown_options(wildcards):
    """Options that show a stage only the labelled patches of the downstream networks."""
    n_real = labels_of(wildcards)
    if n_real == "all":
        return ""
    return f"--n-real {n_real} --subset-seed {subset_seed(wildcards)} "


def subset_options(wildcards):
    """The same, where a generator is to see no others."""
    full = method_of(wildcards.dataset, wildcards.method).generator_data == "full"
    return "" if full else shown_options(wildcards)


def full_judges(wildcards):
    """Folders of the judges that know all of the real training split but one part each."""
    return [
        f"{RESULTS}/judges/{wildcards.dataset}/full/fold{k}"
        for k in range(CONFIG.evaluation.folds)
    ]


def judges_of(wildcards):
    """Folders of the judges that know no more labels than a generator does."""
    if not subset_options(wildcards):
        return full_judges(wildcards)
    shown = f"subset{wildcards.labels}{wildcards.subset}"
    return [
        f"{RESULTS}/judges/{wildcards.dataset}/{shown}/fold{k}"
        for k in range(CONFIG.evaluation.folds)
    ]


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
