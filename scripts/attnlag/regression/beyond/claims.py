"""Which findings about sizes hold in every model, which in some and which in none.

A claim is about the means of coefficients over the layers of one model at one site. Its interval
comes from what each document adds to these means (CR2), so it includes the choice of the
documents; models are taken as given. The claim about training has the jackknife of the difference
over the documents of the control, and their degrees of freedom.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from attnlag.regression.beyond.comparison import STUDY_KEYS, ComparedStudy, Profile

HOLDS, FAILS, OPEN = "holds", "fails", "undecided"

CLAIM_COLUMNS = [*STUDY_KEYS, "claim", "value", "std_error", "conf_low", "conf_high", "verdict"]


@dataclass
class StudyEvidence:
    """The coefficients of one study, and its controls."""

    profile: Profile
    # Rows by layer and term; empty without controls.
    controls: pd.DataFrame
    equivalence_bound: float

    def mean(self, term: str, layers: slice = slice(None)) -> tuple[float, np.ndarray]:
        """Return the mean of a coefficient over layers, and each document's part of its error."""
        column = self.profile.terms.index(term)
        values = self.profile.estimate[layers, column]
        fitted = np.isfinite(values)
        scores = self.profile.scores[:, layers, column][:, fitted]
        return values[fitted].mean(), scores.mean(axis=1)

    def control(self, name: str) -> float:
        """Return the mean of a control of lag 1 over the layers; NaN if it was not run."""
        if name not in self.controls:
            return np.nan
        return float(self.controls.loc[self.controls["term"] == "lag_1", name].mean())


Contrast = tuple[float, np.ndarray]


def _minus(contrast: Contrast, other: tuple[float, np.ndarray | float]) -> Contrast:
    return contrast[0] - other[0], contrast[1] - other[1]


def _depth(evidence: StudyEvidence) -> Contrast:
    middle = len(evidence.profile.estimate) // 2
    early, late = slice(middle), slice(middle, None)
    return _minus(evidence.mean("lag_1", late), evidence.mean("lag_1", early))


# A claim about all scales of the weights before training, so that its contrast is not one number.
TRAINING = "lag 1 is smaller than before training at every scale drawn"

# What another claim says, and the contrast that is above zero if it holds.
CLAIMS: dict[str, Callable[[StudyEvidence], Contrast]] = {
    "a large adjustment follows a large one": lambda evidence: evidence.mean("lag_1"),
    "lag 1 is above the negligible size": lambda evidence: _minus(
        evidence.mean("lag_1"), (evidence.equivalence_bound, 0)
    ),
    "lag 1 is larger than lag 2": lambda evidence: _minus(
        evidence.mean("lag_1"), evidence.mean("lag_2")
    ),
    "lag 1 is larger than with tokens in random order": lambda evidence: _minus(
        evidence.mean("lag_1"), (evidence.control("permuted_mean"), 0)
    ),
    "lag 1 is larger in the deeper half of the layers": _depth,
}


def of_study(
    study: ComparedStudy,
    profile: Profile,
    controls: pd.DataFrame,
    before: pd.DataFrame | None,
    *,
    alpha: float,
    equivalence_bound: float,
) -> pd.DataFrame:
    """Return the verdict on each claim in one study, a row each.

    A claim holds if the interval of its contrast is above zero, fails if it is below, and is
    undecided if the interval has zero. Claims about lags or controls that the study lacks have no
    row, nor have those about an untrained model whose norms do not vary. ``before`` is the
    comparison with random weights, with intervals of the same level; None without it.
    """
    evidence, rows = StudyEvidence(profile, controls, equivalence_bound), []
    with_lags = {"lag_1", "lag_2"} <= set(profile.terms)
    for claim, contrast in CLAIMS.items() if with_lags else ():
        value, scores = contrast(evidence)
        error = float(np.sqrt((scores**2).sum()))
        df = np.nanmin(profile.df[:, profile.terms.index("lag_1")])
        reach = special.stdtrit(df, 1 - alpha / 2) * error
        rows.append((claim, value, error, value - reach, value + reach))
    if with_lags and before is not None:
        rows += _training(before)
    names = [getattr(study, key) for key in STUDY_KEYS]
    known = [row for row in rows if np.isfinite(row[1:]).all()]
    return pd.DataFrame(
        [(*names, *row, _verdict(*row[-2:])) for row in known], columns=CLAIM_COLUMNS
    )


def _verdict(low: float, high: float) -> str:
    """Return the verdict on a claim, given the interval of the contrast."""
    return HOLDS if low > 0 else FAILS if high < 0 else OPEN


def _training(before: pd.DataFrame) -> list[tuple]:
    """Return the claim about training, at the scale where it has least support.

    A claim about every scale holds if it holds at that one, without correction for their number
    (an intersection-union test; Berger 1982). Nothing is said if norms are constant at a scale.
    """
    scales = before[(before["quantity"] == "lag_1") & (before["left_out"] == "")]
    numbers = ["difference", "std_error", "conf_low", "conf_high"]
    if scales.empty or scales[numbers].isna().any(axis=None):
        return []
    return [(TRAINING, *scales.sort_values("conf_low", kind="stable")[numbers].iloc[0])]


def sentences(table: pd.DataFrame, models: Sequence[str]) -> list[str]:
    """Return what holds in all studies, in some of them, and in none.

    Parameters
    ----------
    table : pandas.DataFrame
        The verdicts of all studies to compare.
    models : sequence of str
        The models to count, which excludes controls.
    """
    table = table[table["model"].isin(models)]
    kinds: dict[str, list[str]] = {"every": [], "some": [], "none": []}
    several_sites = table["site"].nunique() > 1
    for claim, rows in table.groupby("claim", sort=False):
        holding = rows[rows["verdict"] == HOLDS]
        kind = "every" if len(holding) == len(rows) else "some" if len(holding) else "none"
        text = str(claim)
        unknown = sorted(map(str, set(table["model"]) - set(rows["model"])))
        if unknown:
            text += f" (not known in {', '.join(unknown)})"
        if kind == "some":
            where = [
                f"{row.model}, {row.site}" if several_sites else str(row.model)
                for row in holding.itertuples()
            ]
            text += f" ({'; '.join(where)})"
        kinds[kind].append(text)
    scope = f"of {len(models)} models" + " and each site" * several_sites
    starts = {
        "every": f"holds in each {scope}",
        "some": "holds in some only",
        "none": "is shown in none",
    }
    return [f"{starts[kind]}: {'; '.join(texts)}" for kind, texts in kinds.items() if texts]
