"""How often the coefficients of a regression would mislead about what an adjustment causes.

In a decoder the effect of one adjustment on another is known: it is measured by changing the one,
and within a layer it is exactly zero. Each pair of layers at one distance is therefore a trial of
prediction as evidence of causation: does the coefficient have the sign of the effect, are larger
coefficients those of larger effects, and how many significant coefficients belong to no effect?

Two sources of uncertainty make the intervals. The pairs stand for others like them, as independent
draws; the documents give each effect and each coefficient its error. Draws of documents multiply
the scores of each document by the same normal numbers in both, so that what the two share stays
shared.
"""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import pandas as pd
from scipy import special, stats

from attnlag.regression.beyond.cross_layer import CrossLayer
from attnlag.regression.beyond.elasticities import LAYERS, effects_by_document
from attnlag.regression.estimation.sampling import generator_of
from attnlag.regression.settings import ElasticitiesSettings

# Number of draws of documents.
DOCUMENT_DRAWS = 1000

TRIAL_KEYS = ["source_site", "target_site", "lag", "prediction"]

VERDICT = [
    *("pairs", "clear", "same_sign", "agreement", "agreement_low", "agreement_high"),
    *("rank_correlation", "rank_correlation_low", "rank_correlation_high"),
    *("significant", "without_effect"),
]

# Predictions of an effect: from the source's norm alone, and with the norm of the source layer at
# the target's own token held fixed.
ALONE, GIVEN = "alone", "given"
# Lag 1, 2, … of a layer on itself: nothing is caused.
SAME = "same layer"


def multipliers(seed: int) -> Callable[[str], np.ndarray]:
    """Return the function that draws a document's multipliers, (DOCUMENT_DRAWS,) normal numbers."""
    return lambda document: generator_of(document, seed).standard_normal(DOCUMENT_DRAWS)


def of_pairs(
    effects: pd.DataFrame,
    elasticities: pd.DataFrame,
    predictions: Mapping[tuple[str, str], CrossLayer],
    settings: ElasticitiesSettings,
) -> pd.DataFrame:
    """Compare predictions with effects on later layers, by pair of sites and distance.

    Parameters
    ----------
    effects : pandas.DataFrame
        Sums by document, as in `elasticities.table`.
    elasticities : pandas.DataFrame
        From `elasticities.table`.
    predictions : mapping of (str, str) to CrossLayer
        Regressions by source and target site, drawn with `multipliers` of the same seed.

    Returns
    -------
    pandas.DataFrame
        ``pairs``, of layers; ``clear``, those whose effect's interval excludes zero; ``same_sign``,
        the clear ones whose coefficient has the effect's sign; ``agreement``, their share, with
        ``agreement_low`` and ``agreement_high``; ``rank_correlation`` of the sizes of coefficients
        and effects over all pairs (Spearman), with its interval; ``significant``, the pairs whose
        coefficient's interval excludes zero; and ``without_effect``, the number of those whose
        effect is within ± ``settings.negligible``, interval included.
    """
    rows = []
    keys = TRIAL_KEYS[:3]
    draw = cache(multipliers(settings.seed))
    sums = dict(list(_of_later_layers(effects).groupby(keys, observed=True)))
    for key, pairs in _of_later_layers(elasticities).groupby(keys, observed=True, sort=False):
        source, target, lag = str(key[0]), str(key[1]), int(str(key[2]))
        fits = predictions[source, target]
        noise = _noise(sums[key], pairs["estimate"].to_numpy(float), draw)
        places = (
            np.searchsorted(fits.targets, pairs["target_layer"].to_numpy(int)),
            pairs["source_layer"].to_numpy(int),
            lag,
        )
        for prediction, coefficients in ((ALONE, fits.alone), (GIVEN, fits.given)):
            coefficient, error, drawn = (array[..., *places] for array in coefficients)
            if np.isfinite(coefficient).sum() > 1:
                reach = special.stdtrit(fits.documents - 1, 1 - settings.alpha / 2) * error
                verdict = _verdict(pairs, noise, coefficient, reach, drawn, settings)
                rows.append((source, target, lag, prediction, *verdict))
    return pd.DataFrame(rows, columns=[*TRIAL_KEYS, *VERDICT])


