"""Synthetic patch sets and how good they are."""


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


rule train_teacher:
    """Train the judge of the samples on the whole real training split."""
    input:
        rules.prepare.output,
    output:
        multiext(f"{RESULTS}/teachers/{{dataset}}/", *MODEL_FILES),
    log:
        f"{RESULTS}/logs/train_teacher/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_teacher/{{dataset}}.jsonl"
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=480,
        mem_mb=16000,
    params:
        patches=rules.prepare.params.out,
        out=f"{RESULTS}/teachers/{{dataset}}",
        state=f"{RESULTS}/state/train_teacher/{{dataset}}",
        settings=settings(lambda wc: CONFIG.datasets[wc.dataset].teacher),
        seed=CONFIG.seed,
        version=stage_version("train_teacher"),
    message:
        "Training the judge on {wildcards.dataset}"
    shell:
        "exec python -m specdm train-teacher --patches {params.patches} --out {params.out} --state {params.state}"
        " --settings {params.settings:q} --seed {params.seed}"
        " --max-minutes $(({resources.runtime} * 93 / 100)) > {log} 2>&1"


rule evaluate:
    """Measure synthetic patches against real ones and draw both side by side."""
    input:
        rules.prepare.output,
        rules.sample.output,
        rules.train_autoencoder.output,
        rules.train_teacher.output,
    output:
        metrics=f"{RESULTS}/metrics/{GENERATOR}/synthesis.json",
        picture=f"{RESULTS}/figures/{GENERATOR}/samples.png",
        spectra=f"{RESULTS}/figures/{GENERATOR}/spectra.png",
    log:
        f"{RESULTS}/logs/evaluate/{GENERATOR_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/{GENERATOR_NAME}.jsonl"
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
        autoencoder=rules.train_autoencoder.params.out,
        teacher=rules.train_teacher.params.out,
        settings=settings(lambda wc: CONFIG.evaluation),
        seed=CONFIG.seed,
        version=stage_version("evaluate"),
    message:
        "Measuring {wildcards.method} on {wildcards.dataset}"
    shell:
        "exec python -m specdm evaluate --patches {params.patches} --samples {params.samples}"
        " --autoencoder {params.autoencoder} --teacher {params.teacher} --out {output.metrics}"
        " --picture {output.picture} --spectra-picture {output.spectra} --dataset {wildcards.dataset} --method {wildcards.method}"
        " --settings {params.settings:q} --seed {params.seed} > {log} 2>&1"
