"""One self-contained page of what a run found: tables, pictures, and what each number means."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from specdm import files
from specdm.metrics.segmentation import slug
from specdm.patches import open_patches

STAGE_VERSION = 6
DOWNSTREAM_PICTURES = {
    "amount.png": "Scores against the number of synthetic patches: means over runs, one standard deviation to either "
    "side, and every run as a dot.",
    "confusion.png": "Where the pixels of each class of the test split go, over all runs of one network; the diagonal "
    "is the recall.",
    "predictions.png": "Test patches, the truth, and what the first run of the same network predicts.",
}
ASKED = ("asked_error", "asked_error_shuffled")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
th.text, td.text { text-align: left } td { white-space: nowrap }
img { max-width: 100%; border: 1px solid #ddd; margin: .5rem 0 } .pixels { image-rendering: pixelated }
.key span { display: inline-block; margin-right: 1rem } .key i { display: inline-block; width: 1em; height: 1em;
  margin-right: .3em; vertical-align: -2px; border: 1px solid #999 }
.note { color: #555 } .scroll { overflow-x: auto }
"""


def report(
    downstream: Path,
    synthesis: Path,
    pictures: Sequence[Path],
    patch_sets: Sequence[Path],
    out: Path,
    note: str = "",
    downstream_pictures: Sequence[Path] = (),
) -> None:
    """Write the page.

    Args:
        downstream, synthesis: the tables.
        pictures: sample pictures, named <dataset>/<method>/samples.png, each with spectra.png beside it.
        patch_sets: the real patch sets, for counts and legends.
        out: the HTML file.
        note: a sentence for the top of the page, for example that images are simulated.
        downstream_pictures: folders <dataset>/downstream with the pictures of the downstream networks.
    """
    downstream_table, synthesis_table = pd.read_csv(downstream, keep_default_na=True), pd.read_csv(synthesis)
    parts = [
        "<h1>SpecDM: what this run found</h1>",
        f"<p><b>{html.escape(note)}</b></p>" if note else "",
        "<p class=note>Every number is collected from the metric files of the run; none is typed.</p>",
        "<h2>Does synthetic data help?</h2>",
        "<p>Downstream networks trained on real, synthetic and mixed patches, tested once on the real test split. "
        f"{_budget(downstream_table)} mIoU and F1 are means over all classes (the paper's convention), "
        "in brackets the standard deviation over seeds. F1 − real: difference to real patches alone, of the same "
        "labels and augmentation, with the 95 % interval of a bootstrap over test groups and pairs of trainings.</p>",
        _downstream_html(downstream_table),
        *(_downstream_pictures_html(folder) for folder in downstream_pictures),
        "<h2>How good is the synthetic data?</h2>",
        "<p>Fréchet distances use features of a network trained on the real training split; read each one beside its "
        "floor, the distance between two disjoint halves of the real data at the same N. mSAD is the mean spectral "
        "angle between class means in radians.</p>",
        _synthesis_html(synthesis_table),
        "<h3>Do the masks fit the images?</h3>",
        "<p>A network trained on real pairs reads the mask from each image. Read its agreement (mIoU) with the "
        "synthetic masks between that with masks shuffled among the images and that on unseen real pairs.</p>",
        _alignment_html(synthesis_table),
    ]
    parts += [
        "<h3>Is every class there, as often as asked for?</h3>",
        "<p>A class is lost when it holds more than 1 % of the real pixels and less than a tenth of that share in the "
        "samples. The second number is the mean difference over classes between the fractions a sample was asked to "
        "have and has, the third the same with the samples shuffled.</p>",
        _coverage_html(synthesis_table),
    ]
    sets = {folder.name: open_patches(folder) for folder in patch_sets}
    for picture in pictures:
        dataset, method = picture.parts[-3], picture.parts[-2]
        parts += [
            f"<h2>{html.escape(dataset)}: pairs made by {html.escape(method)}</h2>",
            _legend_html(sets[dataset], synthesis_table, dataset, method),
            f'<img class=pixels alt="real pairs left, synthetic pairs right" src="{_inline(picture)}">',
            f'<img alt="class-mean spectra" src="{_inline(picture.with_name("spectra.png"))}">',
        ]
    parts += ["<h2>Data</h2>", *(_data_html(patches) for patches in sets.values())]
    with files.new_file(out) as temporary:
        temporary.write_text(
            "<!doctype html><html lang=en><meta charset=utf-8><title>SpecDM report</title>"
            f"<style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"
        )


def _downstream_html(table: pd.DataFrame) -> str:
    columns = [
        "data set",
        "network",
        "regime",
        "real",
        "synthetic",
        "seeds",
        "mIoU",
        "F1",
        "F1 − real",
        "change IoU",
        "paper",
    ]
    rows = []
    for row in table.to_dict("records"):
        change = _with_std(row, "iou_change") if pd.notna(row.get("iou_change_mean")) else ""
        paper = f"{row['paper_miou']:.4f} / {row['paper_mf1']:.4f}" if pd.notna(row["paper_miou"]) else ""
        rows.append(
            [
                *(row[key] for key in ("dataset", "network", "regime", "n_real", "n_synthetic", "n_seeds")),
                *(
                    _with_std(row, "miou_macro"),
                    _with_std(row, "mf1_macro"),
                    _difference(row, "mf1_macro"),
                    change,
                    paper,
                ),
            ]
        )
    return _table(columns, rows, n_text=3)


def _budget(table: pd.DataFrame) -> str:
    """What is equal for all regimes, as a sentence."""
    if "epochs" in set(table["budget"]):
        return "All regimes see their training sets equally often, so larger ones get more steps."
    return "All regimes get the same number of steps."


