"""The keys of a configuration about regressions, and the settings of their stages."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from attnlag.quantities import catalogue
from attnlag.quantities.settings import Norms, Revisions, UntrainedWeights
from attnlag.regression import covariances, covariates, properties
from attnlag.section import (
    AtLeastTwo,
    Distinct,
    Lag,
    Natural,
    NotBool,
    OneOf,
    Positive,
    Section,
    Seed,
    Size,
    impossible,
)

COVARIATES = OneOf(tuple(covariates.CATALOGUE))
CLASSES = OneOf((*properties.CLASSES, *properties.MODERATORS))


def _not_refused(name: Any) -> Any:
    if isinstance(name, str) and name in covariates.REFUSED:
        raise ValueError(f"found {name}, which is no covariate: {covariates.REFUSED[name]}")
    return name


def _one(values: dict[str, Any]) -> dict[str, Any]:
    if len(values) != 1:
        raise ValueError(
            f"found {len(values)} properties, expected one, as in {{upos: outcome}}; give another "
            "regression for another"
        )
    return values


# Any value except this word is validated as a number, so that only one message appears.
Folds = Annotated[
    Annotated[AtLeastTwo, Tag("number")] | Annotated[Literal["groups"], Tag("groups")],
    Discriminator(lambda value: "groups" if value == "groups" else "number"),
]

DocumentEffects = Literal["none", "document"]
BiasCorrection = Literal["none", "half-panel"]
Classes = Annotated[str, CLASSES]
Covariate = Annotated[str, COVARIATES, BeforeValidator(_not_refused)]
RegressedOutcome = Annotated[str, OneOf(tuple(catalogue.OUTCOMES))]
SlopesBy = Annotated[dict[Classes, Literal["outcome", "lag"]], AfterValidator(_one)]

# Meanings of settings that several sections have.
DESIGN = "Terms of the regression, and its rows"
FIXED_EFFECTS = "`document` removes document means"
BIAS_CORRECTION = (
    "Half-panel jackknife against the bias of document effects in short documents (Nickell)"
)
HALVES = "Whether halves of documents are summed separately, for the half-panel jackknife"
PROPERTY = "Property of a token that determines its class"
OFFSET = "Distance from the outcome to the token whose class it is: 0, or negative before it"


class RegressionTerms(Section):
    """The terms of a regression."""

    outcome: RegressedOutcome = Field(
        default="norm",
        description="Outcome, whose lags are regressors: the norm of the adjustment, absolute or "
        "relative to the stream; of what the token itself or earlier ones write (`from_itself`, "
        "`from_earlier`: need `sources`); or a direction (needs the quantity `geometry`; "
        "`cosine_previous_centred` also `keep: vectors`). In logs: "
        f"{catalogue.logarithmic_outcomes()}",
    )
    # [2, 1] is the same regression as [1, 2].
    lags: Annotated[list[Lag], Distinct, AfterValidator(sorted)] = Field(
        default=[], description="Distances in tokens to preceding tokens"
    )
    leads: Annotated[list[Lag], Distinct, AfterValidator(sorted)] = Field(
        default=[], description="Distances in tokens to following tokens, a placebo"
    )
    covariates: Annotated[list[Covariate], Distinct, COVARIATES.in_order()] = Field(
        default=[],
        description="Variables held fixed, described in [the table of covariates](#regressions)",
    )
    position_knots: Annotated[
        list[Positive], Field(min_length=3), Distinct, AfterValidator(sorted)
    ] = Field(
        default=[4, 16, 64, 256],
        description="Knots of the spline of the position, in tokens from the start of the sequence",
    )


class DesignSettings(RegressionTerms, Norms):
    """The terms of a regression and the rule for its rows."""

    drop_first: Natural = Field(
        default=1,
        description="Tokens to drop as `norms.drop_first` says, and one more where the outcome "
        "compares a token with the one before",
    )


class Regression(RegressionTerms):
    """One regression, of log norms or another outcome, fitted layer by layer."""

    slopes_by: SlopesBy | None = Field(
        default=None,
        description="Also fit slopes by class of token: `{upos: outcome}` by that of the token, "
        "`{upos: lag}` by that at the nearest lag. A number (`surprisal`) gives slopes of thirds",
    )
    min_rows_per_class: Positive = Field(
        default=200,
        description="Rows that a class needs; smaller ones are merged into `other`",
    )
    fixed_effects: DocumentEffects = Field(default="none", description=FIXED_EFFECTS)
    bias_correction: BiasCorrection = Field(default="none", description=BIAS_CORRECTION)

    @property
    def classes(self) -> tuple[str, int] | None:
        """The property that defines the class, and the offset of the token that has it."""
        if not self.slopes_by:
            return None
        ((name, token),) = self.slopes_by.items()
        nearest = -self.lags[0] if self.lags else self.leads[0]
        return name, 0 if token == "outcome" else nearest

    @property
    def by_number(self) -> bool:
        """Whether slopes differ by a number."""
        return bool(self.classes and self.classes[0] in properties.MODERATORS)

    @property
    def by_file(self) -> str | None:
        """The file with the property that slopes differ by."""
        name = self.classes and self.classes[0]
        return properties.MODERATORS.get(name, "token_properties") if name else None

    @model_validator(mode="after")
    def _possible(self) -> "Regression":
        if not self.lags and not self.leads:
            raise ValueError("found neither lags nor leads, expected lags, as in {lags: [1, 2]}")
        entries = covariates.CATALOGUE
        constant = [name for name in self.covariates if entries[name].constant_in_document]
        if self.fixed_effects == "document" and constant:
            raise impossible(
                "covariates",
                f"found the covariate {constant[0]} beside fixed_effects: document, expected one "
                f"of the two: {constant[0]} is constant within documents",
            )
        if self.bias_correction == "half-panel" and self.fixed_effects == "none":
            raise impossible(
                "bias_correction",
                "found bias_correction: half-panel without fixed_effects, expected "
                "fixed_effects: document: there is no such bias without document effects",
            )
        return self


class BuildDesignSettings(Section):
    """Settings of a design and of its cross-products."""

    design: DesignSettings = Field(description=DESIGN)
    halves: bool = Field(description=HALVES)


class ClassProductsSettings(Section):
    """Settings of cross-products with separate slopes for classes of tokens."""

    halves: bool = Field(description=HALVES)
    property: str = Field(description=PROPERTY)
    offset: int = Field(description=OFFSET)


class Permutation(Section):
    """Tokens are exchanged within documents, to give the coefficients if order means nothing."""

    draws: Annotated[int, Field(ge=19, le=100_000), NotBool] = Field(
        default=200,
        description="Number of permutations; 1 / (1 + draws), the least p-value, is at most alpha",
    )
    within: Literal["document", "upos"] = Field(
        default="document",
        description="Exchange tokens within a document, or also within one part of speech, whose "
        "order then stays",
    )
    seed: Seed = Field(default=0, description="Seed of the permutations")


class Controls(Section):
    """Controls: every regression in random order, and before training."""

    permutation: Permutation | None = Field(
        default=Permutation(), description="Exchanges of tokens within documents; null: none"
    )
    random_weights: UntrainedWeights | None = Field(
        default=UntrainedWeights(),
        description="The same regressions for the model with random weights; null: none",
    )
    revisions: Revisions | None = Field(
        default=Revisions(),
        description="The same regressions for the earlier checkpoints that models state as "
        "`revisions`; null: none",
    )


class PermutationsSettings(Permutation):
    """Settings of the permutation of a design."""

    design: DesignSettings = Field(description=DESIGN)
    fixed_effects: DocumentEffects = Field(description=FIXED_EFFECTS)


class Level(Section):
    """The level of intervals."""

    alpha: Annotated[float, Field(gt=0, lt=1), NotBool] = Field(
        default=0.05, description="Significance level; intervals cover 1 - alpha"
    )


class BootstrapSettings(Level):
    """The bootstrap of documents."""

    bootstrap: Annotated[int, Field(ge=0, le=10_000_000), NotBool] = Field(
        default=2000,
        description="Draws of documents for intervals of medians over the layers; 0: none",
    )
    seed: Seed = Field(default=0, description="Seed of all these draws")


class Negligible(Section):
    """What is of no interest."""

    equivalence_bound: Size = Field(
        default=0.05,
        description="Size below which a coefficient does not matter (column `equivalence`)",
    )


class Errors(Level, Negligible):
    """Standard errors and the correction for many layers."""

    covariance: Annotated[str, OneOf(tuple(covariances.CATALOGUE))] = Field(
        default="cluster",
        description="Standard errors: clustered by document (CR2, CRV1, CRV3), independent or "
        "autocorrelated within sequences (Newey-West)",
    )
    cluster: Literal["document", "group"] = Field(
        default="document",
        description="Unit of clustering and bootstraps: documents, for statements about more "
        "texts of these groups, or groups, about other groups",
    )
    adjust: Literal["holm", "benjamini-hochberg", "none"] = Field(
        default="holm", description="Correction of p-values over the layers, for each term"
    )


class Inference(Errors, BootstrapSettings):
    """Standard errors, intervals and the correction for many layers."""

    folds: Folds = Field(
        default=10,
        description="Folds of documents for the cross-validated R²; `groups`: a fold per group",
    )
    hac_lags: Natural | None = Field(
        default=None,
        description="Lags of the Newey-West errors; null: floor(4 (T / 100)^(2/9)), T the mean "
        "length of sequences",
    )

    @model_validator(mode="after")
    def _has_clusters(self) -> "Inference":
        if self.cluster == "group" and not covariances.CATALOGUE[self.covariance].clustered:
            raise impossible(
                "cluster",
                f"found cluster: group with covariance: {self.covariance}, expected covariance: "
                f"{covariances.CLUSTERED}: the others know no clusters",
            )
        return self


class RegressionSettings(Inference):
    """Settings of the fit and the inference of a regression."""

    fixed_effects: DocumentEffects = Field(description=FIXED_EFFECTS)
    bias_correction: BiasCorrection = Field(description=BIAS_CORRECTION)
    outcome: str = Field(default="norm", description="Outcome of the design")
    control_design: DesignSettings | None = Field(
        default=None,
        description="Terms and rows of the control with random weights; null: no control",
    )


class TrainingSettings(Level):
    """Settings of the fit of a regression to the earlier checkpoints of a model."""

    design: DesignSettings = Field(description=DESIGN)
    fixed_effects: DocumentEffects = Field(description=FIXED_EFFECTS)


class ClassesSettings(Section):
    """Settings of the fit of slopes by class of token."""

    regression: RegressionSettings = Field(description="How the regression is fitted")
    property: str = Field(description=PROPERTY)
    offset: int = Field(description=OFFSET)
    least_rows: int = Field(description="Classes with fewer rows are merged into one")


class LagsOfPartsSettings(Errors, Norms):
    """How the norms of heads, or of parts of what sources write, are summarised and regressed.

    Errors that need residuals are clustered by document instead.
    """

    regression: str = Field(
        description="Name of the regression whose terms the heads, or parts, have; empty: none"
    )
    design: DesignSettings | None = Field(default=None, description=DESIGN)
    fixed_effects: DocumentEffects = Field(description=FIXED_EFFECTS)
    halves: bool = Field(description=HALVES)


class GeometrySettings(Level, Norms):
    """Settings of the summary of the directions of adjustments."""


class ElasticitiesSettings(Level):
    """Settings of elasticities, their intervals, and the regression that they are compared with."""

    regression: str = Field(
        default="", description="Name of this regression, which has lag 1; empty: none"
    )
    fixed_effects: DocumentEffects = Field(default="none", description=FIXED_EFFECTS)
