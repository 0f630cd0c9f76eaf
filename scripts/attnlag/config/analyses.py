"""The keys of a configuration for the analyses, from regressions to the comparison of models."""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from attnlag.adjustments import outcomes
from attnlag.config.values import (
    SITES,
    AtLeastTwo,
    Distinct,
    Layers,
    Natural,
    NotBool,
    NumberOrAll,
    OneOf,
    Positive,
    Section,
    Site,
    impossible,
)
from attnlag.errors import counted
from attnlag.regression.design import covariates, properties

COVARIATES = OneOf(tuple(covariates.CATALOGUE))
CLASSES = OneOf((*properties.CLASSES, *properties.MODERATORS))


def _not_refused(name: Any) -> Any:
    if name in covariates.REFUSED:
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

TOKEN_EFFECTS = ("token", "previous_token")
FixedEffects = Annotated[
    Annotated[Literal["none", "document"], Tag("word")]
    | Annotated[
        list[Literal["document", "token", "previous_token"]],
        Field(min_length=1),
        Distinct,
        Tag("list"),
    ],
    Discriminator(lambda value: "list" if isinstance(value, list) else "word"),
]

Classes = Annotated[str, CLASSES]
Covariate = Annotated[str, COVARIATES, BeforeValidator(_not_refused)]
RegressedOutcome = Annotated[str, OneOf(tuple(outcomes.OUTCOMES))]


def _not_one(value: float) -> float:
    if value == 1:
        raise ValueError("found 1, expected a factor that changes something")
    return value


class Regression(Section):
    """One regression of log norms, fitted layer by layer."""

    outcome: RegressedOutcome = Field(
        default="norm",
        description="Quantity that is the outcome and whose lags are regressors: "
        f"{outcomes.in_words()}. In logs: {outcomes.of_logs()}. `self` and `shared` need "
        "`sources`, all others but the first two `extraction.geometry`, and "
        "`cosine_previous_centred` also `keep: vectors`",
    )
    # [2, 1] is the same regression as [1, 2].
    lags: Annotated[list[Positive], Distinct, AfterValidator(sorted)] = Field(
        default=[], description="Distances in tokens to preceding tokens, for example `[1, 2]`"
    )
    leads: Annotated[list[Positive], Distinct, AfterValidator(sorted)] = Field(
        default=[],
        description="Distances in tokens to following tokens: a placebo, because attention looks "
        "only backwards",
    )
    covariates: Annotated[list[Covariate], Distinct, COVARIATES.in_order()] = Field(
        default=[],
        description=f"Further variables that are held fixed: {covariates.in_words()}",
    )
    position_knots: Annotated[
        list[Positive], Field(min_length=3), Distinct, AfterValidator(sorted)
    ] = Field(
        default=[4, 16, 64, 256],
        description="Knots of the spline, in tokens from the start of the sequence. The spline is "
        "cubic in log(1 + position) between them, and linear before the first and after the last",
    )
    by: Annotated[dict[Classes, Literal["outcome", "lag"]], AfterValidator(_one)] | None = Field(
        default=None,
        description="Also fit slopes by class of token. The key is the property that defines the "
        "class, the value the token that has it: `{upos: outcome}`, or `lag` for the token at the "
        "nearest lag. A number (`surprisal`) gives slopes that change with it, and those of thirds",
    )
    by_rows: Positive = Field(
        default=200,
        description="Rows that a class needs for its own slopes. Classes with fewer rows, or fewer "
        "than six documents, are merged into `other`",
    )
    fixed_effects: FixedEffects = Field(
        default="none",
        description="`document` removes the document means from all terms; `[document, token]` "
        "removes the effects of documents and tokens jointly, and `previous_token` also those of "
        "the preceding token",
    )
    bias_correction: Literal["none", "half-panel"] = Field(
        default="none",
        description="Half-panel jackknife against the bias that document effects have in short "
        "documents (Nickell)",
    )

    @property
    def layer_covariates(self) -> list[str]:
        """Covariates whose values differ between layers."""
        return [name for name in self.covariates if covariates.layer_cells([name])]

    @property
    def document_effects(self) -> Literal["none", "document"]:
        """Whether the means of documents are removed."""
        return "none" if self.fixed_effects == "none" else "document"

    @property
    def token_effects(self) -> tuple[str, ...]:
        """Effects of tokens that are removed together with those of documents."""
        asked = self.fixed_effects if isinstance(self.fixed_effects, list) else []
        return tuple(name for name in TOKEN_EFFECTS if name in asked)

    @property
    def classes(self) -> tuple[str, int] | None:
        """The property that defines the class, and the offset of the token that has it."""
        if not self.by:
            return None
        ((name, of),) = self.by.items()
        nearest = -self.lags[0] if self.lags else self.leads[0]
        return name, 0 if of == "outcome" else nearest

    @property
    def by_number(self) -> bool:
        """Whether slopes differ by a number."""
        return bool(self.classes and self.classes[0] in properties.MODERATORS)

    @property
    def by_file(self) -> str | None:
        """The file with the property that slopes differ by."""
        if not self.classes:
            return None
        return properties.MODERATORS.get(self.classes[0], "token_properties")

    @model_validator(mode="after")
    def _possible(self) -> "Regression":
        if not self.lags and not self.leads:
            raise ValueError("found neither lags nor leads, expected lags, as in {lags: [1, 2]}")
        constant = covariates.constant_in_document(self.covariates)
        if isinstance(self.fixed_effects, list) and "document" not in self.fixed_effects:
            raise impossible(
                "fixed_effects",
                f"found fixed_effects: [{', '.join(self.fixed_effects)}], expected document among "
                "them: tokens differ between documents",
            )
        if self.bias_correction == "half-panel" and self.token_effects:
            raise impossible(
                "bias_correction",
                "found bias_correction: half-panel with effects of tokens, expected none: the "
                "halves of documents do not tell the effects of all tokens",
            )
        if self.document_effects == "document" and constant:
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


