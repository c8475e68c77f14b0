"""First stage: the autoencoder and the latents it gives."""


rule train_autoencoder:
    """Train the two-stream (or single-stream) autoencoder of a method on a data set."""
    input:
        rules.prepare.output,
    output:
        multiext(f"{RESULTS}/models/{{dataset}}/{{method}}/autoencoder/", *MODEL_FILES),
    log:
        f"{RESULTS}/logs/train_autoencoder/{{dataset}}-{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_autoencoder/{{dataset}}-{{method}}.jsonl"
    priority: 10  # the longest path through the workflow
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=1440,
        mem_mb=24000,
    params:
        patches=rules.prepare.params.out,
        out=f"{RESULTS}/models/{{dataset}}/{{method}}/autoencoder",
        state=f"{RESULTS}/state/train_autoencoder/{{dataset}}-{{method}}",
        settings=trained_part("autoencoder"),
        seed=CONFIG.seed,
        version=stage_version("train_autoencoder"),
    message:
        "Training the autoencoder of {wildcards.method} on {wildcards.dataset}"
    shell:
        "exec python -m specdm train-autoencoder --patches {params.patches} --out {params.out} --state {params.state}"
        " --settings {params.settings:q} --seed {params.seed}"
        " --max-minutes $(({resources.runtime} * 93 / 100)) > {log} 2>&1"


rule encode:
    """Encode the training and validation patches once, in all views."""
    input:
        rules.prepare.output,
        rules.train_autoencoder.output,
    output:
        multiext(
            f"{RESULTS}/latents/{{dataset}}/{{method}}/",
            "mean.npy",
            "std.npy",
            "meta.json",
        ),
    log:
        f"{RESULTS}/logs/encode/{{dataset}}-{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/encode/{{dataset}}-{{method}}.jsonl"
    priority: 10  # the longest path through the workflow
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=240,
        mem_mb=16000,
    params:
        patches=rules.prepare.params.out,
        autoencoder=rules.train_autoencoder.params.out,
        out=f"{RESULTS}/latents/{{dataset}}/{{method}}",
        augment=lambda wc: method_of(wc.dataset, wc.method).diffusion.augment,
        version=stage_version("encode"),
    message:
        "Encoding {wildcards.dataset} with the autoencoder of {wildcards.method}"
    shell:
        "exec python -m specdm encode --patches {params.patches} --autoencoder {params.autoencoder} --out {params.out}"
        " --augment {params.augment} > {log} 2>&1"
