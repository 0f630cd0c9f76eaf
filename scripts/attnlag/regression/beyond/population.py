"""Models with equally many layers, as draws from a population.

Several models of one architecture say how much a coefficient depends on the weights that training,
or initialisation, happens to end in, beside how much it depends on the documents. All models see
the same documents, so their errors are shared: what tells models apart is the error of each about
their mean, and only that is subtracted from the spread of the estimates.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special
from statsmodels.stats.meta_analysis import combine_effects

from attnlag.regression.beyond.comparison import (
    ComparedStudy,
    Profile,
    alike,
    common_documents,
    profile,
    restricted,
)

# Fewer models say nothing about a population.
FEWEST_MODELS = 3

# What the models of a population have in common, and what is said of each of their coefficients.
POPULATION = ["corpus", "site", "regression", "control", "layers"]
SUMMARY = [
    *("layer", "term", "models", "mean", "between_models_sd", "between_documents_se"),
    *("std_error", "conf_low", "conf_high"),
]


def of_studies(studies: Sequence[ComparedStudy], alpha: float) -> pd.DataFrame:
    """Return the summaries of all models that have equally many layers, trained ones or controls.

    Models are summarised over the documents that give rows in all of them.
    """
    tables = []
    for key, group in alike(studies, POPULATION).items():
        if len(group) >= FEWEST_MODELS:
            documents = common_documents(group)
            profiles = [profile(restricted(study.stack(), documents)) for study in group]
            table = summary(profiles, alpha)
            for place, (name, value) in enumerate(zip(POPULATION, key, strict=True)):
                table.insert(place, name, value)
            tables.append(table)
    none = pd.DataFrame(columns=[*POPULATION, *SUMMARY])
    return pd.concat(tables, ignore_index=True) if tables else none


def summary(profiles: Sequence[Profile], alpha: float) -> pd.DataFrame:
    """Return the random-effects summary of models over the same documents, by layer and term.

    Parameters
    ----------
    profiles : sequence of Profile
        One per model, with equal layers, terms and documents.

    Returns
    -------
    pandas.DataFrame
        ``mean`` over the models; ``between_models_sd``, their standard deviation (Paule and Mandel
        1982, by statsmodels); ``between_documents_se``, the standard error of the mean due to the
        documents; ``std_error`` due to both, with an interval on t with a degree of freedom less
        than there are models.
    """
    count, rows = len(profiles), []
    estimates = np.stack([profile.estimate for profile in profiles])
    scores = np.stack([profile.scores for profile in profiles])
    shared = scores.mean(axis=0)
    # The variance of a model about the mean of all, without the share that the mean has of it.
    apart = ((scores - shared) ** 2).sum(axis=1) * count / (count - 1)
    of_documents = np.sqrt((shared**2).sum(axis=0))
    quantile = special.stdtrit(count - 1, 1 - alpha / 2)
    for (layer, place), error in np.ndenumerate(of_documents):
        values, variances = estimates[:, layer, place], apart[:, layer, place]
        if not np.isfinite([*values, *variances]).all():
            continue
        # A variance of zero, of models that are equal, cannot be inverted.
        effects = combine_effects(values, np.maximum(variances, 1e-16), method_re="iterated")
        between = float(np.sqrt(effects.tau2))
        total = float(np.hypot(error, values.std(ddof=1) / np.sqrt(count)))
        mean = values.mean()
        ends = mean - quantile * total, mean + quantile * total
        term = profiles[0].terms[place]
        rows.append((layer, term, count, mean, between, error, total, *ends))
    return pd.DataFrame(rows, columns=SUMMARY)


def sentence(table: pd.DataFrame) -> str:
    """Return what the nearest lag of one group of models varies with, in words."""
    row = table.iloc[0]
    kind = "draws of random weights" if row["control"] else "models"
    return (
        f"{row['term'].replace('_', ' ')}, {row['site']}, {row['corpus']}, over {row['models']} "
        f"{kind} of {row['layers']} layers: {table['mean'].median():.3f} in the median layer, with "
        f"a standard deviation of {table['between_models_sd'].median():.3f} between models and a "
        f"standard error of {table['between_documents_se'].median():.3f} from the documents"
    )
