"""Downstream networks on real, synthetic and mixed patches."""


def regime_of(wildcards):
    return CONFIG.datasets[wildcards.dataset].regimes[wildcards.regime]


def samples_of(wildcards):
    """The synthetic patch set that a regime takes patches from, if any."""
    regime = regime_of(wildcards)
    return (
        f"{RESULTS}/samples/{wildcards.dataset}/{regime.method}"
        if regime.synthetic
        else ""
    )


def sample_files(wildcards):
    folder = samples_of(wildcards)
    return [f"{folder}/{name}" for name in PATCH_FILES] if folder else []


rule train_downstream:
    """Train a downstream network on a regime with a seed, and test it once on real patches."""
    input:
        rules.prepare.output,
        sample_files,
    output:
        multiext(
            f"{RESULTS}/downstream/{{dataset}}/{{network}}/{{regime}}/seed{{seed}}/",
            *MODEL_FILES,
            "ids.json",
            "confusion.npy",
            "metrics.json",
        ),
    log:
        f"{RESULTS}/logs/train_downstream/{{dataset}}-{{network}}-{{regime}}-seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_downstream/{{dataset}}-{{network}}-{{regime}}-seed{{seed}}.jsonl"
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=720,
        mem_mb=24000,
    params:
        patches=rules.prepare.params.out,
        samples=lambda wc: f"--samples {samples_of(wc)}" if samples_of(wc) else "",
        out=f"{RESULTS}/downstream/{{dataset}}/{{network}}/{{regime}}/seed{{seed}}",
        state=f"{RESULTS}/state/train_downstream/{{dataset}}-{{network}}-{{regime}}-seed{{seed}}",
        regime=settings(regime_of),
        n_real=lambda wc: CONFIG.datasets[wc.dataset].n_real,
        network=lambda wc: NETWORK_IN[wc.network],
        settings=settings(lambda wc: CONFIG.downstream_of(NETWORK_IN[wc.network])),
        subset_seed=CONFIG.seed,
        version=stage_version("train_downstream"),
    message:
        "Training {wildcards.network} on {wildcards.dataset} {wildcards.regime}, seed {wildcards.seed}"
    shell:
        "exec python -m specdm train-downstream --patches {params.patches} {params.samples} --out {params.out}"
        " --state {params.state} --dataset {wildcards.dataset} --network {params.network:q}"
        " --regime-name {wildcards.regime} --regime {params.regime:q} --n-real {params.n_real}"
        " --settings {params.settings:q} --seed {wildcards.seed} --subset-seed {params.subset_seed}"
        " --max-minutes $(({resources.runtime} * 93 / 100)) > {log} 2>&1"
