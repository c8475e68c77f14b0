"""Downstream networks on real, synthetic and mixed patches."""


rule search_downstream:
    """Choose learning rate and steps of a network on a regime, on validation and at the same cost for every regime."""
    input:
        source_files,
        patches=rules.prepare.output,
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
        mem_mb=memory(24000),
    params:
        patches=where("patches"),
        sources=source_options,
        out=subpath(output[0], parent=True),
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
        LAUNCH_WITH_STATE
        + "search-downstream --patches {params.patches} {params.sources} --out {params.out}"
        " --state {params.state} --dataset {wildcards.dataset} --network {params.network:q}"
        " --regime-name {wildcards.regime} --regime {params.regime:q} --n-real {params.n_real}"
        " --settings {params.settings:q} --seed {params.seed} --subset-seed {params.subset_seed}"
        " > {log} 2>&1"


rule train_downstream:
    """Train a downstream network on a regime with a seed, and test it once on real patches."""
    input:
        source_files,
        patches=rules.prepare.output,
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
        f"{RESULTS}/logs/train_downstream/{EXPERIMENT_NAME}-seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_downstream/{EXPERIMENT_NAME}-seed{{seed}}.jsonl"
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=720,
        mem_mb=memory(24000),
    params:
        patches=where("patches"),
        sources=source_options,
        choice=lambda wc: f"--choice {choice_file(wc)}" if choice_file(wc) else "",
        out=subpath(output[0], parent=True),
        state=f"{RESULTS}/state/train_downstream/{EXPERIMENT_NAME}-seed{{seed}}",
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
        LAUNCH_WITH_STATE
        + "train-downstream --patches {params.patches} {params.sources} {params.choice}"
        " --out {params.out} --state {params.state} --dataset {wildcards.dataset} --network {params.network:q}"
        " --regime-name {wildcards.regime} --regime {params.regime:q} --n-real {params.n_real}"
        " --settings {params.settings:q} --seed {wildcards.seed} --subset-seed {params.subset_seed}"
        " --generator-seed {params.generator_seed}"
        " > {log} 2>&1"
