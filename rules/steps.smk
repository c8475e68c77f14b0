"""Quality against the number of sampling steps: results/tables/DATASET/METHOD/steps.csv, a target of its own."""

STEPS = f"{GENERATOR}/steps{{steps}}"
STEPS_NAME = f"{GENERATOR_NAME}-steps{{steps}}"


def sampling_with_steps(wildcards):
    sampling = method_of(wildcards.dataset, wildcards.method).sampling
    return sampling.model_copy(update={"n_steps": int(wildcards.steps)})


use rule sample as sample_with_steps with:
    output:
        multiext(f"{RESULTS}/steps/{STEPS}/", *PATCH_FILES, "asked.npy"),
    log:
        f"{RESULTS}/logs/sample_with_steps/{STEPS_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample_with_steps/{STEPS_NAME}.jsonl"
    priority: 0
    params:
        model=f"{RESULTS}/models/{GENERATOR}",
        out=f"{RESULTS}/steps/{STEPS}",
        state=f"{RESULTS}/state/sample_with_steps/{STEPS_NAME}",
        n=CONFIG.evaluation.n_samples,
        name=STEPS_NAME,
        settings=settings(sampling_with_steps),
        seed=generator_seed,
        version=stage_version("sample"),
    message:
        "Drawing {params.n} pairs like {wildcards.dataset} in {wildcards.steps} steps"


use rule evaluate as evaluate_with_steps with:
    input:
        rules.prepare.output,
        rules.sample_with_steps.output,
        rules.train_autoencoder.output,
        rules.train_diffusion.output,
        rules.train_teacher.output,
        inception=inception_file(),
    output:
        metrics=f"{RESULTS}/metrics/{STEPS}/synthesis.json",
        pictures=multiext(f"{RESULTS}/figures/{STEPS}/", *SET_PICTURES),
    log:
        f"{RESULTS}/logs/evaluate_with_steps/{STEPS_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_with_steps/{STEPS_NAME}.jsonl"
    params:
        patches=rules.prepare.params.out,
        samples=rules.sample_with_steps.params.out,
        model=rules.sample.params.model,
        teacher=rules.train_teacher.params.out,
        pictures=f"{RESULTS}/figures/{STEPS}",
        inception=inception_option,
        settings=settings(measured),
        seed=CONFIG.seed,
        version=stage_version("evaluate"),
    message:
        "Measuring {wildcards.method} on {wildcards.dataset} in {wildcards.steps} steps"


use rule check_alignment as check_alignment_with_steps with:
    input:
        rules.prepare.output,
        rules.sample_with_steps.output,
        lambda wc: model_files(full_judges(wc)),
    output:
        metrics=f"{RESULTS}/metrics/{STEPS}/alignment.json",
        picture=multiext(f"{RESULTS}/figures/{STEPS}/alignment", ".png", ".pdf"),
    log:
        f"{RESULTS}/logs/check_alignment_with_steps/{STEPS_NAME}.log",
    benchmark:
        f"{RESULTS}/benchmarks/check_alignment_with_steps/{STEPS_NAME}.jsonl"
    params:
        patches=rules.prepare.params.out,
        samples=rules.sample_with_steps.params.out,
        judges=lambda wc: full_judges(wc),
        settings=settings(measured),
        seed=CONFIG.seed,
        version=stage_version("check_alignment"),
    message:
        "Checking how the masks of {wildcards.method} in {wildcards.steps} steps fit on {wildcards.dataset}"


def with_each_number_of_steps(file):
    return lambda wildcards: [
        f"{RESULTS}/metrics/{wildcards.dataset}/{wildcards.method}/steps{n}/{file}"
        for n in CONFIG.evaluation.sampling_steps
    ]


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
