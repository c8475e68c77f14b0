"""Second stage: the joint latent diffusion model."""


rule train_diffusion:
    """Train the denoiser of a method on the joint latents of image and mask."""
    input:
        rules.encode.output,
        rules.train_autoencoder.output,
        initial_files("denoiser"),
    output:
        multiext(
            f"{RESULTS}/models/{GENERATOR}/denoiser/",
            *MODEL_FILES,
            "fractions.npy",
        ),
    log:
        f"{RESULTS}/logs/train_diffusion/{GENERATOR_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_diffusion/{GENERATOR_NAME}.jsonl"
    priority: 10  # the longest path through the workflow
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=1440,
        mem_mb=24000,
    params:
        latents=rules.encode.params.out,
        out=f"{RESULTS}/models/{GENERATOR}/denoiser",
        state=f"{RESULTS}/state/train_diffusion/{GENERATOR_NAME}",
        settings=trained_part("diffusion"),
        autoencoder=rules.train_autoencoder.params.out,
        more=lambda wc: initial_options(wc, "denoiser"),
        pictures=rules.train_autoencoder.params.pictures,
        seed=generator_seed,
        version=stage_version("train_diffusion"),
    message:
        "Training the denoiser of {wildcards.method} on {wildcards.dataset}"
    shell:
        EXEC
        + " train-diffusion --latents {params.latents} --out {params.out} --state {params.state}"
        " --settings {params.settings:q} --seed {params.seed} {params.more}"
        " --autoencoder {params.autoencoder} --pictures {params.pictures}"
        " --max-minutes $(({resources.runtime} * 93 / 100)) > {log} 2>&1"