def _of_later_layers(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the derivatives whose target layer comes after the source layer."""
    later = rows["source_layer"] < rows["target_layer"]
    return rows[(rows["intervention"] == "derivative") & later]


def _noise(
    effects: pd.DataFrame, estimate: np.ndarray, draw: Callable[[str], np.ndarray]
) -> np.ndarray:
    """Return what the draws of documents add to the effects of pairs of layers, (draws, pairs).

    ``estimate`` has the effect of each pair, in the order of layers.
    """
    _, documents, effect, count = effects_by_document(effects, LAYERS)
    clusters = (count > 0).sum(axis=0)
    score = (effect - estimate * count) / count.sum(axis=0)
    score *= np.sqrt(clusters / np.maximum(clusters - 1, 1))
    return np.stack([draw(str(document)) for document in documents], axis=1) @ score


def _verdict(
    pairs: pd.DataFrame,
    noise: np.ndarray,
    coefficient: np.ndarray,
    reach: np.ndarray,
    drawn: np.ndarray,
    settings: ElasticitiesSettings,
) -> list[float]:
    """Return the `VERDICT` on one pair of sites, distance and prediction."""
    effect, low, high = (
        pairs[name].to_numpy(float) for name in ("estimate", "conf_low", "conf_high")
    )
    clear = (low * high > 0) & np.isfinite(coefficient)
    agree = np.sign(effect) == np.sign(coefficient)
    agree_drawn = np.sign(effect + noise) == np.sign(coefficient + drawn)
    n, same = int(clear.sum()), int((clear & agree).sum())
    ends = proportion_interval((clear & agree_drawn).sum(axis=1), n, settings)
    sizes = np.isfinite(coefficient) & np.isfinite(effect)
    rank, *rank_ends = rank_interval(
        np.abs(effect[sizes]),
        np.abs(coefficient[sizes]),
        np.abs(effect + noise)[:, sizes],
        np.abs(coefficient + drawn)[:, sizes],
        settings.alpha,
    )
    significant = np.abs(coefficient) > reach
    none = (np.maximum(-low, high) < settings.negligible) & significant
    verdict = [len(pairs), n, same, same / n if n else np.nan, *ends, rank, *rank_ends]
    return [*verdict, int(significant.sum()), int(none.sum())]


def proportion_interval(
    drawn: np.ndarray, n: int, settings: ElasticitiesSettings
) -> tuple[float, float]:
    """Return the interval of a share of n pairs, given its counts in draws of the documents.

    With one count it is the interval of Jeffreys' prior for a proportion (Brown, Cai and DasGupta
    2001), whose ends are quantiles of a beta distribution; here they are those of its mixture over
    the draws.
    """
    if not n:
        return np.nan, np.nan
    random = np.random.default_rng(settings.seed)
    shares = random.beta(drawn + 0.5, n - drawn + 0.5)
    low, high = np.quantile(shares, [settings.alpha / 2, 1 - settings.alpha / 2])
    return float(low), float(high)


def rank_interval(
    x: np.ndarray, y: np.ndarray, drawn_x: np.ndarray, drawn_y: np.ndarray, alpha: float
) -> tuple[float, float, float]:
    """Return Spearman's correlation and its interval, on Fisher's scale.

    The variance is that of the draws of documents, and (1 + r²/2) / (n - 3) for the pairs (Bonett
    and Wright 2000).
    """
    n = len(x)
    r = float(stats.spearmanr(x, y).statistic) if n > 3 else np.nan
    if not abs(r) < 1:
        return r, np.nan, np.nan
    ranks_x = stats.rankdata(drawn_x, axis=1) - (n + 1) / 2
    ranks_y = stats.rankdata(drawn_y, axis=1) - (n + 1) / 2
    length = np.sqrt((ranks_x**2).sum(axis=1) * (ranks_y**2).sum(axis=1))
    drawn = np.arctanh(np.clip((ranks_x * ranks_y).sum(axis=1) / length, -1 + 1e-12, 1 - 1e-12))
    spread = np.sqrt(drawn.var() + (1 + r**2 / 2) / (n - 3))
    reach = special.ndtri(1 - alpha / 2) * spread
    return r, float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach))


def of_the_same_layer(coefficients: Mapping[str, pd.DataFrame], alpha: float) -> pd.DataFrame:
    """Return the verdicts on lags of a layer on itself, whose effect is zero by construction.

    Parameters
    ----------
    coefficients : mapping of str to pandas.DataFrame
        Tidy tables of all documents, by site; significance is corrected over the layers.
    """
    rows = []
    for site, table in coefficients.items():
        lags = table[table["term"].str.fullmatch(r"lag_\d+") & table["p_adjusted"].notna()]
        for term, layers in lags.groupby("term", sort=False):
            significant = int((layers["p_adjusted"] < alpha).sum())
            lag = int(str(term).removeprefix("lag_"))
            keys = dict(zip(TRIAL_KEYS, (site, site, lag, SAME), strict=True))
            counts = {"pairs": len(layers), "clear": 0, "significant": significant}
            rows.append(keys | counts | {"without_effect": significant})
    return pd.DataFrame(rows, columns=[*TRIAL_KEYS, *VERDICT])