class Permutation(Section):
    """Tokens are exchanged within documents, to give the coefficients if order means nothing."""

    draws: Annotated[int, Field(ge=19), NotBool] = Field(
        default=200, description="Number of permutations; the smallest p-value is 1 / (1 + draws)"
    )
    within: Literal["document", "upos"] = Field(
        default="document",
        description="Tokens that are exchanged with each other: all tokens of a document, or "
        "those of one part of speech in it, so that the order of the parts of speech stays",
    )
    seed: Natural = Field(default=0, description="Seed of the permutations")


class RandomWeights(Section):
    """The same architecture before any training."""

    documents: Positive = Field(
        default=16,
        description="Number of documents for the untrained model: the first of each group, then "
        "the second, and so on",
    )
    draws: Positive = Field(
        default=3,
        description="Number of draws of the weights. The first has all documents; the others have "
        "the first of these, one draw's share but at least 8, and show the spread over draws",
    )
    seed: Natural = Field(default=0, description="Seed of the first draw; the next has the next")


class Controls(Section):
    """Controls: the results of every regression if nothing were going on."""

    switched_off_by_null: ClassVar[frozenset[str]] = frozenset({"permutation", "random_weights"})

    permutation: Permutation | None = Field(
        default=Permutation(), description="Exchanges of tokens within documents; null: none"
    )
    random_weights: RandomWeights | None = Field(
        default=RandomWeights(),
        description="The same regressions for the model with random weights; null: none",
    )


