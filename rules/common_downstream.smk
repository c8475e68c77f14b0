"""What the rules of downstream networks look up in the configuration: regimes, what they are trained on, tables."""

import json


def regime_of(wildcards):
    """What a regime is, without the networks that get it: another network must not retrain the others."""
    regime = CONFIG.datasets[wildcards.dataset].all_regimes[wildcards.regime]
    return regime.model_copy(update={"networks": "all"})


def downstream_of(wildcards):
    return CONFIG.downstream_of(NETWORK_IN[wildcards.network])


def generator_of(wildcards):
    """The place of the generator that a regime's synthetic patches come from."""
    regime = regime_of(wildcards)
    if method_of(wildcards.dataset, regime.method).generator_data == "full":
        return f"{wildcards.dataset}/{regime.method}{wildcards.get('generator', '')}"
    return place_of_labels(wildcards)


def place_of_labels(wildcards):
    """The same of one that depends on the labelled patches of a regime and on their choice."""
    dataset, regime = CONFIG.datasets[wildcards.dataset], regime_of(wildcards)
    place = f"{wildcards.dataset}/{regime.method}{wildcards.get('generator', '')}"
    if regime.labels == "all":  # there is only one choice of all labels
        return f"{place}.labelsall"
    usual = regime.labels in (None, dataset.n_real)
    labels = "" if usual else f".labels{regime.labels}"
    return f"{place}{labels}{wildcards.get('subset', '')}"


def sources_of(wildcards):
    """What a training reads besides the real patches: option -> (folder or file, files that must be there)."""
    dataset, regime = CONFIG.datasets[wildcards.dataset], regime_of(wildcards)
    wanted = downstream_of(wildcards)
    subset = wildcards.get("subset", "")
    seed = wildcards.get("seed", CONFIG.seeds[0])
    found = {}
    if regime.given != "nothing":
        found["--samples"] = (
            f"{RESULTS}/conditional/{place_of_labels(wildcards)}/{regime.given}",
            PATCH_FILES,
        )
    elif regime.synthetic and regime.images == "drawn":
        found["--samples"] = (
            f"{RESULTS}/samples/{generator_of(wildcards)}",
            PATCH_FILES,
        )
        if regime.keep == "best":
            found["--filter"] = (
                f"{RESULTS}/filters/{generator_of(wildcards)}",
                ("scores.csv", "masks.npy", "filter.json"),
            )
    elif regime.synthetic:
        folder = f"{RESULTS}/models/{generator_of(wildcards)}/autoencoder"
        found["--autoencoder"] = (folder, MODEL_FILES[:2])
    if regime.masks == "predicted":
        place = f"{wildcards.dataset}/{wildcards.network}/{dataset.real_alone(regime)}{subset}/seed{seed}"
        found["--teacher"] = (f"{RESULTS}/downstream/{place}", MODEL_FILES[:2])
    if wanted.encoder_weights == "imagenet":
        encoder = encoder_of(NETWORK_IN[wildcards.network])
        found["--encoder-weights"] = (
            f"{RESULTS}/encoders/{encoder}",
            ("model.safetensors", "source.json"),
        )
    elif wanted.encoder_weights != "none":
        found["--encoder-weights"] = (wanted.encoder_weights, ())
    return found


def source_files(wildcards):
    return [
        f"{place}/{name}" if names else place
        for place, names in sources_of(wildcards).values()
        for name in names or ("",)
    ]


def source_options(wildcards):
    return " ".join(
        f"{option} {shlex.quote(place)}"
        for option, (place, _) in sources_of(wildcards).items()
    )


def choice_file(wildcards):
    """Where learning rate and steps are chosen on validation, if they are."""
    if len(downstream_of(wildcards).search.candidates) == 1:
        return []
    place = f"{wildcards.dataset}/{wildcards.network}/{wildcards.regime}"
    return f"{RESULTS}/search/{place}/choice.json"


def runs_of(dataset, network, regime):
    """The parts of paths of a regime's trainings: with every generator, choice of labels and seed."""
    wanted = CONFIG.datasets[dataset].all_regimes[regime]
    return [
        f"{dataset}/{folder_of(network)}/{regime}{suffix('generator', g)}{suffix('subset', s)}/seed{seed}"
        for g in range(CONFIG.generators if wanted.synthetic else 1)
        for s in range(CONFIG.subsets if wanted.labels != "all" else 1)
        for seed in CONFIG.seeds
    ]


def suffix(what, i):
    """The first of several has none."""
    return f".{what}{i}" if i else ""


def downstream_metrics(table):
    """An input function: metrics and confusion matrices of the trainings that a table holds."""
    return lambda wildcards: [
        f"{RESULTS}/downstream/{run}/{file}"
        for name, dataset in CONFIG.datasets.items()
        for network, regime in dataset.table(table)
        for run in runs_of(name, network, regime)
        for file in ("metrics.json", "confusion_groups.npy")
    ]


def per_method(pattern):
    first = {"generator": "", "labels": "", "subset": ""}
    return lambda wildcards: [
        pattern.format(dataset=name, method=method, **first)
        for name, dataset in CONFIG.datasets.items()
        for method in dataset.methods
    ]


def single_stream():
    """Options that name the methods of one stream, the paper's baseline, for the table that compares with them."""
    methods = sorted(
        m for m, s in CONFIG.methods.items() if s.autoencoder.streams == "single"
    )
    return " ".join(f"--single-stream {m}" for m in methods)


def repeated(option, paths):
    return " ".join(f"{option} {path}" for path in paths)


def drawn_files(name):
    """An input function: one file of every training of a data set that the headline table holds."""
    return lambda wildcards: [
        f"{RESULTS}/downstream/{run}/{name}"
        for network, regime in CONFIG.datasets[wildcards.dataset].table("downstream")
        for run in runs_of(wildcards.dataset, network, regime)
    ]


def page_note():
    """The report's --note: sentences for its top, else nothing."""
    simulated = [
        name
        for name, dataset in CONFIG.datasets.items()
        if dataset.origin == "simulate"
    ]
    sentences = []
    if simulated:
        sentences.append(f"The images of {' and '.join(simulated)} are simulated.")
    if shown_configuration() != CONFIG.model_dump_json():
        sentences.append("Of many scenes the configuration shows the first only.")
    return f"--note {shlex.quote(' '.join(sentences))}" if sentences else ""


@functools.cache
def shown_configuration():
    """The whole configuration as JSON for the report; where it does not fit into a command, of many scenes the first."""
    whole = CONFIG.model_dump_json()
    if len(whole) <= LONGEST_ARGUMENT // 2:
        return whole
    short = CONFIG.model_dump(mode="json")
    for dataset in short["datasets"].values():
        if "scenes" in dataset["prepare"]:
            dataset["prepare"]["scenes"] = dataset["prepare"]["scenes"][:1]
    return json.dumps(short)
