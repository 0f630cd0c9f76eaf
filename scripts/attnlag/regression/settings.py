"""The settings of the stages from the design to the comparison of models."""

from dataclasses import dataclass
from typing import Literal

Covariance = Literal[
    "cluster", "cluster-crv1", "cluster-jackknife", "nonrobust", "hc1", "hc3", "hac"
]
Adjustment = Literal["holm", "benjamini-hochberg", "max-t", "none"]
FixedEffects = Literal["none", "document"]

# Kinds of standard errors that use clusters.
CLUSTERED = ("cluster", "cluster-crv1", "cluster-jackknife")

# With fewer clusters, bootstraps and the jackknife have too little to draw from or leave out, and
# intervals of pooled regressions cover too little.
FEWEST_DOCUMENTS = 6

# Permuted orders of heads, at most: what is asked of them is a mean for each head, not a tail.
DRAWS_OF_HEADS = 4


@dataclass(frozen=True)
class SampleSettings:
    """Requirements of all regressions of a study on a row, for a common sample.

    Attributes
    ----------
    lags, leads : tuple of int
        Distances in tokens that occur in any of them.
    covariates : tuple of str
        Covariates with separate values in each layer that occur in any of them.
    relative : bool
        Whether the outcome of any of them is the relative norm. The stream must then have a norm
        for every token for which the adjustment has one.
    """

    lags: tuple[int, ...]
    leads: tuple[int, ...]
    covariates: tuple[str, ...]
    relative: bool


@dataclass(frozen=True)
class DesignSettings:
    """The terms of a regression and the rule for its rows.

    Attributes
    ----------
    lags, leads : tuple of int
        Distances in tokens to previous and following tokens, ascending.
    covariates : tuple of str
        Names from the catalogue of covariates.
    position_knots : tuple of int or None
        Knots of the spline of position, in tokens; None if position is not a covariate.
    drop_first : int
        Number of tokens at the start of every sequence that are neither outcome nor predictor.
    sample : SampleSettings or None
        Requirements of a common sample; None for all rows that the terms allow.
    outcome : str
        Name from the catalogue of outcomes, which applies to outcomes and predictors.
    """

    lags: tuple[int, ...]
    leads: tuple[int, ...]
    covariates: tuple[str, ...]
    position_knots: tuple[int, ...] | None
    drop_first: int
    sample: SampleSettings | None
    outcome: str


@dataclass(frozen=True)
class CrossproductsSettings:
    """Whether the halves of documents are summed separately, for the half-panel jackknife."""

    halves: bool


@dataclass(frozen=True)
class RegressionSettings:
    """Settings of the fit and the inference of a regression.

    Attributes
    ----------
    fixed_effects : {"none", "document"}
    bias_correction : {"none", "half-panel"}
    covariance : str
        Kind of standard errors.
    cluster : {"document", "group"}
        Unit of clustering and of the bootstraps.
    alpha : float
        Significance level.
    adjust : str
        Correction of p-values over the layers.
    negligible : float
        Largest coefficient that is regarded as negligible.
    bootstrap, wild_bootstrap : int
        Number of draws.
    seed : int
        Seed of all draws.
    folds : int or "groups"
        Number of folds of documents for the cross-validated R², or "groups" for a fold per group.
    hac_lags : int or None
        Lags of the Newey-West errors; None for the rule of thumb.
    stack_mb : int
        Memory for the cross-products of documents, in MB.
    outcome : str
        Outcome of the design.
    control_design : DesignSettings or None
        Design of the control with random weights; None without that control.
    token_effects : tuple of str
        Effects of tokens that are removed besides those of documents.
    """

    fixed_effects: FixedEffects
    bias_correction: Literal["none", "half-panel"]
    covariance: Covariance
    cluster: Literal["document", "group"]
    alpha: float
    adjust: Adjustment
    negligible: float
    bootstrap: int
    wild_bootstrap: int
    seed: int
    folds: int | Literal["groups"]
    hac_lags: int | None
    stack_mb: int
    outcome: str
    control_design: DesignSettings | None
    token_effects: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenEffectsSettings:
    """Effects of tokens to remove: ``token``, ``previous_token``."""

    effects: tuple[str, ...]


