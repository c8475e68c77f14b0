"""Synthetic patch sets, and which of their patches are worth keeping."""


rule sample:
    """Draw a synthetic patch set, as large as the hungriest regime needs."""
    input:
        rules.train_autoencoder.output,
        rules.train_diffusion.output,
    output:
        multiext(f"{RESULTS}/samples/{GENERATOR}/", *PATCH_FILES, "asked.npy"),
    log:
        f"{RESULTS}/logs/sample/{GENERATOR_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample/{GENERATOR_NAME}.jsonl"
    priority: 10  # the longest path through the workflow
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=480,
        mem_mb=16000,
    params:
        model=f"{RESULTS}/models/{GENERATOR}",
        out=f"{RESULTS}/samples/{GENERATOR}",
        state=f"{RESULTS}/state/sample/{GENERATOR_NAME}",
        n=lambda wc: CONFIG.datasets[wc.dataset].n_samples(
            wc.method, CONFIG.evaluation.n_samples
        ),
        name=GENERATOR_NAME,
        settings=trained_part("sampling"),
        seed=generator_seed,
        version=stage_version("sample"),
    message:
        "Drawing {params.n} pairs like {wildcards.dataset} with {wildcards.method}"
    shell:
        "exec python -m specdm sample --model {params.model} --out {params.out} --state {params.state} --n {params.n}"
        " --name {params.name} --settings {params.settings:q} --seed {params.seed}"
        " > {log} 2>&1"


rule filter_samples:
    """Score every synthetic pair by how well its mask fits its image, for regimes that keep the best."""
    input:
        rules.prepare.output,
        rules.sample.output,
        lambda wc: model_files(judges_of(wc)),
    output:
        multiext(
            f"{RESULTS}/filters/{GENERATOR}/", "scores.csv", "masks.npy", "filter.json"
        ),
    log:
        f"{RESULTS}/logs/filter_samples/{GENERATOR_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/filter_samples/{GENERATOR_NAME}.jsonl"
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=120,
        mem_mb=16000,
    params:
        patches=rules.prepare.params.out,
        samples=rules.sample.params.out,
        judges=lambda wc: judges_of(wc),
        out=f"{RESULTS}/filters/{GENERATOR}",
        more=subset_options,
        settings=settings(lambda wc: CONFIG.filtering),
        seed=CONFIG.seed,
        version=stage_version("filter_samples"),
    message:
        "Scoring the pairs of {wildcards.method} for {wildcards.dataset}"
    shell:
        "exec python -m specdm filter-samples --patches {params.patches} --samples {params.samples} {params.judges}"
        " --out {params.out} --settings {params.settings:q} --seed {params.seed} {params.more} > {log} 2>&1"
