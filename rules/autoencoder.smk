"""First stage: the autoencoder and the latents it gives."""


rule train_autoencoder:
    """Train the two-stream (or single-stream) autoencoder of a method on a data set."""
    input:
        initial_files("autoencoder"),
        unlabelled_files,
        patches=rules.prepare.output,
    output:
        multiext(f"{RESULTS}/models/{GENERATOR}/autoencoder/", *MODEL_FILES),
    log:
        f"{RESULTS}/logs/train_autoencoder/{GENERATOR_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_autoencoder/{GENERATOR_NAME}.jsonl"
    priority: 10  # the longest path through the workflow
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=1440,
        mem_mb=memory(24000),
    params:
        patches=where("patches"),
        out=subpath(output[0], parent=True),
        state=f"{RESULTS}/state/train_autoencoder/{GENERATOR_NAME}",
        settings=trained_part("autoencoder"),
        more=lambda wc: " ".join(
            [
                subset_options(wc),
                initial_options(wc, "autoencoder"),
                repeated("--unlabelled", unlabelled_sets(wc)),
            ]
        ),
        pictures=f"{RESULTS}/figures/{GENERATOR}/training",
        seed=generator_seed,
        version=stage_version("train_autoencoder"),
    message:
        "Training the autoencoder of {wildcards.method} on {wildcards.dataset}"
    shell:
        LAUNCH_ON_EACH_GPU
        + "train-autoencoder --patches {params.patches} --out {params.out} --state {params.state}"
        " --settings {params.settings:q} --seed {params.seed} {params.more} --pictures {params.pictures}"
        " > {log} 2>&1"


rule encode:
    """Encode the training and validation patches once, in all views."""
    input:
        unlabelled_files,
        patches=rules.prepare.output,
        autoencoder=rules.train_autoencoder.output,
    output:
        multiext(
            f"{RESULTS}/latents/{GENERATOR}/",
            "mean.npy",
            "std.npy",
            "fractions.npy",
            "ids.json",
            "meta.json",
        ),
    log:
        f"{RESULTS}/logs/encode/{GENERATOR_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/encode/{GENERATOR_NAME}.jsonl"
    priority: 10  # the longest path through the workflow
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=longer_each_time(240),
        mem_mb=memory(16000),
    params:
        patches=where("patches"),
        autoencoder=where("autoencoder"),
        out=subpath(output[0], parent=True),
        views=lambda wc: view_options(method_of(wc.dataset, wc.method).diffusion),
        more=lambda wc: repeated("--unlabelled", unlabelled_sets(wc)),
        version=stage_version("encode"),
    message:
        "Encoding {wildcards.dataset} with the autoencoder of {wildcards.method}"
    shell:
        LAUNCH
        + "encode --patches {params.patches} --autoencoder {params.autoencoder} --out {params.out}"
        " {params.views} {params.more} > {log} 2>&1"
