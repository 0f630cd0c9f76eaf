"""The settings of the stages from the design to the comparison of models."""

from dataclasses import dataclass
from typing import Literal

Covariance = Literal["cluster", "cluster-jackknife", "nonrobust", "hc1", "hc3", "hac"]
Adjustment = Literal["holm", "benjamini-hochberg", "max-t", "none"]
FixedEffects = Literal["none", "document"]

# Kinds of errors that rest on clusters.
CLUSTERED = ("cluster", "cluster-jackknife")

# Below this, a t distribution with G - 1 degrees of freedom is no cure for so few clusters.
FEWEST_DOCUMENTS = 6

# Permuted orders of heads, at most: what is asked of them is a mean for each head, not a tail.
DRAWS_OF_HEADS = 4


@dataclass(frozen=True)
class SampleSettings:
    """What all regressions of a study together need of a row, to be held to one sample.

    Attributes
    ----------
    lags, leads : tuple of int
        Distances in tokens that occur in any of them.
    covariates : tuple of str
        Covariates with values of their own in each layer that occur in any of them.
    relative : bool
        Whether any of them is of relative norms: the stream then has a norm wherever the
        adjustment has one.
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
        Distances in tokens to the tokens before and after, ascending.
    covariates : tuple of str
        Names from the catalogue of covariates.
    position_knots : tuple of int or None
        Knots of the position's spline, in tokens; None where position is no covariate.
    drop_first : int
        Tokens at the start of every sequence that are neither an outcome nor a predictor.
    sample : SampleSettings or None
        None: all rows that the terms allow.
    outcome : str
        From the catalogue of outcomes; of outcomes and predictors alike.
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
    """Whether documents are summed in halves, for the half-panel jackknife."""

    halves: bool


@dataclass(frozen=True)
class RegressionSettings:
    """How a regression is fitted and what is inferred from it.

    Attributes
    ----------
    fixed_effects : {"none", "document"}
    bias_correction : {"none", "half-panel"}
    covariance : str
        Kind of standard errors.
    cluster : {"document", "group"}
        What errors are clustered by, and what the bootstraps draw.
    alpha : float
        Significance level.
    adjust : str
        Correction of p-values over the layers.
    negligible : float
        Size below which a coefficient does not matter.
    bootstrap, wild_bootstrap : int
        Number of draws.
    seed : int
        Seed of all draws.
    folds : int or "groups"
        Number of folds of documents for the cross-validated R², or a fold for each group.
    hac_lags : int or None
        Lags of the Newey-West errors; None: by the rule of thumb.
    stack_mb : int
        Memory for the cross-products of documents.
    outcome : str
        What the design is of.
    control_design : DesignSettings or None
        The terms, for the control with random weights; None without it.
    token_effects : tuple of str
        Effects of tokens that are taken out beside those of documents.
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
    """Effects of tokens that are taken out: ``token``, ``previous_token``."""

    effects: tuple[str, ...]


@dataclass(frozen=True)
class ClassProductsSettings:
    """What cross-products with slopes of their own for classes of tokens are made of.

    Attributes
    ----------
    property : str
        The property of a token that says its class.
    offset : int
        Which token it is of: 0 the outcome, negative before it, positive after it.
    halves : bool
        Whether documents are summed in halves, for the half-panel jackknife.
    """

    property: str
    offset: int
    halves: bool


@dataclass(frozen=True)
class ClassesSettings:
    """How slopes by class of tokens are fitted.

    Attributes
    ----------
    regression : RegressionSettings
    property : str
        The property of a token that says its class.
    offset : int
        Which token it is of: 0 the outcome, negative before it, positive after it.
    least_rows : int
        Classes of fewer rows become one.
    """

    regression: RegressionSettings
    property: str
    offset: int
    least_rows: int


@dataclass(frozen=True)
class DecompositionSettings:
    """Intervals of the coefficients as covariates enter cover 1 - ``alpha``."""

    alpha: float


@dataclass(frozen=True)
class PermutationsSettings:
    """What is drawn under permutation: the design, the number of draws and their seed.

    ``within`` says which tokens are exchanged: those of a document, or of a part of speech in it.
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
    """How effects become elasticities with intervals.

    Attributes
    ----------
    alpha : float
        Intervals cover 1 - ``alpha``.
    bootstrap : int
        Number of draws of documents for the joint bands; 0: none.
    seed : int
        Seed of the draws.
    drop_first : int
        Tokens at the start of every sequence that are in no regression.
    """

    alpha: float
    bootstrap: int
    seed: int
    drop_first: int


@dataclass(frozen=True)
class VectorProductsSettings:
    """What the vector of a token is predicted from, and how documents are dealt to folds.

    Attributes
    ----------
    lags : tuple of int
        Distances in tokens to the vectors before, ascending.
    folds : int
        Number of folds of documents.
    components : int
        Vectors wider than this are projected on so many principal components.
    drop_first : int
        Tokens at the start of every sequence that are neither an outcome nor a predictor.
    """

    lags: tuple[int, ...]
    folds: int
    components: int
    drop_first: int


@dataclass(frozen=True)
class VectorsSettings:
    """How vectors are regressed on vectors.

    Attributes
    ----------
    products : VectorProductsSettings
    ranks : tuple of int
        Ranks of the reduced coefficients, ascending; the full rank is always there.
    ridge : tuple of float
        Penalties to choose from, ascending, in units of the mean variance of the predictors.
    alpha : float
        Intervals cover 1 - ``alpha``.
    bootstrap : int
        Number of draws of documents for the intervals; 0: none.
    seed : int
        Seed of the draws.
    """

    products: VectorProductsSettings
    ranks: tuple[int, ...]
    ridge: tuple[float, ...]
    alpha: float
    bootstrap: int
    seed: int