class Inference(Section):
    """Standard errors, intervals and the correction for many layers."""

    covariance: Literal[
        "cluster", "cluster-crv1", "cluster-jackknife", "nonrobust", "hc1", "hc3", "hac"
    ] = Field(
        default="cluster",
        description="Kind of standard errors: clustered by document (`cluster` is CR2 with "
        "Satterthwaite degrees of freedom; `cluster-crv1` what statsmodels, Stata and fixest "
        "give; `cluster-jackknife` CRV3), `hac` (Newey-West within sequences), `hc1` and `hc3` "
        "(heteroskedasticity only), or `nonrobust` (classical)",
    )
    cluster: Literal["document", "group"] = Field(
        default="document",
        description="Unit of clustering and of the bootstraps: documents, for statements about "
        "more texts of the same groups, or whole groups, for statements about other groups",
    )
    alpha: Annotated[float, Field(gt=0, lt=1), NotBool] = Field(
        default=0.05, description="Significance level; intervals cover 1 - alpha"
    )
    adjust: Literal["holm", "benjamini-hochberg", "max-t", "none"] = Field(
        default="holm",
        description="Correction of p-values over the layers, for each term; `max-t` is Romano and "
        "Wolf's step-down, from the bootstrap",
    )
    negligible: Annotated[float, Field(gt=0, allow_inf_nan=False), NotBool] = Field(
        default=0.05,
        description="Size below which a coefficient does not matter. A coefficient is absent if "
        "it is shown to be smaller, present if shown to be larger, and otherwise undecided "
        "(column `finding`)",
    )
    bootstrap: Natural = Field(
        default=2000,
        description="Draws of whole documents, the same for all layers, for `max-t` and joint "
        "bands; 0: none",
    )
    wild_bootstrap: Natural = Field(
        default=0,
        description="Draws of the restricted wild cluster bootstrap, for p-values with few "
        "documents (column `p_wild`); 0: none",
    )
    seed: Natural = Field(default=0, description="Seed of all these draws")
    folds: Folds = Field(
        default=10,
        description="Folds of documents for the cross-validated R²; `groups`: one fold per group "
        "of documents, which gives the R² of groups that the fit did not see",
    )
    hac_lags: Natural | None = Field(
        default=None,
        description="Lags of the Newey-West errors; null: floor(4 (T / 100)^(2/9)) for sequences "
        "of T rows on average",
    )
    stack_mb: Positive = Field(
        default=256,
        description="Memory in MB for the cross-products of documents. Beyond it, documents share "
        "bins for the jackknife, folds and bootstrap; CR2 and CRV1 stay exact",
    )

    @model_validator(mode="after")
    def _has_clusters(self) -> "Inference":
        if self.cluster == "group" and not self.covariance.startswith("cluster"):
            raise impossible(
                "cluster",
                f"found cluster: group with covariance: {self.covariance}, expected covariance: "
                "cluster, cluster-crv1 or cluster-jackknife: the others know no clusters",
            )
        return self

    @model_validator(mode="after")
    def _has_draws(self) -> "Inference":
        # The smallest possible p-value is 1 / (draws + 1).
        least = math.ceil(2 / self.alpha) - 1
        if self.adjust == "max-t" and self.bootstrap < least:
            raise impossible(
                "adjust",
                f"found adjust: max-t with {counted(self.bootstrap, 'draw')} of bootstrap, "
                f"expected at least {least} at alpha {self.alpha:g}",
            )
        return self


