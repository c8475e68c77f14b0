"""How good synthetic patch sets are: distances and spectra, whether masks fit images, whether images are copies."""


rule train_teacher:
    """Train the network whose features measure distances, on the whole real training split."""
    input:
        patches=rules.prepare.output,
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
        mem_mb=memory(16000),
    params:
        patches=where("patches"),
        out=subpath(output[0], parent=True),
        state=f"{RESULTS}/state/train_teacher/{{dataset}}",
        settings=settings(lambda wc: CONFIG.datasets[wc.dataset].teacher),
        seed=CONFIG.seed,
        more="",
        version=stage_version("train_teacher"),
    message:
        "Training the features of {wildcards.dataset}"
    shell:
        LAUNCH_WITH_STATE
        + "train-teacher --patches {params.patches} --out {params.out} --state {params.state}"
        " --settings {params.settings:q} --seed {params.seed} {params.more} > {log} 2>&1"


use rule train_teacher as train_judge with:
    output:
        multiext(f"{RESULTS}/{JUDGE}/", *MODEL_FILES),
    log:
        f"{RESULTS}/logs/train_judge/{JUDGE_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_judge/{JUDGE_NAME}.jsonl"
    params:
        patches=where("patches"),
        out=subpath(output[0], parent=True),
        state=f"{RESULTS}/state/train_judge/{JUDGE_NAME}",
        settings=settings(lambda wc: CONFIG.datasets[wc.dataset].teacher),
        seed=CONFIG.seed,
        more=lambda wc: f"--fold {int(wc.fold) + 1}/{CONFIG.evaluation.folds} "
        + (shown_options(wc) if wc.shown == "subset" else ""),
        version=stage_version("train_teacher"),
    message:
        "Training judge {wildcards.fold} of {wildcards.dataset}"


rule fetch_inception:
    """Fetch the published weights of the Inception network of FID, and print their licence."""
    output:
        INCEPTION,
    log:
        f"{RESULTS}/logs/fetch_inception.log",
    conda:
        "../envs/specdm.yaml"
    params:
        out=subpath(output[0], parent=True),
    message:
        "Fetching the weights of Inception"
    shell:
        "python -m specdm fetch-inception --out {params.out} > {log} 2>&1"


rule evaluate:
    """Measure synthetic patches against real ones and draw both side by side."""
    input:
        rules.train_autoencoder.output,
        denoiser=rules.train_diffusion.output,
        patches=rules.prepare.output,
        samples=rules.sample.output,
        teacher=rules.train_teacher.output,
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
        runtime=longer_each_time(120),
        mem_mb=memory(16000),
    params:
        patches=where("patches"),
        samples=where("samples"),
        model=model_of,
        teacher=where("teacher"),
        pictures=lambda wc, output: str(Path(output.pictures[0]).parent),
        inception=inception_option,
        settings=settings(measured),
        seed=CONFIG.seed,
        version=stage_version("evaluate"),
    message:
        "Measuring {wildcards.method} on {wildcards.dataset}"
    shell:
        LAUNCH
        + "evaluate --patches {params.patches} --samples {params.samples} --model {params.model}"
        " --teacher {params.teacher} --out {output.metrics} --pictures {params.pictures} {params.inception}"
        " --dataset {wildcards.dataset} --method {wildcards.method} --settings {params.settings:q} --seed {params.seed}"
        " > {log} 2>&1"


rule check_alignment:
    """Score how synthetic masks fit their images, between real pairs and exchanged masks."""
    input:
        lambda wc: model_files(full_judges(wc)),
        patches=rules.prepare.output,
        samples=rules.sample.output,
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
        runtime=longer_each_time(120),
        mem_mb=memory(16000),
    params:
        patches=where("patches"),
        samples=where("samples"),
        judges=lambda wc: full_judges(wc),
        settings=settings(measured),
        seed=CONFIG.seed,
        version=stage_version("check_alignment"),
    message:
        "Checking how the masks of {wildcards.method} fit on {wildcards.dataset}"
    shell:
        LAUNCH
        + "check-alignment --patches {params.patches} --samples {params.samples} {params.judges}"
        " --out {output.metrics} --picture {output.picture[0]} --dataset {wildcards.dataset} --method {wildcards.method}"
        " --settings {params.settings:q} --seed {params.seed} > {log} 2>&1"


rule check_copies:
    """Look for training patches among the samples, also turned, shifted, brightened or with swapped dates."""
    input:
        patches=rules.prepare.output,
        samples=rules.sample.output,
        autoencoder=rules.train_autoencoder.output,
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
        runtime=longer_each_time(240),
        mem_mb=memory(16000),
    params:
        patches=where("patches"),
        samples=where("samples"),
        autoencoder=where("autoencoder"),
        settings=settings(lambda wc: CONFIG.copies),
        seed=CONFIG.seed,
        version=stage_version("check_copies"),
    message:
        "Looking for copies among the samples of {wildcards.method} on {wildcards.dataset}"
    shell:
        LAUNCH + "check-copies --patches {params.patches} --samples {params.samples}"
        " --autoencoder {params.autoencoder} --out {output.metrics} --picture {output.picture}"
        " --dataset {wildcards.dataset} --method {wildcards.method} --settings {params.settings:q} --seed {params.seed}"
        " > {log} 2>&1"
