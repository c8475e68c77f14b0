"""Synthetic patch sets, of image and mask together or of one for the other, and which patches are worth keeping."""

# Where patches stand that are drawn for something given; what is given depends on labels and their choice.
CONDITIONAL = f"{GENERATOR}/{{kind}}"
CONDITIONAL_NAME = f"{GENERATOR_NAME}-{{kind}}"


rule draw_samples:
    """Draw a shard of a synthetic patch set; each can be drawn again by itself and is the same."""
    input:
        rules.train_autoencoder.output,
        denoiser=rules.train_diffusion.output,
    output:
        temp(
            multiext(
                f"{RESULTS}/shards/{GENERATOR}/{{shard}}-of-{{shards}}/", *SAMPLE_FILES
            )
        ),
    log:
        f"{RESULTS}/logs/draw_samples/{GENERATOR_NAME}-{{shard}}-of-{{shards}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_samples/{GENERATOR_NAME}-{{shard}}-of-{{shards}}.jsonl"
    priority: 10  # the longest path through the workflow
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=480,
        mem_mb=memory(16000),
    params:
        model=model_of,
        out=subpath(output[0], parent=True),
        state=f"{RESULTS}/state/draw_samples/{GENERATOR_NAME}-{{shard}}-of-{{shards}}",
        n=n_samples,
        name=GENERATOR_NAME,
        shard="--shard {shard}/{shards}",
        settings=trained_part("sampling"),
        seed=generator_seed,
        version=stage_version("sample"),
    message:
        "Drawing {params.n} pairs like {wildcards.dataset} with {params.model} {params.shard}"
    shell:
        LAUNCH_WITH_STATE
        + "sample --model {params.model} --out {params.out} --state {params.state} --n {params.n} {params.shard}"
        " --name {params.name} --settings {params.settings:q} --seed {params.seed} > {log} 2>&1"


rule sample:
    """Join the shards to a synthetic patch set, as large as the hungriest regime needs."""
    input:
        rules.train_autoencoder.output,
        rules.train_diffusion.output,
        shards=shard_files,
    output:
        multiext(f"{RESULTS}/samples/{GENERATOR}/", *SAMPLE_FILES),
    log:
        f"{RESULTS}/logs/sample/{GENERATOR_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample/{GENERATOR_NAME}.jsonl"
    priority: 10  # the longest path through the workflow
    conda:
        "../envs/specdm.yaml"
    resources:
        gpu=0,
        runtime=longer_each_time(60),
        mem_mb=memory(4000),
    params:
        shards=lambda wc, input: [
            str(Path(f).parent) for f in input.shards if f.endswith("meta.json")
        ],
        out=subpath(output[0], parent=True),
        # What decides the shards, which are gone when they are joined: a change of it has to be seen here.
        n=n_samples,
        settings=trained_part("sampling"),
        seed=generator_seed,
        version=(stage_version("sample"), stage_version("join_samples")),
    message:
        "Joining {params.n} pairs like {wildcards.dataset} of {wildcards.method}"
    shell:
        f"{LAUNCH} join-samples {{params.shards}} --out {{params.out}} > {{log}} 2>&1"


rule choose_given:
    """Choose what patches are drawn for: labelled masks, edited change masks, or images whose labels are not seen."""
    input:
        lambda wc: (
            [
                f"{folder}/{name}"
                for folder in images_to_label(wc)
                for name in PATCH_FILES
            ]
            if wc.kind == "images"
            else []
        ),
        patches=rules.prepare.output,
    output:
        temp(multiext(f"{RESULTS}/given/{CONDITIONAL}/", *PATCH_FILES)),
    log:
        f"{RESULTS}/logs/choose_given/{CONDITIONAL_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/choose_given/{CONDITIONAL_NAME}.jsonl"
    conda:
        "../envs/specdm.yaml"
    resources:
        gpu=0,
        runtime=longer_each_time(60),
        mem_mb=memory(4000),
    params:
        patches=where("patches"),
        out=subpath(output[0], parent=True),
        n=n_given,
        more=lambda wc: shown_options(wc)
        + (
            repeated("--unlabelled", images_to_label(wc))
            if wc.kind == "images"
            else ""
        ),
        seed=generator_seed,
        version=stage_version("choose_given"),
    message:
        "Choosing {wildcards.kind} of {wildcards.dataset} to draw for"
    shell:
        LAUNCH
        + "choose-given --patches {params.patches} --out {params.out} --kind {wildcards.kind} --n {params.n}"
        " --seed {params.seed} {params.more} > {log} 2>&1"


rule draw_given:
    """Paint images for masks, second dates for edited change masks, or masks for images."""
    input:
        lambda wc: model_files(
            [f"{given_model(wc)}/autoencoder", f"{given_model(wc)}/denoiser"]
        ),
        given=rules.choose_given.output,
    output:
        multiext(f"{RESULTS}/conditional/{CONDITIONAL}/", *SAMPLE_FILES),
    log:
        f"{RESULTS}/logs/draw_given/{CONDITIONAL_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_given/{CONDITIONAL_NAME}.jsonl"
    conda:
        "../envs/specdm.yaml"
    threads: 8
    resources:
        gpu=1,
        runtime=480,
        mem_mb=memory(16000),
    params:
        model=lambda wc: given_model(wc),
        out=subpath(output[0], parent=True),
        state=f"{RESULTS}/state/draw_given/{CONDITIONAL_NAME}",
        given=lambda wc, input: given_streams(wc.kind, str(Path(input.given[0]).parent)),
        n=n_given,
        name=CONDITIONAL_NAME,
        settings=settings(given_sampling),
        seed=generator_seed,
        version=stage_version("sample"),
    message:
        "Drawing {params.n} patches of {wildcards.dataset} for given {wildcards.kind}"
    shell:
        LAUNCH_WITH_STATE
        + "sample --model {params.model} --out {params.out} --state {params.state} {params.given} --n {params.n}"
        " --name {params.name} --settings {params.settings:q} --seed {params.seed} > {log} 2>&1"


rule filter_samples:
    """Score every synthetic pair by how well its mask fits its image, for regimes that keep the best."""
    input:
        lambda wc: model_files(judges_of(wc)),
        patches=rules.prepare.output,
        samples=rules.sample.output,
    output:
        multiext(
            f"{RESULTS}/filters/{GENERATOR}/", "scores.csv", "masks.npy", "filter.json"
        ),
    log:
        f"{RESULTS}/logs/filter_samples/{GENERATOR_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/filter_samples/{GENERATOR_NAME}.jsonl"
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
        judges=lambda wc: judges_of(wc),
        out=subpath(output[0], parent=True),
        more=subset_options,
        settings=settings(lambda wc: CONFIG.filtering),
        seed=CONFIG.seed,
        version=stage_version("filter_samples"),
    message:
        "Scoring the pairs of {wildcards.method} for {wildcards.dataset}"
    shell:
        LAUNCH
        + "filter-samples --patches {params.patches} --samples {params.samples} {params.judges}"
        " --out {params.out} --settings {params.settings:q} --seed {params.seed} {params.more} > {log} 2>&1"
