"""Claims about the layers that were fitted, and about what the fits rest on."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from attnlag.claims.row import Row, Verdict, over_layers
from attnlag.regression.covariances import CATALOGUE
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.settings import RegressionSettings
from attnlag.regression.terms import lags_among

# Effective number of documents from which nominal 95% intervals cover 93% or more in simulations,
# where documents differ in level and are pooled, or errors do not allow for few documents.
ENOUGH_DOCUMENTS = 50

# The same for intervals of medians over the layers, where documents of other levels are pooled:
# with documents of the default run redrawn, 95% intervals cover 83 to 94% with 13 and 92 to 94%
# with 40.
ENOUGH_FOR_MEDIANS = 100

# Share of the rows from which a single document is named.
DOMINATING_SHARE = 0.25

# The kurtosis of normal residuals.
NORMAL_KURTOSIS = 3.0


@dataclass(frozen=True)
class FitTables:
    """What the tables of a regression say of its fit.

    Parameters
    ----------
    settings : RegressionSettings
        Those that the documents allow.
    coefficients, goodness, medians, controls : DataFrame
        The tables ``coefficients`` (of all documents), ``fits``, ``medians`` and ``controls``.
    influence, groups : DataFrame
        The tables of these names, which may be empty.
    untrained_scales : DataFrame, optional
        None if no random weights were drawn.
    """

    settings: RegressionSettings
    coefficients: pd.DataFrame
    goodness: pd.DataFrame
    medians: pd.DataFrame
    controls: pd.DataFrame
    influence: pd.DataFrame
    groups: pd.DataFrame
    untrained_scales: pd.DataFrame | None

    @property
    def layers(self) -> list[int]:
        """The layers, fitted or not."""
        return self.goodness["layer"].tolist()


def usable(fits: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``fits`` of the layers that were fitted."""
    return fits[fits["status"] == "ok"]


def numbers(layers: pd.Series) -> str:
    """Return layers as the names of a subject: ``0 1 29``."""
    return " ".join(str(int(layer)) for layer in layers)


def fitted_layers(fits: pd.DataFrame) -> Row:
    """Return how many layers were fitted, and the rows and documents of the largest fit."""
    return Row(
        claim="fitted",
        value=float(fits["n_obs"].max()),
        unit="rows",
        layers=len(fits),
        above=len(usable(fits)),
        texts=int(fits["n_documents"].max()),
        table="fits",
    )


def unfitted_layers(fits: pd.DataFrame) -> Iterator[Row]:
    """Yield the layers that were not fitted, by reason, with the rows dropped in each."""
    unfitted = fits[fits["status"] != "ok"]
    for _, rows in unfitted.groupby(["status", "n_dropped"], sort=False):
        yield Row(
            claim="unfitted",
            subject=numbers(rows["layer"]),
            value=float(rows["n_dropped"].iloc[0]),
            unit="rows",
            baseline=str(rows["status"].iloc[0]),
            layers=len(fits),
            above=len(rows),
            table="fits",
        )


def without_attention(fits: pd.DataFrame) -> Iterator[Row]:
    """Yield the layers that have something else in place of attention, by what they have."""
    others = fits[fits["mixer"] != "attention"]
    for mixer, rows in others.groupby("mixer", sort=False):
        yield Row(
            claim="without_attention",
            subject=numbers(rows["layer"]),
            baseline=str(mixer),
            layers=len(fits),
            above=len(rows),
            table="fits",
        )


def few_texts(fitted: FitTables) -> Iterator[Row]:
    """Yield that documents are too few to cluster by, with the errors that are taken instead."""
    documents = int(usable(fitted.goodness)["n_documents"].max())
    if documents < MIN_DOCUMENTS:
        yield Row(
            claim="few_texts",
            subject=str(fitted.coefficients["vcov_type"].iloc[0]),
            bound=MIN_DOCUMENTS,
            texts=documents,
            verdict=Verdict.TOO_FEW_TEXTS,
            table="fits",
        )


def dominating_document(fits: pd.DataFrame) -> Iterator[Row]:
    """Yield the document or group that has so many rows that the estimates are mostly its own."""
    shares = fits["largest_cluster_rows"] / fits["n_obs"]
    largest = fits.assign(share=shares).sort_values("share").iloc[-1]
    share = float(largest["share"])
    if largest["n_documents"] < MIN_DOCUMENTS or not share >= DOMINATING_SHARE:
        return
    yield Row(
        claim="dominating_document",
        subject=str(largest["largest_cluster"]),
        value=share,
        bound=DOMINATING_SHARE,
        baseline="effective documents",
        baseline_value=float(largest["effective_documents"]),
        texts=int(largest["n_documents"]),
        table="fits",
    )


def pooled_medians(fitted: FitTables) -> Iterator[Row]:
    """Yield that documents are too few for intervals of medians of a pooled regression."""
    fits = usable(fitted.goodness)
    documents = int(fits["n_documents"].max())
    has_intervals = fitted.medians["conf_low"].notna().any()
    if fitted.settings.fixed_effects != "none" or len(fits) < 2 or not has_intervals:
        return
    if documents < ENOUGH_FOR_MEDIANS:
        yield Row(
            claim="pooled_medians",
            bound=ENOUGH_FOR_MEDIANS,
            texts=documents,
            table="medians",
        )