def _downstream_pictures_html(folder: Path) -> str:
    pictures = "".join(
        f'<p class=note>{text}</p><img alt="{name.removesuffix(".png")}" src="{_inline(folder / name)}">'
        for name, text in DOWNSTREAM_PICTURES.items()
    )
    return f"<h3>{html.escape(folder.parent.name)}: downstream networks</h3>{pictures}"


def _with_std(row: dict, score: str) -> str:
    return _number(row[f"{score}_mean"]) + _in_brackets(_number(row[f"{score}_std"]))


def _difference(row: dict, score: str) -> str:
    """A difference to the baseline with its interval."""
    mean, low, high = (row[f"{score}_{part}"] for part in ("minus_baseline", "low", "high"))
    interval = f" [{low:+.3f}, {high:+.3f}]" if pd.notna(low) else ""
    return _number(mean, "+.3f") + interval


def _number(value: float, form: str = ".3f") -> str:
    """A number as text, empty when it is undefined."""
    return format(value, form) if pd.notna(value) else ""


def _in_brackets(*texts: str) -> str:
    """Those texts that are not empty, in brackets after a space; nothing without any."""
    return f" ({'; '.join(filter(None, texts))})" if any(texts) else ""


def _synthesis_html(table: pd.DataFrame) -> str:
    kinds = [kind for kind in ("image1", "image2", "mask") if f"fd_{kind}" in table]
    columns = ["data set", "method", *(f"FD {kind} (floor; N)" for kind in kinds), "mSAD (floor)"]
    columns += ["rec. RMSE", "rec. SAD", "rec. CE"]
    rows = []
    for row in table.to_dict("records"):
        beside = {f"fd_{k}": (_number(row[f"fd_{k}_floor"]), _number(row[f"fd_{k}_n"], ".0f")) for k in kinds}
        beside["msad_rad"] = (_number(row["msad_rad_floor"]),)
        scores = [_number(row[k]) + _in_brackets(*more) if pd.notna(row[k]) else "" for k, more in beside.items()]
        errors = [_number(row[f"reconstruction_{k}"], ".4f") for k in ("rmse", "sad_rad", "cross_entropy")]
        rows.append([row["dataset"], row["method"], *scores, *errors])
    return _table(columns, rows, n_text=2)


def _coverage_html(table: pd.DataFrame) -> str:
    columns = ["data set", "method", "classes above 1 % lost", "fractions: got − asked (points)", "by chance"]
    rows = [
        [row["dataset"], row["method"], _number(row["classes_lost"], ".0f"), *(_points(row[k]) for k in ASKED)]
        for row in table.to_dict("records")
    ]
    return _table(columns, rows, n_text=2)


def _points(share: float) -> str:
    return _number(100 * share, ".1f")


def _alignment_html(table: pd.DataFrame) -> str:
    columns = ["data set", "method", "synthetic", "shuffled masks", "unseen real", "normalised (0 shuffled, 1 real)"]
    keys = ["agreement", "agreement_shuffled", "agreement_real", "agreement_normalised"]
    rows = [[row["dataset"], row["method"], *(_number(row[k]) for k in keys)] for row in table.to_dict("records")]
    return _table(columns, rows, n_text=2)


def _legend_html(patches, table: pd.DataFrame, dataset: str, method: str) -> str:
    chosen = table[(table["dataset"] == dataset) & (table["method"] == method)].iloc[0]
    entries = []
    for c in patches.meta.labels.classes:
        real, fake = (
            _number(chosen[f"share_{kind}_{slug(c.name)}"], ".1%")
            + _in_brackets(_number(chosen[f"presence_{kind}_{slug(c.name)}"], ".0%"))
            for kind in ("real", "synthetic")
        )
        colour = "#{:02x}{:02x}{:02x}".format(*c.colour)
        entries.append(f'<span><i style="background:{colour}"></i>{html.escape(c.name)} {real} → {fake}</span>')
    return (
        f"<p class=key>{''.join(entries)}</p>"
        "<p class=note>Share of pixels (in brackets: of patches that hold the class), real → synthetic.</p>"
    )


def _data_html(patches) -> str:
    meta, counts = patches.meta, patches.index.groupby("split")["group"].agg(["size", "nunique"])
    splits = "; ".join(f"{name}: {row['size']} patches in {row['nunique']} groups" for name, row in counts.iterrows())
    warnings = "".join(f"<li>{html.escape(text)}</li>" for text in meta.warnings)
    return (
        f"<h3>{html.escape(meta.name)}</h3><p>{html.escape(meta.sensor)}, {meta.level}, {_bands(meta)}. "
        f"{splits}.</p><ul>{warnings}</ul>"
    )


def _bands(meta) -> str:
    """Names of the bands, or of very many their number and range."""
    if len(meta.bands) <= 16:
        return f"bands {html.escape(', '.join(meta.bands))}"
    nm = meta.wavelengths_nm
    return f"{len(meta.bands)} bands" + (f" from {min(nm):.0f} to {max(nm):.0f} nm" if nm else "")


def _table(columns: list[str], rows: list[list], n_text: int) -> str:
    """An HTML table whose first n_text columns are texts, the others numbers."""

    def cells(tag: str, values: list) -> str:
        kinds = [" class=text" if i < n_text else "" for i in range(len(values))]
        return "".join(f"<{tag}{k}>{html.escape(str(v))}</{tag}>" for k, v in zip(kinds, values, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<div class=scroll><table><tr>{cells('th', columns)}</tr>{body}</table></div>"


def _inline(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
