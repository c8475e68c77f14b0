"""Raw files, patch sets, and pretrained weights."""

from specdm.networks import encoder_of


rule download:
    """Fetch a benchmark data set (resumable); its marker file says that the raw files are complete."""
    output:
        f"{RESULTS}/raw/{{dataset}}/download.json",
    log:
        f"{RESULTS}/logs/download/{{dataset}}.log",
    wildcard_constraints:
        dataset=of_origin("download"),
    priority: 10  # the longest path through the workflow
    retries: 2
    conda:
        "../envs/specdm.yaml"
    params:
        source=lambda wc: CONFIG.datasets[wc.dataset].source,
        raw=lambda wc: CONFIG.datasets[wc.dataset].raw,
    message:
        "Downloading {wildcards.dataset} into {params.raw}"
    shell:
        "python -m specdm download {params.source} --out {params.raw:q} > {log} 2>&1"
        " && cp {params.raw:q}/download.json {output}"


rule fetch_encoder:
    """Fetch an encoder's ImageNet weights on the machine that runs Snakemake: compute nodes often have no network."""
    output:
        multiext(f"{RESULTS}/encoders/{{encoder}}/", "model.safetensors", "source.json"),
    log:
        f"{RESULTS}/logs/fetch_encoder/{{encoder}}.log",
    wildcard_constraints:
        encoder=names({encoder_of(n) for n in NETWORK_IN.values()}),
    retries: 2
    conda:
        "../envs/specdm.yaml"
    params:
        out=subpath(output[0], parent=True),
    message:
        "Fetching ImageNet weights of {wildcards.encoder}"
    shell:
        "python -m specdm fetch-encoder {wildcards.encoder:q} --out {params.out:q} > {log:q} 2>&1"


rule simulate:
    """Write a simulated landscape as raw files, in place of a download."""
    output:
        f"{RESULTS}/raw/{{dataset}}/simulate.json",
    log:
        f"{RESULTS}/logs/simulate/{{dataset}}.log",
    wildcard_constraints:
        dataset=of_origin("simulate"),
    priority: 10  # the longest path through the workflow
    conda:
        "../envs/specdm.yaml"
    params:
        source=lambda wc: CONFIG.datasets[wc.dataset].source,
        raw=lambda wc: CONFIG.datasets[wc.dataset].raw,
        settings=settings(lambda wc: CONFIG.datasets[wc.dataset].simulate),
        seed=CONFIG.seed,
        version=stage_version("prepare"),
    message:
        "Simulating raw files of {wildcards.dataset}"
    shell:
        "python -m specdm simulate --source {params.source} --out {params.raw:q} --settings {params.settings:q}"
        " --seed {params.seed} > {log} 2>&1 && cp {params.raw:q}/simulate.json {output}"


rule acquire:
    """Fetch satellite images of areas from an imagery service (resumable); credentials come from the environment."""
    input:
        area_files,
    output:
        f"{RESULTS}/raw/{{dataset}}/acquire.json",
    log:
        f"{RESULTS}/logs/acquire/{{dataset}}.log",
    wildcard_constraints:
        dataset=of_origin("acquire"),
    priority: 10  # the longest path through the workflow
    retries: 2
    conda:
        "../envs/specdm.yaml"
    params:
        raw=lambda wc: CONFIG.datasets[wc.dataset].raw,
        settings=settings(lambda wc: CONFIG.datasets[wc.dataset].acquire),
    message:
        "Acquiring images of {wildcards.dataset} into {params.raw}"
    shell:
        "python -m specdm acquire --out {params.raw:q} --settings {params.settings:q} --yes > {log} 2>&1"
        " && cp {params.raw:q}/acquire.json {output}"


rule prepare:
    """Cut raw files into a patch set: band selection, resampling, cleaning, splits."""
    input:
        raw_files,
    output:
        multiext(f"{RESULTS}/patches/{{dataset}}/", *PATCH_FILES),
    log:
        f"{RESULTS}/logs/prepare/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/prepare/{{dataset}}.jsonl"
    priority: 10  # the longest path through the workflow
    conda:
        "../envs/specdm.yaml"
    resources:
        gpu=0,
        runtime=longer_each_time(120),
        mem_mb=memory(4000),
    params:
        source=lambda wc: CONFIG.datasets[wc.dataset].source,
        raw=lambda wc: CONFIG.datasets[wc.dataset].raw,
        out=subpath(output[0], parent=True),
        settings=settings(lambda wc: CONFIG.datasets[wc.dataset].prepare),
        seed=CONFIG.seed,
        version=stage_version("prepare"),
    message:
        "Cutting {wildcards.dataset} into patches"
    shell:
        LAUNCH
        + "prepare --source {params.source} --name {wildcards.dataset} --raw {params.raw:q}"
        " --out {params.out} --settings {params.settings:q} --seed {params.seed} > {log} 2>&1"
