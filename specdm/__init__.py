"""SpecDM: labelled hyper- and multispectral training data from a joint latent diffusion model of image and mask.

from specdm import SpecDM
samples = SpecDM.from_pretrained("results/models/oscd/specdm").sample(16, seed=0)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specdm.model import SpecDM

__all__ = ["SpecDM"]
__version__ = "0.1.0"


def __getattr__(name: str):
    """SpecDM, loaded when it is asked for: it needs torch, which most of the package does without."""
    if name == "SpecDM":
        from specdm.model import SpecDM

        return SpecDM
    raise AttributeError(f"module 'specdm' has no attribute {name!r}")
