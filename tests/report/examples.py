"""Rows as the tables hold them, for pages without a run."""

import io

from PIL import Image

from specdm.costs import Cost
from specdm.report.parts import Found, Pictures
from specdm.report.sets import DataSet, ShownClass


def trained(regime, mf1, synthetic=0, real=100, difference=None, low=None, high=None, **more):
    """A row of the table of downstream results."""
    row = dict(dataset="towns", network="unet", regime=regime, method="specdm" if synthetic else None, n_real=real)
    row |= dict(n_synthetic=synthetic, n_runs=3, n_pairs=3, n_seeds=3, n_generators=int(synthetic > 0))
    row |= dict(augmentation="basic", budget="iterations", baseline="real" if synthetic else None)
    row |= dict(miou_macro_mean=mf1 - 0.1, mf1_macro_mean=mf1, mf1_macro_std=0.01, paper_miou=None, paper_mf1=None)
    for score in ("miou_macro", "mf1_macro"):
        row |= {f"{score}_minus_baseline": difference, f"{score}_low": low, f"{score}_high": high}
    return row | {"iou_a_b_mean": 0.25, "iou_a_b_std": None} | more


def scored(scorer, scaled=None, low=None, high=None, **more):
    """A row of the table of alignment."""
    row = dict(dataset="towns", method="specdm", scorer=scorer, title=f"what {scorer} is", seen=0.9, exchanged=0.1)
    row |= dict(synthetic=0.6, synthetic_low=0.55, synthetic_high=0.65, real=0.8, real_low=0.7, real_high=0.9)
    row |= dict(scaled=scaled, scaled_low=low, scaled_high=high, because=None, peak_px=0, peak_direction=None)
    return row | {"peak_score": 0.6, "at_1px": 0.5, "real_at_1px": 0.7} | more


def copied(kind, verdict="none found", share=0.012, **more):
    """A row of the table of copies."""
    row = dict(dataset="towns", method="specdm", kind=kind, n=300, n_excluded=4, reference_n=400, threshold=0.25)
    row |= dict(expected_share=0.01, share_closer=share, low=0.002, high=0.03, held_out_n=130, held_out_share=0.0125)
    return row | {"verdict": verdict, "because": None} | more


def measured(dataset="towns", method="specdm", **more):
    """A row of the table of synthetic sets: two classes and distances of one date."""
    row = dict(dataset=dataset, method=method, fd_image1=1.5, fd_image1_n=40, fd_image1_floor=3.0)
    row |= dict(fd_mask=8.0, fd_mask_n=40, fd_mask_floor=2.0, msad_rad=0.021, msad_rad_floor=0.06)
    row |= dict(share_real_a_b=0.9, share_synthetic_a_b=0.999, share_real_wood=0.1, share_synthetic_wood=0.001)
    row |= dict(presence_real_a_b=1.0, presence_synthetic_a_b=1.0, presence_real_wood=0.5, presence_synthetic_wood=0.02)
    return row | dict(asked_error=0.034, asked_error_shuffled=0.21) | more


def cost(stage, hours, **more):
    """What one job of a stage cost that was done at its first attempt."""
    fields = dict(jobs=1, attempts=1, paused=0, out_of_memory=0, failed=0, cut_off=0, lost_hours=0.0, without_hours=0)
    fields |= dict(job_hours=hours, gpu_hours=hours, longest_hours=hours, peak_mib=512, asked_mib=4096, cores_used=1.5)
    return Cost(stage, **fields | more)


def png(width=40, height=30):
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(stream, "PNG")
    return stream.getvalue()


def pictures(method="specdm", **more):
    """The pictures of a folder."""
    fields = dict(dataset="towns", method=method, place=f"figures/towns/{method}", pngs={"samples": png()})
    return Pictures(**fields | more)


def data_set(**more):
    classes = (ShownClass("A&B", (255, 0, 16)), ShownClass("wood", (0, 128, 0)))
    fields = dict(name="towns", sensor="Sentinel-2 MSI", level="TOA", bands=("B02", "<B>"), wavelengths_nm=(490, 560))
    fields |= dict(
        shape=(60, 1, 2, 32, 32), splits={"train": (40, 12), "val": (10, 2), "test": (10, 3)}, classes=classes
    )
    return DataSet(**fields | dict(checksums={"images": "abcdef0123456789abcd"}, warnings=("clouds & haze",)) | more)


def found(**more):
    """All that a run of one data set and two generators gave."""
    downstream = [
        trained("real", 0.7),
        trained("augmented-x1", 0.71, 100, difference=0.01, low=-0.02, high=0.04),
        trained("augmented-x10", 0.65, 1000, difference=-0.05, low=-0.09, high=-0.01),
    ]
    rows = dict(downstream=downstream, synthesis=[measured(), measured(method="ldm")], ablation=[])
    rows |= dict(alignment=[scored("network", 0.8, 0.7, 0.9)], copies=[copied("image")])
    return Found(**rows | dict(sets=[data_set()], pictures=[pictures(), pictures("ldm")]) | more)
