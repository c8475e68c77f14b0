"""Does synthetic data help? From differences to real patches alone to a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from specdm.report.html import Row, interval, signed
from specdm.report.verdicts import Verdict

QUESTION = "Does it help?"
SCORE = "mf1_macro"  # the paper's F1: the unweighted mean over all classes
# Tone and word of a difference, by what its interval says.
JUDGED = {
    "raised": ("good", "helped"),
    "lowered": ("bad", "hurt"),
    "open": ("mixed", "no clear effect"),
    "unknown": ("unknown", "no interval"),
}
DOUBT = {"open": ": no difference beyond chance", "unknown": "; without an interval this says little"}


def benefit(rows: Sequence[Row]) -> list[Verdict]:
    """A verdict a network, from the rows of one data set in the table of downstream results.

    It is about the training set with synthetic patches, and if there is one with real ones too, that scores highest.
    """
    networks = list(dict.fromkeys(str(row["network"]) for row in rows))
    own = {network: [row for row in rows if row["network"] == network] for network in networks}
    return [_of_network(network, own[network], network if len(networks) > 1 else "") for network in networks]


def _of_network(network: str, rows: Sequence[Row], about: str) -> Verdict:
    compared = [row for row in rows if row["n_synthetic"] and row[f"{SCORE}_minus_baseline"] is not None]
    if not compared:
        why = f"{network}: no training with synthetic patches has one on real patches alone to compare it with."
        return Verdict(QUESTION, "unknown", "not computable", why, about=about)
    candidates = [row for row in compared if row["n_real"]] or compared
    best = max(candidates, key=lambda row: row[f"{SCORE}_mean"])
    what = f"adding {best['n_synthetic']:.0f} synthetic patches to {best['n_real']:.0f} real ones"
    if not best["n_real"]:
        what = f"training on {best['n_synthetic']:.0f} synthetic patches alone"
    base = [row for row in rows if row["regime"] == best["baseline"]]
    levels = f", from {_score(base[0])} to {_score(best)}" if base else ""
    sentence = f"{network}: {what} ({best['regime']}) {_difference(best)}{levels}{DOUBT.get(_outcome(best), '')}."
    tone, word = JUDGED[_outcome(best)]
    rival = _rival(rows, best)
    if tone == "good" and rival is not None and _value(rival) >= _value(best):
        tone, word = "mixed", "no more than augmentation"
    more = [_trainings(best), _selection(len(candidates)), _beside(rival, best), *_alone(compared, best)]
    more += _single_classes(best)
    return Verdict(QUESTION, tone, word, sentence, [text for text in more if text], about)


def _outcome(row: Row, score: str = SCORE) -> str:
    """What a difference's interval says: only one that leaves out 0 is beyond chance."""
    low, high = row[f"{score}_low"], row[f"{score}_high"]
    if low is None or high is None:
        return "unknown"
    return "raised" if low > 0 else "lowered" if high < 0 else "open"


def _difference(row: Row, score: str = SCORE) -> str:
    """The difference in words: "changed F1 by −0.026 [−0.060, +0.012]"."""
    outcome = _outcome(row, score)
    verb = outcome if outcome in ("raised", "lowered") else "changed"
    between = interval(row[f"{score}_low"], row[f"{score}_high"], "+.3f")
    return f"{verb} F1 by {signed(row[f'{score}_minus_baseline'], '+.3f')}{between}"


def _trainings(best: Row) -> str:
    """How many trainings stand behind an interval, and what it does not know."""
    if best["n_pairs"] == 1:
        return "One training each: the interval knows the test places, not how much a second training would differ."
    return f"{best['n_pairs']:.0f} pairs of trainings, {best['n_seeds']:.0f} seeds."


def _selection(n: int) -> str:
    return f"It is the best of {n} such training sets by test score, which flatters it." if n > 1 else ""


def _rival(rows: Sequence[Row], best: Row) -> Row | None:
    """The best of the other trainings on as many real patches alone: those with another augmentation."""
    others = [row for row in rows if not row["n_synthetic"] and row["regime"] != best["baseline"]]
    as_many = [row for row in others if row["n_real"] == best["n_real"] and row[f"{SCORE}_mean"] is not None]
    return max(as_many, key=_value, default=None)


def _beside(rival: Row | None, best: Row) -> str:
    if rival is None:
        return ""
    reach = "as much or more" if _value(rival) >= _value(best) else "less"
    return (
        f"Real patches alone with {rival['augmentation']} augmentation, without a generator, reach {reach}: F1 "
        f"{_score(rival)} ({rival['regime']})."
    )


def _alone(compared: Sequence[Row], best: Row) -> list[str]:
    """What synthetic patches do by themselves."""
    return [
        f"Synthetic patches alone ({row['regime']}) {_difference(row)}{DOUBT.get(_outcome(row), '')}."
        for row in compared
        if not row["n_real"] and row is not best
    ]


def _single_classes(best: Row) -> list[str]:
    """Differences of single classes, where the table has them: of two classes the second, change."""
    scores = [
        name.removesuffix("_minus_baseline") for name in best if name.startswith("f1_") and name.endswith("_baseline")
    ]
    return [
        f"Of the class {score.removeprefix('f1_').replace('_', ' ')} by itself it {_difference(best, score)}."
        for score in scores
        if best[f"{score}_minus_baseline"] is not None
    ]


def _value(row: Row) -> float:
    return row[f"{SCORE}_mean"]


def _score(row: Row) -> str:
    return signed(_value(row))
