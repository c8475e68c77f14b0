"""SpecDM: labelled hyper- and multispectral training data from a joint latent diffusion model of image and mask."""

__version__ = "0.1.0"
