"""First stage: the autoencoder and the latents it gives."""


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


rule train_autoencoder:
    """Train the two-stream (or single-stream) autoencoder of a method on a data set."""
    input:
        rules.prepare.output,
        initial_files("autoencoder"),
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
        mem_mb=24000,
    params:
        patches=rules.prepare.params.out,
        out=f"{RESULTS}/models/{GENERATOR}/autoencoder",
        state=f"{RESULTS}/state/train_autoencoder/{GENERATOR_NAME}",
        settings=trained_part("autoencoder"),
        more=lambda wc: subset_options(wc) + initial_options(wc, "autoencoder"),
        pictures=f"{RESULTS}/figures/{GENERATOR}/training",
        seed=generator_seed,
        version=stage_version("train_autoencoder"),
    message:
        "Training the autoencoder of {wildcards.method} on {wildcards.dataset}"
    shell:
        EXEC
        + " train-autoencoder --patches {params.patches} --out {params.out} --state {params.state}"
        " --settings {params.settings:q} --seed {params.seed} {params.more} --pictures {params.pictures}"
        " --max-minutes $(({resources.runtime} * 93 / 100)) > {log} 2>&1"


rule encode:
    """Encode the training and validation patches once, in all views."""
    input:
        rules.prepare.output,
        rules.train_autoencoder.output,
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
        runtime=240,
        mem_mb=16000,
    params:
        patches=rules.prepare.params.out,
        autoencoder=rules.train_autoencoder.params.out,
        out=f"{RESULTS}/latents/{GENERATOR}",
        views=lambda wc: view_options(method_of(wc.dataset, wc.method).diffusion),
        version=stage_version("encode"),
    message:
        "Encoding {wildcards.dataset} with the autoencoder of {wildcards.method}"
    shell:
        "exec python -m specdm encode --patches {params.patches} --autoencoder {params.autoencoder} --out {params.out}"
        " {params.views} > {log} 2>&1"