def few_clusters(fitted: FitTables) -> Iterator[Row]:
    """Yield that clusters are too few, or too unequal, for the intervals.

    Within documents, CR2 holds for as few clusters as are fitted at all. The subject is why it does
    not hold here: ``covariance`` does not allow for few clusters, ``group`` is what is clustered
    by, or documents are ``pooled``.
    """
    settings = fitted.settings
    fits = usable(fitted.goodness)
    covariance = CATALOGUE[settings.covariance]
    holds = covariance.needs == "cr2" and settings.fixed_effects == "document"
    effective = float(fits["effective_documents"].min())
    if not covariance.clustered or holds or not effective < ENOUGH_DOCUMENTS:
        return
    clusters = int(fits["n_documents"].max())
    if settings.cluster == "group":
        clusters = int(fitted.medians["clusters"].iloc[0])
    reason = "pooled"
    if settings.covariance != "cluster":
        reason = "covariance"
    elif settings.cluster == "group":
        reason = "group"
    yield Row(
        claim="few_clusters",
        subject=reason,
        value=effective,
        bound=ENOUGH_DOCUMENTS,
        baseline="clusters",
        baseline_value=clusters,
        table="fits",
    )


def rows_dropped(fits: pd.DataFrame) -> Iterator[Row]:
    """Yield how many rows were dropped for zero or non-finite values, and in how many layers."""
    dropped = int(fits["n_dropped"].sum())
    if dropped:
        yield Row(
            claim="rows_dropped",
            value=float(dropped),
            unit="rows",
            layers=len(fits),
            above=int((fits["n_dropped"] > 0).sum()),
            table="fits",
        )


def order(controls: pd.DataFrame, settings: RegressionSettings) -> Iterator[Row]:
    """Yield in how many layers lags depend on order, by a joint test of all lags in each.

    The subject has the terms, the value the number of permutations, and the baseline what tokens
    are permuted within. Without a test there are no layers.
    """
    terms = lags_among(controls["term"])
    row = Row(claim="order", subject=", ".join(terms), layers=0, table="controls")
    if "permuted_mean" not in controls:
        yield row
        return
    by_layer = controls.drop_duplicates("layer").dropna(subset="order_p_adjusted")
    if by_layer.empty:
        return
    drawn = by_layer.iloc[0]
    # The smallest p-value of few draws is alpha.
    rejected = by_layer["order_p_adjusted"] <= settings.alpha * (1 + 1e-9)
    yield Row(
        claim="order",
        subject=", ".join(terms),
        value=float(drawn["permutations"]),
        level=1 - settings.alpha,
        baseline=str(drawn["permuted_within"]),
        layers=len(by_layer),
        above=int(rejected.sum()),
        # The distribution of the largest statistic over the layers corrects for their number.
        adjust="max" if settings.adjust == "holm" else settings.adjust,
        table="controls",
    )


def random_order(controls: pd.DataFrame, term: str) -> Iterator[Row]:
    """Yield what a lag is with tokens in random order: the median layer, and the extremes."""
    permuted = controls.loc[controls["term"] == term]
    if "permuted_mean" in permuted and permuted["permuted_mean"].notna().any():
        row = Row(claim="random_order", subject=term, table="controls")
        yield over_layers(row, permuted["permuted_mean"])


def explained(fitted: FitTables) -> Iterator[Row]:
    """Yield R²: of each layer, the highest, in unseen documents, of lags, and below zero."""
    fits = usable(fitted.goodness)
    settings = fitted.settings
    whole = fits["r_squared"]
    subject = "pooled over documents"
    if settings.fixed_effects == "document":
        subject = "within documents"
    yield over_layers(Row(claim="r_squared", subject=subject, table="fits"), whole)
    yield Row(
        claim="r_squared_highest",
        subject=f"layer {fits['layer'].iloc[int(whole.argmax())]}",
        value=float(whole.max()),
        table="fits",
    )
    if fits["cv_r_squared"].notna().any():
        unit = "groups" if settings.folds == "groups" else "documents"
        if settings.fixed_effects == "document":
            unit += ", means given"
        row = Row(claim="r_squared_unseen", subject=unit, table="fits")
        yield over_layers(row, fits["cv_r_squared"])
    lags = lags_among(fitted.coefficients["term"])
    others = set(fitted.coefficients["term"]) - {"intercept", *lags}
    if others:
        name = "the other terms"
        if all(term.startswith("position") for term in others):
            name = "position"
        row = Row(claim="r_squared_beyond", subject="lags", table="fits")
        yield over_layers(row, whole - fits["r_squared_others"])
        row = Row(claim="r_squared_beyond", subject=name, table="fits")
        yield over_layers(row, whole - fits["r_squared_lags"])
        row = Row(claim="r_squared_partial", subject="lags", table="fits")
        yield over_layers(row, fits["partial_r_squared"])
    worse = fits[whole < 0]
    if len(worse):
        yield Row(
            claim="r_squared_negative",
            subject=numbers(worse["layer"]),
            value=float(whole.min()),
            bound=0.0,
            layers=len(fits),
            below=len(worse),
            table="fits",
        )


def tails(fits: pd.DataFrame) -> Row:
    """Return the kurtosis of the residuals (median layer) beside that of normal ones."""
    row = Row(claim="kurtosis", bound=NORMAL_KURTOSIS, table="fits")
    return over_layers(row, fits["kurtosis"])
