"""Second stage: the joint latent diffusion model."""


rule train_diffusion:
    """Train the denoiser of a method on the joint latents of image and mask."""
    input:
        initial_files("denoiser"),
        latents=rules.encode.output,
        autoencoder=rules.train_autoencoder.output,
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
        mem_mb=memory(24000),
    params:
        latents=where("latents"),
        out=subpath(output[0], parent=True),
        state=f"{RESULTS}/state/train_diffusion/{GENERATOR_NAME}",
        settings=trained_part("diffusion"),
        autoencoder=where("autoencoder"),
        more=lambda wc: initial_options(wc, "denoiser"),
        pictures=f"{RESULTS}/figures/{GENERATOR}/training",
        seed=generator_seed,
        version=stage_version("train_diffusion"),
    message:
        "Training the denoiser of {wildcards.method} on {wildcards.dataset}"
    shell:
        LAUNCH_ON_EACH_GPU
        + "train-diffusion --latents {params.latents} --out {params.out} --state {params.state}"
        " --settings {params.settings:q} --seed {params.seed} {params.more}"
        " --autoencoder {params.autoencoder} --pictures {params.pictures}"
        " > {log} 2>&1"