@dataclass(frozen=True)
class ClassProductsSettings:
    """Settings of cross-products with separate slopes for classes of tokens.

    Attributes
    ----------
    property : str
        The property of a token that determines its class.
    offset : int
        The token whose class is used: 0 for the outcome, negative before it, positive after it.
    halves : bool
        Whether the halves of documents are summed separately, for the half-panel jackknife.
    """

    property: str
    offset: int
    halves: bool


@dataclass(frozen=True)
class ClassesSettings:
    """Settings of the fit of slopes by class of token.

    Attributes
    ----------
    property : str
        The property of a token that determines its class.
    offset : int
        The token whose class is used: 0 for the outcome, negative before it, positive after it.
    least_rows : int
        Classes with fewer rows are merged into one.
    """

    regression: RegressionSettings
    property: str
    offset: int
    least_rows: int


@dataclass(frozen=True)
class DecompositionSettings:
    """Settings of the decomposition; intervals cover 1 - ``alpha``."""

    alpha: float


@dataclass(frozen=True)
class PermutationsSettings:
    """Settings of the permutation: the design, the number of draws and their seed.

    ``within`` says whether tokens are exchanged within documents or, within these, within parts of
    speech.
    """

    design: DesignSettings
    fixed_effects: FixedEffects
    draws: int
    within: Literal["document", "upos"]
    seed: int


@dataclass(frozen=True)
class HeadsSettings:
    """How the norms of heads are summarised and regressed.

    Attributes
    ----------
    drop_first : int
        Tokens at the start of every sequence that are neither an outcome nor a predictor.
    regression : str
        Name of the regression whose terms they have; "" where none will do.
    design : DesignSettings or None
        Its terms; None without it.
    fixed_effects : {"none", "document"}
    halves : bool
        Whether documents are summed in halves, for the half-panel jackknife.
    covariance, cluster, adjust, negligible, alpha, stack_mb
        As in `RegressionSettings`; errors that need residuals are clustered by document instead.
    draws : int
        Number of permuted orders; 0: none.
    within : {"document", "upos"}
        What tokens are exchanged in.
    seed : int
        Seed of the permutations.
    """

    drop_first: int
    regression: str
    design: DesignSettings | None
    fixed_effects: FixedEffects
    halves: bool
    covariance: Covariance
    cluster: Literal["document", "group"]
    adjust: Adjustment
    negligible: float
    alpha: float
    stack_mb: int
    draws: int
    within: Literal["document", "upos"]
    seed: int


@dataclass(frozen=True)
class ComparisonSettings:
    """Number of draws and seed of the bootstrap of a correlation over depth."""

    draws: int
    seed: int


@dataclass(frozen=True)
class ElasticitiesSettings:
    """Settings of elasticities and their intervals.

    Attributes
    ----------
    alpha : float
        Intervals cover 1 - ``alpha``.
    bootstrap : int
        Number of draws of documents for the joint bands; 0 for no bands.
    seed : int
        Seed of the draws.
    drop_first : int
        Number of tokens at the start of every sequence that are left out of regressions.
    negligible : float
        Effects up to this size are of no interest.
    """

    alpha: float
    bootstrap: int
    seed: int
    drop_first: int
    negligible: float


@dataclass(frozen=True)
class VectorProductsSettings:
    """Settings of the predictors of vectors and of the folds of documents.

    Attributes
    ----------
    lags : tuple of int
        Distances in tokens to the previous vectors, ascending.
    folds : int
        Number of folds of documents.
    components : int
        Wider vectors are projected onto this number of principal components.
    drop_first : int
        Number of tokens at the start of every sequence that are neither outcome nor predictor.
    """

    lags: tuple[int, ...]
    folds: int
    components: int
    drop_first: int


@dataclass(frozen=True)
class VectorsSettings:
    """Settings of the regression of vectors on vectors.

    Attributes
    ----------
    ranks : tuple of int
        Ranks of the reduced coefficients, ascending; the full rank is always included.
    ridge : tuple of float
        Penalties to choose from, ascending, in units of the mean variance of the predictors.
    alpha : float
        Intervals cover 1 - ``alpha``.
    bootstrap : int
        Number of draws of documents for the intervals; 0 for no intervals.
    seed : int
        Seed of the draws.
    """

    products: VectorProductsSettings
    ranks: tuple[int, ...]
    ridge: tuple[float, ...]
    alpha: float
    bootstrap: int
    seed: int
