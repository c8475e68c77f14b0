"""What image and mask tell of each other, by generators of diffusion.levels: streams themselves."""


rule check_information:
    """Score by the generator itself how synthetic masks fit their images, and draw maps of it."""
    input:
        rules.train_autoencoder.output,
        denoiser=rules.train_diffusion.output,
        patches=rules.prepare.output,
        samples=rules.sample.output,
    output:
        metrics=f"{RESULTS}/metrics/{GENERATOR}/information.json",
        picture=f"{RESULTS}/figures/{GENERATOR}/information.png",
    log:
        f"{RESULTS}/logs/check_information/{GENERATOR_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/check_information/{GENERATOR_NAME}.jsonl"
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=longer_each_time(120),
        mem_mb=memory(16000),
    params:
        patches=where("patches"),
        samples=where("samples"),
        model=model_of,
        settings=settings(lambda wc: CONFIG.information),
        seed=CONFIG.seed,
        version=stage_version("check_information"),
    message:
        "Asking {wildcards.method} how its masks fit on {wildcards.dataset}"
    shell:
        LAUNCH
        + "check-information --patches {params.patches} --samples {params.samples} --model {params.model}"
        " --out {output.metrics} --picture {output.picture} --dataset {wildcards.dataset} --method {wildcards.method}"
        " --settings {params.settings:q} --seed {params.seed} > {log} 2>&1"


rule check_labels:
    """List the real patches whose images speak against their masks, with maps; a target of its own."""
    input:
        rules.train_autoencoder.output,
        denoiser=rules.train_diffusion.output,
        patches=rules.prepare.output,
    output:
        multiext(
            f"{RESULTS}/labels/{GENERATOR}/",
            "labels.csv",
            "information.npy",
            "suspicious.png",
            "labels.json",
        ),
    log:
        f"{RESULTS}/logs/check_labels/{GENERATOR_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/check_labels/{GENERATOR_NAME}.jsonl"
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=longer_each_time(240),
        mem_mb=memory(16000),
    params:
        patches=where("patches"),
        model=model_of,
        out=subpath(output[0], parent=True),
        settings=settings(lambda wc: CONFIG.information),
        seed=CONFIG.seed,
        version=stage_version("check_labels"),
    message:
        "Looking for wrong labels of {wildcards.dataset} with {wildcards.method}"
    shell:
        LAUNCH
        + "check-labels --model {params.model} --patches {params.patches} --out {params.out}"
        " --settings {params.settings:q} --seed {params.seed} > {log} 2>&1"
