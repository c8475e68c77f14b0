"""What the rules of generators look up in the configuration: where they start, what they are shown, who judges them."""

from math import ceil


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


def unlabelled_sets(wildcards):
    """Folders of the patch sets whose images a generator sees without labels, its own for those it sees no labels of."""
    method = method_of(wildcards.dataset, wildcards.method)
    if not method.unlabelled or method.diffusion.levels != "streams":
        return []
    others = method.generator_data == "subset" and labels_of(wildcards) != "all"
    return [
        f"{RESULTS}/patches/{name}"
        for name in CONFIG.datasets[wildcards.dataset].unlabelled
        if name != wildcards.dataset or others
    ]


def unlabelled_files(wildcards):
    return [
        f"{folder}/{name}"
        for folder in unlabelled_sets(wildcards)
        for name in PATCH_FILES
    ]


def images_to_label(wildcards):
    """Folders of the patch sets whose images a generator labels: those whose labels it has not seen."""
    dataset = CONFIG.datasets[wildcards.dataset]
    subset = method_of(wildcards.dataset, wildcards.method).generator_data == "subset"
    own = [wildcards.dataset] if subset and labels_of(wildcards) != "all" else []
    others = [name for name in dataset.unlabelled if name != wildcards.dataset]
    return [f"{RESULTS}/patches/{name}" for name in own + others]


def n_given(wildcards):
    """Patches to draw for what is given."""
    dataset = CONFIG.datasets[wildcards.dataset]
    return dataset.n_given(wildcards.method, wildcards.kind, labels_of(wildcards))


def given_model(wildcards):
    """Folder of the generator that draws for what is given; one that sees all labels is the same whatever is given."""
    place = f"{wildcards.dataset}/{wildcards.method}{wildcards.generator}"
    if method_of(wildcards.dataset, wildcards.method).generator_data == "subset":
        place += wildcards.labels + wildcards.subset
    return f"{RESULTS}/models/{place}"


def given_streams(kind, folder):
    """The options --given of what is chosen."""
    streams = {"masks": ["mask"], "edited": ["date1", "mask"], "images": ["image"]}
    return repeated("--given", [f"{stream}={folder}" for stream in streams[kind]])


def given_sampling(wildcards):
    """How patches are drawn for what is given: its fractions are known, and there is one order."""
    sampling = method_of(wildcards.dataset, wildcards.method).sampling
    return sampling.model_copy(update={"want": {}, "order": "together"})


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


def initial_folder(wildcards, part):
    """The trained model that a generator's training starts from, if any."""
    start = CONFIG.datasets[wildcards.dataset].init_from
    if start in CONFIG.datasets:
        return (
            f"{RESULTS}/models/{start}/{wildcards.method}{wildcards.generator}/{part}"
        )
    return f"{start}/{part}" if start else ""


def initial_options(wildcards, part):
    folder = initial_folder(wildcards, part)
    return f"--init-from {shlex.quote(folder)}" if folder else ""


def initial_files(part):
    """An input function: the files of the model that the training of a part starts from."""

    def files(wildcards):
        folder = initial_folder(wildcards, part)
        return [f"{folder}/{name}" for name in MODEL_FILES[:2]] if folder else []

    return files


def view_options(diffusion):
    return f"--augment {diffusion.augment}" + (
        " --swap-dates" if diffusion.swap_dates else ""
    )


def inception_file():
    """The weights of the features inception, where they are wanted."""
    wanted = CONFIG.evaluation
    if "inception" not in wanted.features:
        return []
    if wanted.inception_weights != "published":
        return wanted.inception_weights
    return INCEPTION


def measured(wildcards):
    """What is measured, without what is compared elsewhere: other numbers of steps must not measure all anew."""
    return CONFIG.evaluation.model_copy(update={"sampling_steps": ()})


def inception_option(wildcards, input):
    return (
        f"--inception-weights {shlex.quote(str(input.inception))}"
        if input.inception
        else ""
    )


def sampling_with_steps(wildcards):
    sampling = method_of(wildcards.dataset, wildcards.method).sampling
    return sampling.model_copy(update={"n_steps": int(wildcards.steps)})


def with_each_number_of_steps(file):
    return lambda wildcards: [
        f"{RESULTS}/metrics/{wildcards.dataset}/{wildcards.method}/steps{n}/{file}"
        for n in CONFIG.evaluation.sampling_steps
    ]


def asks_itself(dataset, method):
    """Whether a generator can tell what image and mask say of each other."""
    return method_of(dataset, method).diffusion.levels == "streams"


def own_information(wildcards):
    """Files of check_information of the generators that can be asked."""
    return [
        f"{RESULTS}/metrics/{name}/{method}/information.json"
        for name, dataset in CONFIG.datasets.items()
        for method in dataset.methods
        if asks_itself(name, method)
    ]


def pictures_of(dataset, method):
    """Pictures of a generator that the report shows."""
    own = ["information.png"] if asks_itself(dataset, method) else []
    return [*SET_PICTURES, "alignment.png", *own, "copies.png"]


def n_samples(wildcards):
    """Pairs of a synthetic set."""
    dataset = CONFIG.datasets[wildcards.dataset]
    return dataset.n_samples(wildcards.method, CONFIG.evaluation.n_samples)


def shard_files(wildcards):
    """Files of all shards of a synthetic set; the shards are of whole batches."""
    n = n_samples(wildcards)
    batch = method_of(wildcards.dataset, wildcards.method).sampling.batch
    m = min(ceil(n / CONFIG.pairs_a_shard), ceil(n / batch))
    place = f"{RESULTS}/shards/{GENERATOR}".format(**dict(wildcards.items()))
    return [
        f"{place}/{k}-of-{m}/{name}" for k in range(1, m + 1) for name in SAMPLE_FILES
    ]
