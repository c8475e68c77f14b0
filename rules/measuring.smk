"""How good synthetic patch sets are: distances and spectra, whether masks fit images, whether images are copies."""


rule train_teacher:
    """Train the network whose features measure distances, on the whole real training split."""
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
        "Training the features of {wildcards.dataset}"
    shell:
        "exec python -m specdm train-teacher --patches {params.patches} --out {params.out} --state {params.state}"
        " --settings {params.settings:q} --seed {params.seed}"
        " --max-minutes $(({resources.runtime} * 93 / 100)) > {log} 2>&1"


rule train_judge:
    """Train a judge of alignment without one part of the real patches, or of those that a generator is shown."""
    input:
        rules.prepare.output,
    output:
        multiext(f"{RESULTS}/{JUDGE}/", *MODEL_FILES),
    log:
        f"{RESULTS}/logs/train_judge/{JUDGE_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_judge/{JUDGE_NAME}.jsonl"
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=480,
        mem_mb=16000,
    params:
        patches=rules.prepare.params.out,
        out=f"{RESULTS}/{JUDGE}",
        state=f"{RESULTS}/state/train_judge/{JUDGE_NAME}",
        settings=settings(lambda wc: CONFIG.datasets[wc.dataset].teacher),
        seed=CONFIG.seed,
        fold=lambda wc: f"{int(wc.fold) + 1}/{CONFIG.evaluation.folds}",
        more=lambda wc: shown_options(wc) if wc.shown == "subset" else "",
        version=stage_version("train_teacher"),
    message:
        "Training judge {wildcards.fold} of {wildcards.dataset}"
    shell:
        "exec python -m specdm train-teacher --patches {params.patches} --out {params.out} --state {params.state}"
        " --settings {params.settings:q} --seed {params.seed} --fold {params.fold} {params.more}"
        " --max-minutes $(({resources.runtime} * 93 / 100)) > {log} 2>&1"


# Where fetch-inception puts what torch-fidelity publishes.
INCEPTION = f"{RESULTS}/encoders/inception/weights-inception-2015-12-05-6726825d.pth"


def inception_file():
    """The weights of the features inception, where they are wanted."""
    wanted = CONFIG.evaluation
    if "inception" not in wanted.features:
        return []
    if wanted.inception_weights != "published":
        return wanted.inception_weights
    return INCEPTION


def measured(wildcards):
    """What is measured, without what is compared elsewhere: other numbers of steps must not measure all anew."""
    return CONFIG.evaluation.model_copy(update={"sampling_steps": ()})


def inception_option(wildcards, input):
    return (
        f"--inception-weights {shlex.quote(str(input.inception))}"
        if input.inception
        else ""
    )


# What evaluate draws of a generator.
SET_PICTURES = ["samples.png"] + [
    f"{name}.{suffix}"
    for name in ("spectra", "classes", "power", "curves")
    for suffix in ("png", "pdf")
]


rule fetch_inception:
    """Fetch the published weights of the Inception network of FID, and print their licence."""
    output:
        INCEPTION,
    log:
        f"{RESULTS}/logs/fetch_inception.log",
    conda:
        "../envs/specdm.yaml"
    params:
        out=f"{RESULTS}/encoders/inception",
    message:
        "Fetching the weights of Inception"
    shell:
        "python -m specdm fetch-inception --out {params.out} > {log} 2>&1"


rule evaluate:
    """Measure synthetic patches against real ones and draw both side by side."""
    input:
        rules.prepare.output,
        rules.sample.output,
        rules.train_autoencoder.output,
        rules.train_diffusion.output,
        rules.train_teacher.output,
        inception=inception_file(),
    output:
        metrics=f"{RESULTS}/metrics/{GENERATOR}/synthesis.json",
        pictures=multiext(f"{RESULTS}/figures/{GENERATOR}/", *SET_PICTURES),
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
        model=rules.sample.params.model,
        teacher=rules.train_teacher.params.out,
        pictures=f"{RESULTS}/figures/{GENERATOR}",
        inception=inception_option,
        settings=settings(measured),
        seed=CONFIG.seed,
        version=stage_version("evaluate"),
    message:
        "Measuring {wildcards.method} on {wildcards.dataset}"
    shell:
        "exec python -m specdm evaluate --patches {params.patches} --samples {params.samples} --model {params.model}"
        " --teacher {params.teacher} --out {output.metrics} --pictures {params.pictures} {params.inception}"
        " --dataset {wildcards.dataset} --method {wildcards.method} --settings {params.settings:q} --seed {params.seed}"
        " > {log} 2>&1"


rule check_alignment:
    """Score how synthetic masks fit their images, between real pairs and exchanged masks."""
    input:
        rules.prepare.output,
        rules.sample.output,
        lambda wc: model_files(full_judges(wc)),
    output:
        metrics=f"{RESULTS}/metrics/{GENERATOR}/alignment.json",
        picture=multiext(f"{RESULTS}/figures/{GENERATOR}/alignment", ".png", ".pdf"),
    log:
        f"{RESULTS}/logs/check_alignment/{GENERATOR_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/check_alignment/{GENERATOR_NAME}.jsonl"
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
        judges=lambda wc: full_judges(wc),
        settings=settings(measured),
        seed=CONFIG.seed,
        version=stage_version("check_alignment"),
    message:
        "Checking how the masks of {wildcards.method} fit on {wildcards.dataset}"
    shell:
        "exec python -m specdm check-alignment --patches {params.patches} --samples {params.samples} {params.judges}"
        " --out {output.metrics} --picture {output.picture[0]} --dataset {wildcards.dataset} --method {wildcards.method}"
        " --settings {params.settings:q} --seed {params.seed} > {log} 2>&1"


rule check_copies:
    """Look for training patches among the samples, also turned, shifted, brightened or with swapped dates."""
    input:
        rules.prepare.output,
        rules.sample.output,
        rules.train_autoencoder.output,
    output:
        metrics=f"{RESULTS}/metrics/{GENERATOR}/copies.json",
        picture=f"{RESULTS}/figures/{GENERATOR}/copies.png",
    log:
        f"{RESULTS}/logs/check_copies/{GENERATOR_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/check_copies/{GENERATOR_NAME}.jsonl"
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=240,
        mem_mb=16000,
    params:
        patches=rules.prepare.params.out,
        samples=rules.sample.params.out,
        autoencoder=rules.train_autoencoder.params.out,
        settings=settings(lambda wc: CONFIG.copies),
        seed=CONFIG.seed,
        version=stage_version("check_copies"),
    message:
        "Looking for copies among the samples of {wildcards.method} on {wildcards.dataset}"
    shell:
        "exec python -m specdm check-copies --patches {params.patches} --samples {params.samples}"
        " --autoencoder {params.autoencoder} --out {output.metrics} --picture {output.picture}"
        " --dataset {wildcards.dataset} --method {wildcards.method} --settings {params.settings:q} --seed {params.seed}"
        " > {log} 2>&1"
