"""Pictures inside the page, with what they show in words."""

from __future__ import annotations

import base64
import io

from specdm.report.html import text

LARGEST_BYTES = 1_000_000  # of a picture that is shown as it is: ten generators with larger ones make a page too heavy
SHOWN_PX = 1800  # width of larger ones in the page
# In the order in which they are shown; others that lie beside them follow by name.
CAPTIONS = {
    "amount": "Scores against the number of synthetic patches: means over runs, one standard deviation to either side, "
    "and every run as a dot.",
    "confusion": "Where the pixels of each class of the test split go, over all runs of one network; the diagonal is "
    "the recall.",
    "predictions": "Test patches, the truth, and what the first run of the same network predicts.",
    "samples": "Real pairs on the left, synthetic pairs on the right, with the same stretch of colours; not chosen.",
    "spectra": "Mean spectra of the largest classes, real (solid) and synthetic (dashed), and the range of 80 % of the "
    "patches.",
    "classes": "Share of the labelled pixels of each class, real and synthetic, with 95 % intervals.",
    "power": "How much detail of each size the images hold, real and synthetic: a generator that blurs falls "
    "below on the side of fine detail.",
    "alignment": "Scores when the masks are moved away from where they lie: they fit where the curves of synthetic "
    "pairs peak at 0 px and fall as those of real pairs do.",
    "information": "What image and mask of the first samples tell of each other by the generator itself: blue where "
    "they speak for each other, red where against.",
    "copies": "The samples that come closest to a training patch, beside it, turned and shifted to fit.",
    "curves": "Terms of the losses over the steps of training; dashed: on validation patches.",
}


def captioned_order(name: str) -> tuple[int, str]:
    """Where a picture without its suffix stands among others."""
    known = list(CAPTIONS)
    return known.index(name) if name in CAPTIONS else len(known), name


def figure(name: str, png: bytes, where: str, pdf: str = "") -> str:
    """A picture with its caption.

    Args:
        name: its file's name without suffix.
        png: the file. A large one is shown reduced, and the caption says so.
        where: its path beside the page.
        pdf: the path of a version for print, empty without one.
    """
    kind, content = ("png", png) if len(png) <= LARGEST_BYTES else ("jpeg", reduced(png))
    words = name.replace("_", " ")
    caption = CAPTIONS.get(name, words[:1].upper() + words[1:] + ".")
    if kind == "jpeg":
        caption += f" Reduced; in full: {where}"
    if pdf:
        caption += f" For print: {pdf}"
    encoded = base64.b64encode(content).decode()
    return (
        f"<figure><figcaption>{text(caption)}</figcaption>"
        f'<img alt="{text(words)}" src="data:image/{kind};base64,{encoded}"></figure>'
    )


def reduced(png: bytes) -> bytes:
    """A picture as JPEG, at most SHOWN_PX wide."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        flat = picture.convert("RGB")
    if flat.width > SHOWN_PX:
        flat = flat.resize((SHOWN_PX, round(flat.height * SHOWN_PX / flat.width)), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    flat.save(stream, "JPEG", quality=85, subsampling=0)
    return stream.getvalue()
