"""Results of downstream trainings made by hand, as train-downstream writes them, and figures of a paper."""

from pathlib import Path

import numpy as np
import pandas as pd

from specdm.metrics.segmentation import ConfusionMatrix

ROOT = Path(__file__).parents[2]
GROUPS = ["a", "b", "c"]
CLASSES = ("sea", "land", "wood")
TWO = ("no_change", "change")
PAPER = """dataset,network,regime,n_real,n_synthetic,miou,mf1,where
fields,unet,real,10,0,0.3574,0.4852,table 5
fields,unet,augmented-x1,10,10,0.3664,0.4942,table 6
fields,unet,augmented-x5,2000,10000,0.3772,0.5092,table 5
fields,unet,augmented-x5-ldm,10,50,0.3499,0.4803,table 5
"""
REAL = dict(method="", n_synthetic=0)
KIND = dict(real=1, augmentation="basic", images="drawn", masks="own", order="mixed")


def draw_counts(seed, classes=CLASSES, skill=0.6) -> np.ndarray:
    """Counts (G,K,K) of the same test split by another network each time."""
    k = len(classes)
    true = np.random.default_rng(k).integers(50, 200, (len(GROUPS), k))
    chances = np.eye(k) * skill + (1 - skill) / k
    return np.random.default_rng(seed).multinomial(true, np.broadcast_to(chances, (len(GROUPS), k, k)))


def scores_of(counts, classes=CLASSES) -> dict:
    confusion = ConfusionMatrix(len(classes))
    confusion.matrix = counts.sum(0)
    return confusion.scores(classes)


def row_of(table, regime, **where) -> pd.Series:
    for key, value in where.items():
        table = table[table[key] == value]
    return table.set_index("regime").loc[regime]