class Causal(Section):
    """Interventions: the effect of changing one adjustment on the sizes of later ones.

    `causal: null` leaves them out.
    """

    targets: Layers = Field(
        default=3,
        description="Layers whose adjustments are observed: a number of layers spread over depth "
        "(including the last), a list, or all",
    )
    lags: Positive = Field(
        default=4, description="Largest distance in tokens from a changed token to another"
    )
    probes: Positive = Field(
        default=5,
        description="Backward passes per target, each covering every so many-th token, at most "
        "`lags` + 1. More passes take more time and give much smaller errors",
    )
    documents: NumberOrAll = Field(
        default=13, description="Number of documents, taken from the groups in turn; or all"
    )
    document_tokens: AtLeastTwo = Field(
        default=64, description="Largest number of tokens used per document, from its beginning"
    )
    source_sites: Annotated[list[Site], Field(min_length=1), Distinct, SITES.in_order()] | None = (
        Field(
            default=None,
            description="Sites that are changed; null: those of the extraction",
        )
    )
    target_sites: Annotated[list[Site], Field(min_length=1), Distinct, SITES.in_order()] | None = (
        Field(
            default=None,
            description="Sites that are observed; null: those of the extraction",
        )
    )
    interventions: Annotated[list[Literal["scale", "zero", "mean", "resample"]], Distinct] = Field(
        default=["scale", "zero", "mean", "resample"],
        description="Finite interventions in addition to the derivative: an adjustment is "
        "multiplied by each of the scales or by zero, or it is replaced by the mean of its layer "
        "or by the adjustment of a token in another document; empty: none",
    )
    scales: Annotated[
        list[Annotated[float, Field(gt=0), NotBool, AfterValidator(_not_one)]],
        Distinct,
        AfterValidator(sorted),
    ] = Field(default=[0.5, 0.9, 1.1, 2.0], description="Factors of `scale`")
    sources: Layers = Field(
        default=1,
        description="Layers that finite interventions change: a number of layers spread over "
        "depth, a list, or all",
    )
    positions: Positive = Field(
        default=1,
        description="Random tokens per document that they change, one at a time; where parts of "
        "speech are known, in proportion to them",
    )
    seed: Natural = Field(
        default=0, description="Seed of the random signs and of the choice of tokens"
    )
    batch_tokens: Positive = Field(
        default=1024,
        description="Tokens in simultaneous passes; a backward pass holds everything in memory "
        "(speed and memory; results agree up to rounding)",
    )


class Vectors(Section):
    """Regressions of a token's vector on those of preceding tokens, in addition to the regressions
    of norms. `vectors: null` leaves them out, and so does `extraction.keep: norms`.
    """

    lags: Annotated[list[Positive], Field(min_length=1), Distinct, AfterValidator(sorted)] = Field(
        default=[1], description="Distances in tokens to preceding tokens, for example `[1]`"
    )
    ranks: Annotated[list[Positive], Distinct, AfterValidator(sorted)] = Field(
        default=[1, 4, 16, 64],
        description="Ranks to which the coefficients are reduced; each has its own R². The full "
        "rank is always included",
    )
    ridge: Annotated[
        list[Annotated[float, Field(ge=1e-5, allow_inf_nan=False), NotBool]],
        Field(min_length=1),
        Distinct,
        AfterValidator(sorted),
    ] = Field(
        default=[0.0001, 0.001, 0.01, 0.1, 1.0],
        description="Candidate penalties in units of the mean variance of the predictors. The "
        "penalty of each fold is chosen by cross-validation among the other folds",
    )
    folds: Annotated[int, Field(ge=3), NotBool] = Field(
        default=5,
        description="Folds of documents, each predicted by a fit without it. Time grows with the "
        "square of their number, and the products on disk in proportion to it",
    )
    components: Positive = Field(
        default=1024,
        description="Wider vectors are first projected onto this number of principal components; "
        "the remainder counts as not predicted. 256 takes a sixteenth of the memory of 1024, and "
        "lowers R² by at most the variance that it leaves out",
    )


class Sources(Section):
    """Which tokens write an adjustment, and what it says: its effects on the logits of some words.

    `sources: null` leaves them out.
    """

    documents: NumberOrAll = Field(
        default=13, description="Number of documents, taken from the groups in turn; or all"
    )
    document_tokens: AtLeastTwo = Field(
        default=64,
        description="Largest number of tokens used per document, from its beginning. Memory grows "
        "with their square, for one layer at a time",
    )


class Comparison(Section):
    """The comparison of models; used if there are several."""

    draws: Annotated[int, Field(ge=100), NotBool] = Field(
        default=2000, description="Draws of documents in the bootstrap of a correlation"
    )
    seed: Natural = Field(default=0, description="Seed of these draws")
