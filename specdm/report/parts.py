"""The page from its verdicts down to the pictures: what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from specdm.config import Config
from specdm.metrics.segmentation import slug
from specdm.report import comparisons, measures, quality
from specdm.report.benefit import benefit
from specdm.report.html import Row, bullets, folded, note, table, text
from specdm.report.page import Part
from specdm.report.pictures import captioned_order, figure
from specdm.report.sets import DataSet, legend
from specdm.report.verdicts import Verdict, answers, glance

EXPERIMENT = ("network", "regime")  # what names a row within a data set
FEW_GROUPS = 10  # test places below which a bootstrap over them is too narrow to be believed


@dataclass(frozen=True)
class Pictures:
    """The pictures of a folder figures/<dataset>/<method>.

    Attributes:
        dataset, method: whose; "downstream" for those of the networks.
        place: the folder's path beside the page.
        pngs: files by name without suffix.
        pdfs: names of pictures that have a version for print beside them.
    """

    dataset: str
    method: str
    place: str
    pngs: Mapping[str, bytes]
    pdfs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Found:
    """All that a run gave: rows of its tables, data sets, pictures."""

    downstream: Sequence[Row]
    synthesis: Sequence[Row]
    alignment: Sequence[Row]
    copies: Sequence[Row]
    ablation: Sequence[Row]
    sets: Sequence[DataSet] = ()
    pictures: Sequence[Pictures] = ()
    downstream_pictures: Sequence[Pictures] = ()
    note: str = ""
    configuration: Config | None = None

    @property
    def datasets(self) -> list[str]:
        """Names in the order of the tables."""
        return list(dict.fromkeys(str(row["dataset"]) for row in [*self.downstream, *self.synthesis]))

    def methods(self, dataset: str) -> list[str]:
        """Generators of a data set, the main one first."""
        return [str(row["method"]) for row in self.synthesis if row["dataset"] == dataset]


def top(found: Found) -> str:
    """Verdicts of every data set at a glance, as HTML."""
    content = note(
        "Every number is collected from the metric files of the run; none is typed. In brackets: 95 % intervals."
    )
    content += f"<p class=caution><b>{text(found.note)}</b></p>" if found.note else ""
    return content + glance({name: _verdicts(found, name) for name in found.datasets})


def _sentences(found: Found) -> str:
    content = ""
    for name in found.datasets:
        methods = found.methods(name)
        content += f"<h3>{text(name)}</h3>{answers(_verdicts(found, name))}{bullets(_cautions(found, name), 'caution')}"
        others = "".join(f"<h4>{text(m)}</h4>{answers(_of_method(found, name, m))}" for m in methods[1:])
        if others:
            content += note(f"The last answers are about {methods[0]}, the first generator of this data set.")
            content += folded(f"the other generators of {name}: {', '.join(methods[1:])}", others)
    return content


def _verdicts(found: Found, dataset: str) -> list[Verdict]:
    own = benefit([row for row in found.downstream if row["dataset"] == dataset])
    return own + [verdict for method in found.methods(dataset)[:1] for verdict in _of_method(found, dataset, method)]


def _of_method(found: Found, dataset: str, method: str) -> list[Verdict]:
    row = _own(found.synthesis, dataset, method)[0]
    fit = _own(found.alignment, dataset, method)
    copied = _own(found.copies, dataset, method)
    return [
        quality.masks_fit(fit) if fit else _unmeasured(quality.MASKS),
        quality.copies(copied) if copied else _unmeasured(quality.COPIES),
        quality.classes_there(row),
        quality.distance(row),
    ]


def _unmeasured(question: str) -> Verdict:
    return Verdict(question, "unknown", "not measured", "No table of this was given.")


def _own(rows: Sequence[Row], dataset: str, method: str) -> list[Row]:
    return [row for row in rows if (row["dataset"], row["method"]) == (dataset, method)]


def _cautions(found: Found, dataset: str) -> list[str]:
    """What limits all of the verdicts of a data set."""
    cautions = []
    rows = [row for row in found.downstream if row["dataset"] == dataset]
    if any(row["n_synthetic"] for row in rows) and all(row["n_generators"] <= 1 for row in rows):
        cautions.append("All synthetic patches come from one training of each generator: other seeds may differ.")
    data = next((data for data in found.sets if data.name == dataset), None)
    if data is not None:
        groups = data.splits.get("test", (0, 0))[1]
        if 0 < groups < FEW_GROUPS:
            cautions.append(f"Test groups are few ({groups}): intervals over them are too narrow.")
        if data.warnings:
            cautions.append(f"The data have warnings ({len(data.warnings)}), see Data.")
        cautions += _more_labels(found, data)
    return cautions


def _more_labels(found: Found, data: DataSet) -> list[str]:
    """Generators that saw labelled patches which the downstream networks were denied."""
    if found.configuration is None or data.name not in found.configuration.datasets:
        return []
    own = found.configuration.datasets[data.name]
    shown = data.splits.get("train", (0, 0))[0]
    full = [m for m in own.methods if found.configuration.method(data.name, m).generator_data == "full"]
    if not full or shown <= own.n_real:
        return []
    return [
        f"{', '.join(full)} learned from all {shown} labelled training patches, the networks from {own.n_real}: "
        "a gain may come from those labels. The table of controls (real-all) says what they are worth by themselves."
    ]


def parts(found: Found) -> list[Part]:
    """What came out: verdicts in sentences with their cautions, then in detail."""
    return [
        Part("verdicts", "Verdicts", _sentences(found)),
        Part("benefit", "Does synthetic data help?", _benefit(found)),
        Part("masks", "Do the masks fit the images?", _alignment(found)),
        Part("copies", "Are samples copies of training patches?", _copies(found)),
        Part("closeness", "How close are synthetic pairs to real ones?", _closeness(found)),
        Part("pictures", "Pictures", _pictures(found)),
    ]


def _benefit(found: Found) -> str:
    rows = found.downstream
    content = note(
        "Networks trained on real, synthetic and mixed patches, tested once on the real test split. "
        f"{_budget(rows)} mIoU and F1 are unweighted means over all classes (the paper's convention), ± the standard "
        "deviation over trainings. − baseline: difference to real patches alone, of the same labels and augmentation, "
        "with the 95 % interval of a bootstrap over test groups and pairs of trainings."
    )
    content += table(comparisons.downstream(rows))
    if all(row["paper_mf1"] is None for row in rows):
        content += note(
            "The paper's figures stand beside the same experiment only: no row here has its data, network and numbers "
            "of patches."
        )
    for dataset in found.datasets:
        own = [row for row in rows if row["dataset"] == dataset]
        if not own:
            continue
        shown = table(comparisons.of_classes(own), "IoU of each class") + table(comparisons.everything(own, EXPERIMENT))
        content += folded(f"{dataset}: every class and every column", shown)
    for folder in found.downstream_pictures:
        content += f"<h3>{text(folder.dataset)}: downstream networks</h3>{_figures(folder)}"
    return content


def _budget(rows: Sequence[Row]) -> str:
    """What is equal for all training sets, as a sentence."""
    if any(row["budget"] == "epochs" for row in rows):
        return "All training sets are seen equally often, so larger ones get more steps."
    return "All training sets get the same number of steps."


def _alignment(found: Found) -> str:
    if not found.alignment:
        return note("The table of alignment was not given.")
    return (
        note(
            "Each scorer says how well masks fit their images. Its scale runs from the same images with masks of other "
            "pairs (0) to real pairs that its judge has not seen (1); judges never saw synthetic pairs. Masks moved by "
            "some pixels show whether they lie where they belong. In the row information, where there is one, the "
            "generator judges itself: it decides no verdict."
        )
        + table(measures.alignment(found.alignment))
        + folded("scores by how far the masks were moved", table(measures.curves(found.alignment)))
    )


def _copies(found: Found) -> str:
    if not found.copies:
        return note("Whether samples are copies of training patches was not measured: no table was given.")
    return note(
        "How many samples lie closer to a training patch than a threshold, which real patches unseen in training "
        "cross as rarely as the expected share says."
    ) + table(measures.copies(found.copies))


def _closeness(found: Found) -> str:
    rows = found.synthesis
    content = note(
        "Read each score beside its floor: the same between two halves of the real training split that share no group, "
        "Fréchet distances at the same N. KID: unbiased kernel distance. mSAD: mean spectral angle between class means "
        "in radians; refl is reflectance. Distances to held-out patches are to the validation split."
    )
    compared = [{key: row.get(key) for key in (*measures.KEYS, *measures.COMPARED)} for row in rows]
    content += table(comparisons.everything(compared, measures.KEYS), "What was compared")
    content += table(measures.distances(rows), "Distances")
    content += "".join(table(measures.group(rows, title), title) for title in measures.GROUPS)
    silent = [
        f"{row['dataset']}, {row['method']}: {row['not_computable']}" for row in rows if row.get("not_computable")
    ]
    content += f"<h3>Not computable</h3>{bullets(silent)}" if silent else ""
    content += folded("how often each class occurs", table(measures.shares(rows)))
    if found.ablation:
        content += "<h3>What the spectral angle in the loss does: the paper's table 4</h3>" + note(
            "The paper's FIDs use other features than our Fréchet distances: compare within a column only."
        )
        content += table(comparisons.ablation(found.ablation))
    rest = [{n: v for n, v in row.items() if n in measures.KEYS or not measures.is_shown(n)} for row in rows]
    if any(len(row) > len(measures.KEYS) for row in rest):
        content += folded("further columns", table(comparisons.everything(rest, measures.KEYS)))
    return content


def _pictures(found: Found) -> str:
    sets, seen, content = {data.name: data for data in found.sets}, set(), ""
    for folder in found.pictures:
        row = next(iter(_own(found.synthesis, folder.dataset, folder.method)), {})
        key = legend(sets[folder.dataset], row, slug) if folder.dataset in sets else ""
        title = f"{folder.dataset}: pairs made by {folder.method}"
        content += folded(title, key + _figures(folder), is_open=folder.dataset not in seen)
        seen.add(folder.dataset)
    return content or note("No pictures were given.")


def _figures(folder: Pictures) -> str:
    content = ""
    for name in sorted(folder.pngs, key=captioned_order):
        pdf = f"{folder.place}/{name}.pdf" if name in folder.pdfs else ""
        content += figure(name, folder.pngs[name], f"{folder.place}/{name}.png", pdf)
    return content
