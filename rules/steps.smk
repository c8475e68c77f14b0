"""Quality against the number of sampling steps: results/tables/DATASET/METHOD/steps.csv, a target of its own."""

STEPS = f"{GENERATOR}/steps{{steps}}"
STEPS_NAME = f"{GENERATOR_NAME}-steps{{steps}}"


use rule draw_samples as sample_with_steps with:
    output:
        multiext(f"{RESULTS}/steps/{STEPS}/", *SAMPLE_FILES),
    log:
        f"{RESULTS}/logs/sample_with_steps/{STEPS_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample_with_steps/{STEPS_NAME}.jsonl"
    priority: 0
    params:
        model=model_of,
        out=subpath(output[0], parent=True),
        state=f"{RESULTS}/state/sample_with_steps/{STEPS_NAME}",
        n=CONFIG.evaluation.n_samples,
        shard="",
        name=STEPS_NAME,
        settings=settings(sampling_with_steps),
        seed=generator_seed,
        version=stage_version("sample"),
    message:
        "Drawing {params.n} pairs like {wildcards.dataset} in {wildcards.steps} steps"


use rule evaluate as evaluate_with_steps with:
    input:
        rules.train_autoencoder.output,
        denoiser=rules.train_diffusion.output,
        patches=rules.prepare.output,
        samples=rules.sample_with_steps.output,
        teacher=rules.train_teacher.output,
        inception=inception_file(),
    output:
        metrics=f"{RESULTS}/metrics/{STEPS}/synthesis.json",
        pictures=multiext(f"{RESULTS}/figures/{STEPS}/", *SET_PICTURES),
    log:
        f"{RESULTS}/logs/evaluate_with_steps/{STEPS_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_with_steps/{STEPS_NAME}.jsonl"
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
        "Measuring {wildcards.method} on {wildcards.dataset} in {wildcards.steps} steps"


use rule check_alignment as check_alignment_with_steps with:
    input:
        lambda wc: model_files(full_judges(wc)),
        patches=rules.prepare.output,
        samples=rules.sample_with_steps.output,
    output:
        metrics=f"{RESULTS}/metrics/{STEPS}/alignment.json",
        picture=multiext(f"{RESULTS}/figures/{STEPS}/alignment", ".png", ".pdf"),
    log:
        f"{RESULTS}/logs/check_alignment_with_steps/{STEPS_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/check_alignment_with_steps/{STEPS_NAME}.jsonl"
    params:
        patches=where("patches"),
        samples=where("samples"),
        judges=lambda wc: full_judges(wc),
        settings=settings(measured),
        seed=CONFIG.seed,
        version=stage_version("check_alignment"),
    message:
        "Checking how the masks of {wildcards.method} in {wildcards.steps} steps fit on {wildcards.dataset}"


rule steps_table:
    """Compare samples drawn in different numbers of sampling steps: a table, and curves beside their floors."""
    input:
        metrics=with_each_number_of_steps("synthesis.json"),
        alignment=with_each_number_of_steps("alignment.json"),
    output:
        table=f"{RESULTS}/tables/{{dataset}}/{{method}}/steps.csv",
        picture=multiext(
            f"{RESULTS}/figures/{{dataset}}/{{method}}/steps", ".png", ".pdf"
        ),
    log:
        f"{RESULTS}/logs/steps_table/{{dataset}}-{{method}}.log",
    conda:
        "../envs/specdm.yaml"
    params:
        alignment=lambda wc, input: " ".join(
            f"--alignment {path}" for path in input.alignment
        ),
        picture=f"{RESULTS}/figures/{{dataset}}/{{method}}/steps",
        version=stage_version("tabulate_steps"),
    message:
        "Comparing numbers of sampling steps of {wildcards.method} on {wildcards.dataset}"
    shell:
        "python -m specdm tabulate-steps {input.metrics} {params.alignment} --out {output.table}"
        " --picture {params.picture} > {log} 2>&1"
