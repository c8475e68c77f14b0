"""Downstream networks on real, synthetic and mixed patches."""

EXPERIMENT = "{dataset}/{network}/{regime}{generator}{subset}"


def regime_of(wildcards):
    """What a regime is, without the networks that get it: another network must not retrain the others."""
    regime = CONFIG.datasets[wildcards.dataset].all_regimes[wildcards.regime]
    return regime.model_copy(update={"networks": "all"})


def downstream_of(wildcards):
    return CONFIG.downstream_of(NETWORK_IN[wildcards.network])


def generator_of(wildcards):
    """The place of the generator that a regime's synthetic patches come from."""
    dataset, regime = CONFIG.datasets[wildcards.dataset], regime_of(wildcards)
    place = f"{wildcards.dataset}/{regime.method}{wildcards.get('generator', '')}"
    if method_of(wildcards.dataset, regime.method).generator_data == "full":
        return place
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
    if regime.synthetic and regime.images == "drawn":
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


rule search_downstream:
    """Choose learning rate and steps of a network on a regime, on validation and at the same cost for every regime."""
    input:
        rules.prepare.output,
        source_files,
    output:
        f"{RESULTS}/search/{{dataset}}/{{network}}/{{regime}}/choice.json",
        f"{RESULTS}/search/{{dataset}}/{{network}}/{{regime}}/search.csv",
    log:
        f"{RESULTS}/logs/search_downstream/{{dataset}}-{{network}}-{{regime}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/search_downstream/{{dataset}}-{{network}}-{{regime}}.jsonl"
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=1440,
        mem_mb=24000,
    params:
        patches=rules.prepare.params.out,
        sources=source_options,
        out=f"{RESULTS}/search/{{dataset}}/{{network}}/{{regime}}",
        state=f"{RESULTS}/state/search_downstream/{{dataset}}-{{network}}-{{regime}}",
        regime=settings(regime_of),
        n_real=lambda wc: CONFIG.datasets[wc.dataset].n_real,
        network=lambda wc: NETWORK_IN[wc.network],
        settings=settings(downstream_of),
        seed=CONFIG.seeds[0],
        subset_seed=CONFIG.seed,
        version=stage_version("search_downstream"),
    message:
        "Searching the training of {wildcards.network} on {wildcards.dataset} {wildcards.regime}"
    shell:
        "exec python -m specdm search-downstream --patches {params.patches} {params.sources} --out {params.out}"
        " --state {params.state} --dataset {wildcards.dataset} --network {params.network:q}"
        " --regime-name {wildcards.regime} --regime {params.regime:q} --n-real {params.n_real}"
        " --settings {params.settings:q} --seed {params.seed} --subset-seed {params.subset_seed}"
        " --max-minutes $(({resources.runtime} * 93 / 100)) > {log} 2>&1"


rule train_downstream:
    """Train a downstream network on a regime with a seed, and test it once on real patches."""
    input:
        rules.prepare.output,
        source_files,
        choice=choice_file,
    output:
        multiext(
            f"{RESULTS}/downstream/{EXPERIMENT}/seed{{seed}}/",
            *MODEL_FILES,
            "ids.json",
            "confusion.npy",
            "confusion_groups.npy",
            "predictions.npy",
            "metrics.json",
        ),
    log:
        f"{RESULTS}/logs/train_downstream/{EXPERIMENT.replace('/', '-')}-seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_downstream/{EXPERIMENT.replace('/', '-')}-seed{{seed}}.jsonl"
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=720,
        mem_mb=24000,
    params:
        patches=rules.prepare.params.out,
        sources=source_options,
        choice=lambda wc: f"--choice {choice_file(wc)}" if choice_file(wc) else "",
        out=f"{RESULTS}/downstream/{EXPERIMENT}/seed{{seed}}",
        state=f"{RESULTS}/state/train_downstream/{EXPERIMENT.replace('/', '-')}-seed{{seed}}",
        regime=settings(regime_of),
        n_real=lambda wc: CONFIG.datasets[wc.dataset].n_real,
        network=lambda wc: NETWORK_IN[wc.network],
        settings=settings(downstream_of),
        subset_seed=subset_seed,
        generator_seed=generator_seed,
        version=stage_version("train_downstream"),
    message:
        "Training {wildcards.network} on {wildcards.dataset} {wildcards.regime}, seed {wildcards.seed}"
    shell:
        "exec python -m specdm train-downstream --patches {params.patches} {params.sources} {params.choice}"
        " --out {params.out} --state {params.state} --dataset {wildcards.dataset} --network {params.network:q}"
        " --regime-name {wildcards.regime} --regime {params.regime:q} --n-real {params.n_real}"
        " --settings {params.settings:q} --seed {wildcards.seed} --subset-seed {params.subset_seed}"
        " --generator-seed {params.generator_seed}"
        " --max-minutes $(({resources.runtime} * 93 / 100)) > {log} 2>&1"
