"""Models with equally many layers, as draws from a population.

Several models of one architecture say how much a coefficient depends on the weights that training,
or initialisation, happens to end in, beside how much it depends on the documents. All models see
the same documents, so their errors are shared: what tells models apart is the error of each about
their mean, and only that is subtracted from the spread of the estimates.
"""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd
from scipy import special
from statsmodels.stats.meta_analysis import combine_effects

from attnlag.regression.beyond.comparison import (
    Profile,
    Study,
    documents_of,
    profile,
    restricted,
    stack_of,
)

# Fewer models say nothing about a population.
FEWEST_MODELS = 3

COLUMNS = [
    *("corpus", "site", "regression", "control", "layers"),
    *("layer", "term", "models", "mean", "between_models_sd", "between_documents_se"),
    *("std_error", "conf_low", "conf_high"),
]


def of_studies(studies: Sequence[Study], alpha: float) -> pd.DataFrame:
    """Return the summaries of all models that have equally many layers, trained ones or controls.

    Models are summarised over the documents that give rows in all of them.
    """
    groups: dict[tuple[str, str, str, bool, int], list[Study]] = {}
    for study in studies:
        key = study.corpus, study.site, study.regression, study.control, study.layers
        groups.setdefault(key, []).append(study)
    tables = [pd.DataFrame(columns=COLUMNS)]
    for key, group in groups.items():
        if len(group) < FEWEST_MODELS:
            continue
        there = reduce(set.intersection, (set(documents_of(study)) for study in group))
        common = [document for document in documents_of(group[0]) if document in there]
        profiles = [profile(restricted(stack_of(study), common), 0, 0) for study in group]
        found = summary(profiles, alpha)
        named = pd.DataFrame([key] * len(found), columns=COLUMNS[: len(key)])
        tables.append(pd.concat([named, found], axis=1))
    return pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]


def summary(profiles: Sequence[Profile], alpha: float) -> pd.DataFrame:
    """Return the random-effects summary of models over the same documents, by layer and term.

    Parameters
    ----------
    profiles : sequence of Profile
        One per model, with equal layers, terms and documents.
    alpha : float
        Intervals cover 1 - ``alpha``.

    Returns
    -------
    pandas.DataFrame
        ``mean`` over the models; ``between_models_sd``, their standard deviation (Paule and Mandel
        1982, by statsmodels); ``between_documents_se``, the standard error of the mean due to the
        documents; ``std_error`` due to both, with an interval on t with a degree of freedom less
        than there are models.
    """
    count, rows = len(profiles), []
    estimates = np.stack([one.estimate for one in profiles])
    scores = np.stack([one.scores for one in profiles])
    shared = scores.mean(axis=0)
    # The variance of a model about the mean of all, without the share that the mean has of it.
    own = ((scores - shared) ** 2).sum(axis=1) * count / (count - 1)
    of_documents = np.sqrt((shared**2).sum(axis=0))
    quantile = special.stdtrit(count - 1, 1 - alpha / 2)
    for (layer, place), error in np.ndenumerate(of_documents):
        values, variances = estimates[:, layer, place], own[:, layer, place]
        if not np.isfinite([*values, *variances]).all():
            continue
        # A variance of zero, of models that are equal, cannot be inverted.
        found = combine_effects(values, np.maximum(variances, 1e-16), method_re="iterated")
        between = float(np.sqrt(found.tau2))
        total = float(np.hypot(error, values.std(ddof=1) / np.sqrt(count)))
        mean = values.mean()
        ends = mean - quantile * total, mean + quantile * total
        term = profiles[0].terms[place]
        rows.append((layer, term, count, mean, between, error, total, *ends))
    return pd.DataFrame(rows, columns=COLUMNS[5:])


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
