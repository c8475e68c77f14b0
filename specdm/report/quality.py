"""How good are the synthetic pairs? From scores of one generator on one data set to sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence

from specdm.metrics.alignment import OWN
from specdm.report.html import Row, interval, percent, signed
from specdm.report.verdicts import Verdict

MASKS, COPIES, CLASSES, DISTANCE = "Do masks fit?", "Copies?", "All classes there?", "How close to real?"
LOST_ABOVE, LOST_BELOW = 0.01, 0.1  # a class is lost with a larger share of real pixels and less than a tenth of it
BLURRED = 0.5  # share of fine detail, synthetic / real, below which an eye sees it
SMALL_N = 2000  # patches below which the bias of a Fréchet distance is of its own size


def masks_fit(rows: Sequence[Row]) -> Verdict:
    """From the rows of the scorers of alignment, without the one in which the generator judges itself."""
    rows = [row for row in rows if row["scorer"] != OWN]
    scaled = [row for row in rows if row["scaled"] is not None]
    silent = [row for row in rows if row["scaled"] is None]
    more = [f"{row['scorer']}: not computable, because {_because(row)}." for row in silent]
    if not scaled:
        return Verdict(MASKS, "unknown", "not computable", "No scorer can tell.", more)
    lowest = min(scaled, key=lambda row: row["scaled"])
    network = next((row for row in scaled if row["scorer"] == "network"), lowest)
    sentence = "On a scale from 0 (masks of other images) to 1 (real pairs that the judge has not seen) masks fit "
    sentence += f"{_scaled(network)} by {'what networks read' if network['scorer'] == 'network' else network['scorer']}"
    if network is not lowest:
        sentence += f", and least, {_scaled(lowest)}, by {lowest['scorer']}"
    where, moved = _peaks(rows)
    tone, judgement = _fit(scaled, moved)
    return Verdict(MASKS, tone, judgement, f"{sentence}. {where}", more)


def _fit(scaled: Sequence[Row], moved: bool) -> tuple[str, str]:
    if moved:
        return "bad", "displaced"
    if any(row["scaled_low"] is None for row in scaled):
        return "unknown", "no interval"
    if all(row["scaled_high"] <= 0 for row in scaled):
        return "bad", "no better than exchanged masks"
    if any(row["scaled_low"] <= 0 for row in scaled):
        return "mixed", "unclear"
    if all(row["scaled_high"] >= 1 for row in scaled):
        return "good", "like real pairs, within their intervals"
    return "mixed", "partly: less than real pairs"


def _scaled(row: Row) -> str:
    return signed(row["scaled"], ".2f") + interval(row["scaled_low"], row["scaled_high"], ".2f")


def _peaks(rows: Sequence[Row]) -> tuple[str, bool]:
    """Where masks fit best when moved, in words; and whether some are displaced beyond chance."""
    known = [row for row in rows if row.get("peak_px") is not None]
    if not known:
        return "Where masks fit best when moved was not measured.", False
    away = [row for row in known if row["peak_px"]]
    if not away:
        return "Masks lie where they belong: every curve peaks at 0 px.", False
    beyond = [row for row in away if _beyond(row)]
    listed = ", ".join(
        f"{row['scorer']} {row['peak_px']:.0f} px {row.get('peak_direction') or ''}".rstrip() for row in away
    )
    if beyond:
        names = ", ".join(str(row["scorer"]) for row in beyond)
        return f"Masks fit better when moved: {listed}; beyond the score's interval by {names}.", True
    return f"Some curves peak beside 0 px ({listed}), within their intervals: no displacement is shown.", False


def _beyond(row: Row) -> bool:
    score, high = row.get("peak_score"), row["synthetic_high"]
    return score is not None and high is not None and score > high


def _because(row: Row) -> str:
    return str(row["because"] or "no reason was given")


def copies(rows: Sequence[Row]) -> Verdict:
    """From the rows of the kinds of copies; masks decide nothing, for a copied mask with a new image is no copy."""
    images = [row for row in rows if not str(row["kind"]).startswith("masks")]
    found = [row for row in images if row["verdict"] == "copies"]
    clear = [row for row in images if row["verdict"] == "none found"]
    silent = [row for row in rows if row["verdict"] not in ("copies", "none found")]
    more = [f"{row['kind']}: not computable, because {_because(row)}." for row in silent]
    more += [
        f"{row['kind']}: {_closer(row)}; with new images that is no fault."
        for row in rows
        if row not in images and row["verdict"] == "copies"
    ]
    if found:
        listed = "; ".join(f"{row['kind']}: {_closer(row)}" for row in found)
        return Verdict(COPIES, "bad", "copies found", f"{listed}.", more)
    if not clear:
        return Verdict(COPIES, "unknown", "not computable", "Whether samples are copies could not be checked.", more)
    most = max(clear, key=lambda row: row["share_closer"] or 0)
    sentence = f"{most['kind']}: {_closer(most)}"
    if len(clear) > 1:
        sentence = f"Of {len(clear)} ways to compare images the largest share is that of {sentence}"
    more = [f"{row['kind']}: {row['because']}." for row in clear if row["because"]][:1] + more
    more.append("None found is no proof: training patches changed more than the check allows are not seen.")
    if len(clear) < len(images):
        return Verdict(COPIES, "mixed", "none found, not all checked", f"{sentence}.", more)
    return Verdict(COPIES, "good", "none found", f"{sentence}.", more)


def _closer(row: Row) -> str:
    if row["share_closer"] is None:
        return "share unknown"
    expected = "" if row["expected_share"] is None else f", {percent(row['expected_share'])} expected"
    low, high = row["low"], row["high"]
    between = "" if low is None or high is None else f" [{percent(low)}, {percent(high)}]"
    n = "" if row["n"] is None else f" of {row['n']:.0f}"
    return f"{percent(row['share_closer'])}{between}{n} lie closer to a training patch than the threshold{expected}"


def classes_there(row: Row) -> Verdict:
    """From a row of the table of synthetic sets."""
    shares = class_shares(row)
    lost = [name for name, real, fake in shares if real > LOST_ABOVE and fake < LOST_BELOW * real]
    checked = sum(real > LOST_ABOVE for _, real, _ in shares)
    more = []
    if row.get("asked_error") is not None:
        by_chance = row.get("asked_error_shuffled")
        beside = "" if by_chance is None else f" ({100 * by_chance:.1f} by chance)"
        more = [f"Class fractions are {100 * row['asked_error']:.1f} points off what was asked for on average{beside}."]
    if not checked:
        return Verdict(CLASSES, "unknown", "not computable", "No class holds more than 1 % of the real pixels.", more)
    if lost:
        sentence = f"{len(lost)} of {checked} classes above 1 % of the real pixels lost: {', '.join(lost)}."
        return Verdict(CLASSES, "bad", f"{len(lost)} lost", sentence, more)
    return Verdict(
        CLASSES, "good", "none lost", f"Every class above 1 % of the real pixels is there ({checked}).", more
    )


def class_shares(row: Row) -> list[tuple[str, float, float]]:
    """Name, real and synthetic share of the pixels of every class of a row."""
    found = []
    for key, real in row.items():
        name = key.removeprefix("share_real_")
        fake = row.get(f"share_synthetic_{name}")
        if name != key and real is not None and fake is not None:
            found.append((name.replace("_", " "), real, fake))
    return found


def distance(row: Row) -> Verdict:
    """From a row of the table of synthetic sets: distances against their floors."""
    kinds = [key.removeprefix("fd_").removesuffix("_floor") for key in row if re.fullmatch(r"fd_.+_floor", key)]
    known = [kind for kind in kinds if row.get(f"fd_{kind}") is not None and row[f"fd_{kind}_floor"]]
    if not known:
        because = row.get("not_computable") or "a side has too few patches"
        return Verdict(DISTANCE, "unknown", "not computable", f"No distance has a floor: {because}.")
    times = {kind: row[f"fd_{kind}"] / row[f"fd_{kind}_floor"] for kind in known}
    listed = "; ".join(
        f"{kind_in_words(kind, row)} {_times(times[kind])} times (distance {row[f'fd_{kind}']:.3g}, floor "
        f"{row[f'fd_{kind}_floor']:.3g})"
        for kind in known
    )
    sizes = [row[f"fd_{kind}_n"] for kind in known if row.get(f"fd_{kind}_n") is not None]
    sentence = f"Fréchet distance against its floor, that of two disjoint halves of the real data: {listed}."
    more = []
    if row.get("msad_rad") is not None:
        floor = "" if row.get("msad_rad_floor") is None else f", between real halves {row['msad_rad_floor']:.3f}"
        more.append(f"Mean spectra of the classes differ by {row['msad_rad']:.3f} rad{floor}.")
    detail = row.get("fine_detail_ratio")
    if detail is not None and detail < BLURRED:
        more.append(
            f"Images are blurred: detail finer than 4 px makes up {percent(detail, 0)} of the share that it has in "
            "real ones."
        )
    if sizes and min(sizes) < SMALL_N:
        more.append(
            f"N = {min(sizes):.0f} is small: most of such a distance is bias; read it beside a floor of the same N."
        )
    if max(times.values()) <= 1:
        more.append("That is closeness to the training data; whether samples are new is the question of copies.")
        return Verdict(DISTANCE, "good", "within the real spread", sentence, more)
    farthest = max(times, key=times.get)
    judgement = f"{kind_in_words(farthest, row)} {_times(times[farthest])} × the floor"
    return Verdict(DISTANCE, "mixed", judgement, sentence, more)


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def kind_in_words(kind: str, row: Row) -> str:
    """What a distance of a row is of: "image1" -> "images, date 1", of one date "images"; others as they are named."""
    dated = re.fullmatch(r"image(\d)", kind)
    if dated:
        return f"images, date {dated[1]}" if row.get("fd_image2") is not None else "images"
    return kind.replace("_", " ").replace("mask", "masks")
