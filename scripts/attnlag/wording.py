"""The words of claims: what a verdict is called, and a template of one line for each claim."""

from collections.abc import Callable, Mapping, Sequence
from math import isclose, isfinite

import pandas as pd

from attnlag.claims.checkpoints import AtStep, Course
from attnlag.claims.directions import CENTRED, PLAIN
from attnlag.claims.numbers import interval, number, percent, span
from attnlag.claims.row import Row, Verdict
from attnlag.claims.subsets import class_name, extremes_apart
from attnlag.errors import listed
from attnlag.interventions.prediction_vs_effect import ALONE
from attnlag.quantities.catalogue import OUTCOMES, SITES
from attnlag.regression.labels import plural, spans
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.slopes.decomposition import POOLED
from attnlag.regression.terms import distance, is_lead, named

UNKNOWN = "unknown"
NO_INTERVAL = "no interval"

# More documents than this are not counted.
MAX_DOCUMENTS = 10_000

# The claims of a run, by name, and their labels.
LABELS = {
    "lag": "coefficient of a lag or lead, given the others (median layer)",
    "response": "response so many tokens after one larger by 1 than predicted (median layer)",
    "nested_model": "nearest lag as more is held fixed (mean over the layers)",
    "without_one_document": "nearest lag without the document that moves it most (median layer)",
    "omitted_lags": "sum of the coefficients of further lags (median layer)",
    "curvature": "coefficient of the square of the nearest lag (median layer)",
    "curvature_share": "variance of the residuals that this square explains (median layer)",
    "halves": "nearest lag where halves of texts differ, or everywhere if nowhere (median layer)",
    "groups": "lag in a group of documents (median layer)",
    "classes": "lag of a class of tokens (median layer)",
    "r_squared": "variance explained (median layer)",
    "r_squared_beyond": "variance that some terms explain beyond the others (median layer)",
    "head_lag": "nearest lag of single heads (median head)",
    "head_lag_before_training": "nearest lag of single heads before training (median head)",
    "head_share": "largest share of a head in the squared norms of its layer",
    "head_sink": "attention to the first token (median head)",
    "cosine": "cosine of adjustments so many tokens apart (median layer)",
    "written_by_previous": "share of adjustments that the token before writes",
    "effect": "effect of all earlier layers on the next token, % per 1%",
    "effect_share": "the same, divided by what all earlier layers predict",
    "own_lag": "lag 1 of a layer beside the effect on it",
    "single_layers": "largest effect of one layer on the next token in another",
    "removal": "change of the next token's log norm if an adjustment is removed",
    "proportion": "effect of a large change / that foretold by a small one, less 1",
    "signs": "rank correlation of predictions and effects, and effects with their sign",
    "same_layer": "lags of layers on themselves that are significant, where the effect is zero",
    "before_training": "a lag or R² before training, by scale of the initial weights",
    "change_by_training": "the same less that after training (mean over the layers)",
    "training_first": "nearest lag at the first step of training",
    "training_highest": "nearest lag at the step where it is highest",
    "training_settled": "difference from the final weights where the lag settles (mean over the "
    "layers)",
    "training_final": "nearest lag of the final weights",
    "class_slopes": "layers in which slopes differ by class of tokens",
    "next_token": "effect on the next token less that on the token itself (median layer)",
}

# Whether a large adjustment follows a large one.
FOLLOWS = {
    Verdict.ABOVE: "Yes, neighbours are alike in size",
    Verdict.BELOW: "No, a small one",
    Verdict.WITHIN: "No",
    Verdict.UNDECIDED: "Undecided",
    Verdict.TOO_FEW_TEXTS: f"Too few texts to tell ({{texts}}; at least {MIN_DOCUMENTS})",
    Verdict.NONE: "Not tested",
}

LAG_ANSWER = (
    "{verdict}: 10% longer → {change} ({term}, median layer: {value}, {interval}; without the "
    "document that moves it most: {without}; layers above {bound}: {above} of {layers}, "
    "below −{bound}: {below})"
)
LAG_PART = (
    "{value} ({interval}; layers above {bound}: {above} of {layers}, below −{bound}: {below}, "
    "within ±{bound}: {within})"
)
# The coefficients of several lags are partial.
RESPONSE_ANSWER = (
    "{value} ({interval}); five tokens later: {value_after_five} ({interval_after_five}); "
    "coefficients, each given the others: {coefficients}; held fixed: {held}"
)
LAG_FINDING = (
    "layers with {term} above {bound}: {above} of {layers}, below −{bound}: {below}, within "
    "±{bound}: {within}, undecided: {undecided}"
)

# Attention heads, as titles and in answers.
HEADS = {
    "head_lag": "{subject} of single heads is {value}, that of their sum {baseline} (medians)",
    "head_share": "One head has up to {percent} of its layer's squared norms ({equal} if equal)",
    "head_sink": (
        "The median head gives {percent} of its attention to the first token ({equal} if equal)"
    ),
}
HEAD_LAG_FINDINGS = (
    "{term} of single heads: {value}, of their sum: {baseline} (medians, with the terms of the "
    "regression '{regression}')",
    "heads with {term} shown to be positive: {above} of {layers}, negative: {below}, negligible: "
    "{within}",
)
HEAD_BEFORE_TRAINING = (
    "{term} of single heads before training: {value}, after it: {baseline} (first scale of the "
    "weights; same documents, not corrected for bias)"
)

# Directions.
COSINE_NAMES = {CENTRED: "centred cosine", PLAIN: "cosine"}
NEIGHBOURS = "Adjustments of neighbours have a {name} of {near} (median layer)"
NEIGHBOURS_AND_FAR = NEIGHBOURS + ", those {distance} tokens apart of {far}"
NO_NEIGHBOURS = "No two neighbours have a cosine"

WRITTEN_BY_PREVIOUS = "The token before writes on average {shares} of an adjustment"
MEDIAN_AND_MOST = "{median} in the median layer and at most {most} (in {layer})"

# Effects on the next token. Their size is in % of it per 1% in all earlier layers.
EFFECT = "{value}% ({interval}) in {layer}"
EFFECTS_VERDICT = (
    "Hardly in {within} of {layers} layers, in part in {above}, the other way in {below}, "
    "undecided in {undecided}"
)
EFFECTS_ANSWER = (
    "{verdict}: 1% longer in all earlier layers changes the next by {effects}; {texts} documents"
)
DOCUMENTS_TO_DECIDE = " (to decide all: {documents})"
NO_EARLIER_LAYER = "No observed layer has an earlier one"
PREDICTION = "{value}% ({interval})"
HARDLY_MEANS = " (hardly: the interval of effect / this lies within ±25%)"
SHARE_VERDICTS = {
    Verdict.WITHIN: "hardly",
    Verdict.ABOVE: "in part",
    Verdict.BELOW: "the other way",
    Verdict.UNDECIDED: "undecided",
    Verdict.TOO_FEW_TEXTS: "too few texts to tell",
    Verdict.NONE: "not tested",
}
EFFECT_FINDING = (
    "{layer}: 1% longer in all earlier layers changes the next by {value}% ({interval}); a "
    "regression on these layers, over all documents, predicts {predicted} ({predicted_interval}); "
    "effect / prediction: {share} ({share_interval}), {verdict}; its own lag 1: {own}"
)
SINGLE_LAYERS = {
    Verdict.WITHIN: (
        "Earlier layers predict the next token's adjustment (one by at least {predicted}% per 1%) "
        "but hardly change it (each by at most {caused}%)"
    ),
    Verdict.ABOVE: (
        "Earlier layers predict the next token's adjustment (one by at least {predicted}% per 1%) "
        "and change it (each by at most {caused}%)"
    ),
    Verdict.NONE: (
        "No earlier layer is shown to predict the next token's adjustment; each changes it by at "
        "most {caused}% per 1%"
    ),
    Verdict.TOO_FEW_TEXTS: (
        "Too few documents to tell how far layers change the next token's adjustment"
    ),
}
REMOVAL = (
    "removing an adjustment of {layer} changes the next token's by {value} ({interval}) on average "
    "over later layers; layers in which it is clear: {clear} of {layers}; {texts} documents"
)
# What interventions do.
DOING = {"halve": "halving", "double": "doubling"}
PROPORTION = (
    "{doing} an adjustment of {layer} has an effect on the next token's that differs by {value} "
    "({interval}) from what a small change foretells"
)

# Variance explained, in the median layer.
EXPLAINED = "{whole} (median layer)"
EXPLAINED_IN_PARTS = (
    "{whole}: {lags} by the lags beyond {others}, {other} by {others} beyond the lags, the rest by "
    "either (median layer)"
)

# Sizes of lags.
SIZE_FINDING = (
    "{term}, {scope}: median {value} over the layers ({interval}); {lowest} to {highest}, above 0 "
    "in {positive} of {layers} layers"
)

# What follows one that is 1% larger, in the median layer.
FOLLOWED = "After a {name} 1% larger, the next differs by {value}%"
FOLLOWED_LATER = FOLLOWED + ", that two tokens later by {later}%"
COEFFICIENT = "{term} is {value}"
NO_COEFFICIENT = "No coefficient of {outcomes} could be estimated"
MEDIAN_LAYER = " (median layer)"
MEDIAN_LAYER_AND_BEFORE = " (median layer; {lag} before training: {before})"
LAG_BY_REGRESSION = "Lag 1 is {sizes} (median layer)"
ALL_REGRESSIONS = "Coefficients of all regressions"
MAX_REGRESSIONS = 3

# Slopes of a lag by class of tokens.
CLASS_SLOPES = "Layers in which {term} differs by {trait}: {above} of {layers}"
CLASS_SLOPES_UNTESTED = "It could not be tested whether {term} differs by {trait}"
CLASS_EXTREMES = (
    "{term} is weakest for {low_name} ({low}) and strongest for {high_name} ({high}); layers in "
    "which slopes differ: {above} of {layers}"
)

# What nested models hold fixed, one thing more in each.
STEPS = {
    POOLED: "nothing held fixed",
    "document": "documents held fixed",
    "upos": "parts of speech held fixed too",
    "upos_previous": "those of previous tokens too",
    "token": "tokens too",
    "token_previous": "previous tokens too",
}
STEP_FINDING = "{term}, {step}: {value} (mean over {layers} layers, {texts} documents)"
POOLED_ANSWER = (
    "{pooled}, within them {within} (the same texts, lags alone, mean over {layers} layers)"
)
OTHER_REGRESSION_ANSWER = "{value} in {regression}, which differs in {settings}"

NEXT_TOKEN = (
    "Layers whose {site} raises the logit of the next token more than that of the token itself: "
    "{above} of {layers}; less: {below}"
)
NEXT_TOKEN_UNTESTED = (
    "Too few documents to tell whether the {site} raises the logit of the next token more than "
    "that of the token itself"
)


def next_token(row: Row) -> str:
    """Return in how many layers the next token is raised more than the token itself."""
    template = NEXT_TOKEN
    if row.verdict is Verdict.TOO_FEW_TEXTS:
        template = NEXT_TOKEN_UNTESTED
    return template.format(
        site=SITES[row.subject].label, above=row.above, layers=row.layers, below=row.below
    )


GROUPS = "Groups of documents with {term} above 0: {above} of {groups}, below 0: {below}"
NO_GROUPS = "No group of documents could be fitted separately"
# Medians over the layers.
EXTREMES = (
    "{low} ({low_interval}) in {low_name} to {high} ({high_interval}) in {high_name}, jointly for "
    "all {count}"
)
NO_EXTREMES = "no two of {count} are shown to differ by their joint intervals"


def groups(rows: Sequence[Row], term: str) -> str:
    """Return in how many groups of documents the joint interval of a lag excludes zero."""
    if not rows:
        return NO_GROUPS
    verdicts = [row.verdict for row in rows]
    return GROUPS.format(
        term=named(term),
        above=verdicts.count(Verdict.ABOVE),
        below=verdicts.count(Verdict.BELOW),
        groups=len(rows),
    )


def extremes(rows: Sequence[Row], shown: Callable[[str], str] = str) -> str:
    """Return the smallest and the largest number of subsets, if their intervals do not meet.

    ``shown`` makes a name fit for its place.
    """
    count = sum(isfinite(row.low) for row in rows)
    ends = extremes_apart(rows)
    if ends is None:
        return NO_EXTREMES.format(count=count)
    low, high = ends
    return EXTREMES.format(
        low=number(low.value),
        low_interval=interval(low.low, low.high),
        low_name=shown(low.subject),
        high=number(high.value),
        high_interval=interval(high.low, high.high),
        high_name=shown(high.subject),
        count=count,
    )


SIGNS = (
    "prediction from {predictor} has the sign of {same} of {clear} clear effects (by chance "
    "{by_chance}{nothing}); rank correlation of sizes: {correlation}"
)
PREDICTORS = {ALONE: "one layer"}
PREDICTOR_GIVEN = "one layer, the source layer at that token held fixed,"
SAME_LAYER = (
    "layers whose lag 1 on itself is significant: {above} of {layers}, where the effect is exactly "
    "zero"
)
TELLS_NOTHING = ": one of the two has one sign alone, which tells nothing"

FURTHER_LAGS = (
    "layers in which {tokens} back still predict: {above} of {layers} (sum of their coefficients "
    "in the median layer: {value}, {low_to_high}; 0.00 if the lags were enough)"
)
BENT = (
    "layers in which {term} is shown not to be linear: {bent} of {layers} (coefficient of its "
    "square in the median layer: {value}, {low_to_high}; 0 if it were; the square explains {share} "
    "of the residual variance)"
)
FURTHER_LAGS_UNTESTED = "it was not tested whether earlier tokens predict"
HALVES_DIFFER = (
    "layers in which halves of texts have different lags: {above} of {layers} (the correction of "
    "bias takes {term} there from {before} to {after}; a larger norms.drop_first leaves beginnings "
    "out)"
)
HALVES_ALIKE = (
    "layers in which halves of texts have different lags: 0 of {layers} (the correction of bias "
    "takes {term} from {before} to {after})"
)


def further_lags(row: Row) -> str:
    """Return in how many layers the lags are too few, and what further ones would carry."""
    if not row.subject:
        return FURTHER_LAGS_UNTESTED
    numbers = [int(lag) for lag in row.subject.split()]
    return FURTHER_LAGS.format(
        tokens=spans(numbers, "token"),
        above=row.above,
        layers=row.layers,
        value=number(row.value),
        low_to_high=interval(row.low, row.high),
    )


def curvature(row: Row, share: Row) -> str:
    """Return in how many layers the nearest lag is not linear, and how much its square explains."""
    return BENT.format(
        term=named(row.subject),
        bent=row.above + row.below,
        layers=row.layers,
        value=number(row.value),
        low_to_high=interval(row.low, row.high),
        share=percent(share.value, 1),
    )


def halves(row: Row) -> str:
    """Return in how many layers halves of texts differ, and what the correction of bias does."""
    template = HALVES_DIFFER if row.above else HALVES_ALIKE
    return template.format(
        above=row.above,
        layers=row.layers,
        term=named(row.subject),
        before=number(row.baseline_value),
        after=number(row.value),
    )


def explained(rows: Sequence[Row], covariates: Sequence[str]) -> str:
    """Return R², and what it loses without the lags or the other terms."""
    whole = percent(rows[0].value)
    if len(rows) == 1:
        return EXPLAINED.format(whole=whole)
    others = "the other terms"
    if list(covariates) == ["position"]:
        others = "position"
    return EXPLAINED_IN_PARTS.format(
        whole=whole,
        lags=percent(rows[1].value).removesuffix("%"),
        other=percent(rows[2].value).removesuffix("%"),
        others=others,
    )


def followed_by(lag: Row | None, later: Row | None, outcome: str) -> str:
    """Return what follows a larger one, or a coefficient that is no percentage.

    ``lag`` has the span of its values before training as the interval of its baseline, if known.
    """
    outcomes = plural(outcome)
    if lag is None:
        return NO_COEFFICIENT.format(outcomes=outcomes)
    template = COEFFICIENT
    if OUTCOMES[outcome].logarithm and not is_lead(lag.subject):
        template = FOLLOWED
        if later is not None:
            template = FOLLOWED_LATER
    template += MEDIAN_LAYER
    before = ""
    if isfinite(lag.baseline_low):
        template = template.removesuffix(MEDIAN_LAYER) + MEDIAN_LAYER_AND_BEFORE
        before = span([lag.baseline_low, lag.baseline_high])
    value_later = ""
    if later is not None:
        value_later = signed(later.value)
    value = number(lag.value)
    if not template.startswith(COEFFICIENT):
        value = signed(lag.value)
    return template.format(
        name=outcomes.removesuffix("s"),
        lag=named(lag.subject),
        term=named(lag.subject).capitalize(),
        value=value,
        later=value_later,
        before=before,
    )


def by_regression(medians: Mapping[str, float]) -> str:
    """Return lag 1 of regressions by name, or the extremes of many."""
    if not medians:
        return ALL_REGRESSIONS
    names = list(medians)
    if len(names) > MAX_REGRESSIONS:
        names = [min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)]
    sizes = [f"{number(medians[name])} {name}" for name in names]
    return LAG_BY_REGRESSION.format(sizes=listed(sizes))


def class_slopes(test: Row, classes: Sequence[Row], trait: str) -> str:
    """Return in how many layers slopes differ by class, and the extremes if they are apart."""
    term = named(test.subject)
    if test.layers == 0:
        return CLASS_SLOPES_UNTESTED.format(term=term, trait=trait)
    counts = {"above": test.above, "layers": test.layers}
    ends = extremes_apart(classes)
    if ends is None:
        return CLASS_SLOPES.format(term=term, trait=trait, **counts)
    low, high = ends
    return CLASS_EXTREMES.format(
        term=term.capitalize(),
        low_name=class_name(low.subject),
        low=number(low.value),
        high_name=class_name(high.subject),
        high=number(high.value),
        **counts,
    )


def size_finding(row: Row, scope: str, estimates: pd.Series) -> str:
    """Return a lag of the median layer, and its extremes and signs over the layers."""
    return SIZE_FINDING.format(
        term=named(row.subject),
        scope=scope,
        value=number(row.value),
        interval=interval_in_words(row),
        lowest=number(estimates.min()),
        highest=number(estimates.max()),
        positive=int((estimates > 0).sum()),
        layers=row.layers,
    )


def signed(value: float) -> str:
    """Return a number with its sign."""
    if value > 0:
        return f"+{number(value)}"
    return number(value)


def of_heads(row: Row) -> str:
    """Return a claim about single heads as a sentence."""
    subject = row.subject
    if row.claim == "head_lag":
        subject = named(row.subject).capitalize()
    return HEADS[row.claim].format(
        subject=subject,
        value=number(row.value),
        baseline=number_or_unknown(row.baseline_value),
        percent=percent(row.value),
        equal=percent(row.baseline_value),
    )


def head_findings(row: Row, regression: str) -> list[str]:
    """Return the lag of single heads and of their sum, and in how many heads it is shown."""
    lines = []
    for template in HEAD_LAG_FINDINGS:
        text = template.format(
            term=named(row.subject),
            value=number(row.value),
            baseline=number_or_unknown(row.baseline_value),
            regression=regression,
            above=row.above,
            below=row.below,
            within=row.within,
            layers=row.layers,
        )
        lines.append(text)
    return lines


def head_before_training(row: Row) -> str:
    """Return the lag of single heads before and after training."""
    return HEAD_BEFORE_TRAINING.format(
        term=named(row.subject),
        value=number(row.value),
        baseline=number_or_unknown(row.baseline_value),
    )


def neighbours(rows: Sequence[Row]) -> str:
    """Return the cosine of neighbours, and of the farthest pairs."""
    if not rows:
        return NO_NEIGHBOURS
    quantity, _ = rows[0].subject.split(", ")
    _, distance = rows[-1].subject.split(", ")
    template = NEIGHBOURS
    if len(rows) > 1:
        template = NEIGHBOURS_AND_FAR
    return template.format(
        name=COSINE_NAMES[quantity],
        near=number(rows[0].value),
        far=number(rows[-1].value),
        distance=distance,
    )


def written_by_previous(median: Row, most: Row) -> str:
    """Return how much of adjustments the token before writes."""
    return WRITTEN_BY_PREVIOUS.format(shares=median_and_most(median, most))


def median_and_most(median: Row, most: Row) -> str:
    """Return the share of the median layer, and the largest one."""
    return MEDIAN_AND_MOST.format(
        median=percent(median.value), most=percent(most.value), layer=most.subject
    )


def trial(row: Row) -> str:
    """Return how often predictions have the sign of effects, and whether that can tell anything.

    Where all effects, or all predictions, have one sign, they agree as often as by chance.
    """
    if row.claim == "same_layer":
        return SAME_LAYER.format(above=row.above, layers=row.layers)
    nothing = TELLS_NOTHING if isclose(row.above, row.baseline_value) else ""
    return SIGNS.format(
        predictor=PREDICTORS.get(row.subject, PREDICTOR_GIVEN),
        same=row.above,
        clear=row.layers,
        by_chance=f"{row.baseline_value:.1f}",
        nothing=nothing,
        correlation=number_or_unknown(row.value),
    )


def effects(rows: Sequence[Row]) -> str:
    """Return effects by layer."""
    texts = []
    for row in rows:
        text = EFFECT.format(
            value=number(row.value), interval=ends_in_words(row.low, row.high), layer=row.subject
        )
        texts.append(text)
    return ", ".join(texts)


def effects_answer(rows: Sequence[Row], shares: Sequence[Row], needed: float) -> str:
    """Return whether adjustments cause later ones: the verdict on shares, and the effects.

    ``shares`` are the claims of all layers, of whose effects ``rows`` are some. ``needed`` is the
    number of documents that would decide all shares, NaN if it is unknown.
    """
    if not shares:
        return NO_EARLIER_LAYER
    verdicts = [share.verdict for share in shares]
    template = EFFECTS_VERDICT
    if Verdict.TOO_FEW_TEXTS in verdicts:
        template = FOLLOWS[Verdict.TOO_FEW_TEXTS]
    elif set(verdicts) == {Verdict.NONE}:
        template = FOLLOWS[Verdict.NONE]
    verdict = template.format(
        within=verdicts.count(Verdict.WITHIN),
        above=verdicts.count(Verdict.ABOVE),
        below=verdicts.count(Verdict.BELOW),
        undecided=verdicts.count(Verdict.UNDECIDED),
        layers=len(verdicts),
        texts=shares[0].texts,
    )
    text = EFFECTS_ANSWER.format(verdict=verdict, effects=effects(rows), texts=shares[0].texts)
    if Verdict.UNDECIDED in verdicts and needed == needed:
        text += DOCUMENTS_TO_DECIDE.format(documents=_documents(needed))
    return text


def predictions(rows: Sequence[Row]) -> str:
    """Return what earlier layers predict of the effects of some layers."""
    texts = []
    for row in rows:
        ends = ends_in_words(row.baseline_low, row.baseline_high)
        texts.append(PREDICTION.format(value=number(row.baseline_value), interval=ends))
    return ", ".join(texts) + HARDLY_MEANS


def effect_finding(row: Row, share: Row, own: float) -> str:
    """Return the effect on one layer, what is predicted, their ratio and the layer's own lag."""
    return EFFECT_FINDING.format(
        layer=row.subject,
        value=number(row.value),
        interval=interval_in_words(row),
        predicted=number_or_unknown(row.baseline_value),
        predicted_interval=ends_in_words(row.baseline_low, row.baseline_high),
        share=number_or_unknown(share.value),
        share_interval=ends_in_words(share.low, share.high),
        verdict=SHARE_VERDICTS[share.verdict],
        own=number_or_unknown(own),
    )


def single_layers(row: Row) -> str:
    """Return how much single layers predict and change at most."""
    return SINGLE_LAYERS[row.verdict].format(
        predicted=number(row.baseline_value), caused=number(row.value)
    )


def finite(row: Row) -> str:
    """Return what a finite change of an adjustment does to later ones."""
    if row.claim == "removal":
        return removal(row)
    return proportion(row)


def removal(row: Row) -> str:
    """Return what removing an adjustment does to later ones."""
    return REMOVAL.format(
        layer=row.subject,
        value=percent(row.value, 1),
        interval=percents_in_words(row),
        clear=row.layers - row.undecided,
        layers=row.layers,
        texts=row.texts,
    )


def proportion(row: Row) -> str:
    """Return how far the effect of a large change is foretold by that of a small one."""
    layer, intervention = row.subject.split(", ")
    return PROPORTION.format(
        doing=DOING[intervention],
        layer=layer,
        value=percent(row.value),
        interval=percents_in_words(row),
    )


def _documents(documents: float) -> str:
    """Return a number of documents with two digits."""
    if documents > MAX_DOCUMENTS:
        return f"more than {MAX_DOCUMENTS:,}"
    return f"about {float(f'{documents:.2g}'):,.0f}"


def number_or_unknown(value: float) -> str:
    """Return a number, or that it is unknown."""
    if not isfinite(value):
        return UNKNOWN
    return number(value)


def ends_in_words(low: float, high: float) -> str:
    """Return the ends of an interval, or that there is none."""
    if not (isfinite(low) and isfinite(high)):
        return NO_INTERVAL
    return interval(low, high)


def percents_in_words(row: Row) -> str:
    """Return the ends of the interval of a claim in percent, or that it has none."""
    if not isfinite(row.low):
        return NO_INTERVAL
    return f"{percent(row.low, 1)} to {percent(row.high, 1)}"


def clause(sentence: str) -> str:
    """Return a sentence without its capital, for a line among others."""
    return sentence[:1].lower() + sentence[1:]


def filled(template: str, row: Row, **fields: str) -> str:
    """Return a template filled with the fields of a claim, formatted, and with others."""
    verdict = FOLLOWS[row.verdict].format(texts=row.texts)
    return template.format(
        verdict=verdict,
        term=named(row.subject),
        value=number(row.value),
        interval=interval_in_words(row),
        bound=f"{row.bound:g}",
        layers=row.layers,
        above=row.above,
        below=row.below,
        within=row.within,
        undecided=row.undecided,
        **fields,
    )


def interval_in_words(row: Row) -> str:
    """Return the level and the ends of the interval of a claim, or that it has none."""
    if not isfinite(row.low):
        return NO_INTERVAL
    return f"{100 * row.level:g}% interval {interval(row.low, row.high)}"


def lag_answer(row: Row, without: Row | None) -> str:
    """Return whether large ones follow large ones, and by how much.

    ``without`` is the lag without the document that moves it most; None if it is unknown.
    """
    change = 100 * (1.1**row.value - 1)
    direction = "longer" if change >= 0 else "shorter"
    lag_without = UNKNOWN
    if without is not None:
        lag_without = number(without.value)
    return filled(LAG_ANSWER, row, change=f"{abs(change):.1f}% {direction}", without=lag_without)


def response_answer(
    after_two: Row, after_five: Row, coefficients: Mapping[str, float], held: Sequence[str]
) -> str:
    """Return the responses two and five tokens later beside the coefficients of the lags.

    ``held`` names what is held fixed.
    """
    partial = [f"{named(term)} {number(value)}" for term, value in coefficients.items()]
    return filled(
        RESPONSE_ANSWER,
        after_two,
        value_after_five=number(after_five.value),
        interval_after_five=interval_in_words(after_five),
        coefficients=", ".join(partial),
        held=", ".join(held) or "nothing",
    )


def away(term: str) -> str:
    """Return the distance of a lag or lead in words."""
    tokens = distance(term)
    return {1: "one token", 2: "two tokens", 3: "three tokens"}.get(tokens, f"{tokens} tokens")


# The median layer along the training of a model.
COURSE_TITLE = "{term} is highest at step {highest_step} ({highest})"
COURSE_TITLE_SETTLED = (
    ", and within {bound} of its final value ({final}) from step {settled_step} on"
)
COURSE_TITLE_UNSETTLED = "; its final value is {final}"
COURSE_ANSWER = (
    "{first} at step {first_step}, highest at step {highest_step} ({highest}), final {final} (the "
    "same {texts} texts, steps measured: {steps})"
)
HIGHEST_FINDING = (
    "{term} is highest at step {highest_step} of training: {highest} ({highest_interval}); steps "
    "not shown to be lower: {as_high}; of the final weights: {final} ({final_interval})"
)
SETTLED_FINDING = {
    Verdict.WITHIN: "{term} comes within {bound} of its final value from step {settled_step} on "
    "(mean difference over the layers there: {difference}, {difference_interval}; steps measured: "
    "{steps})",
    Verdict.TOO_FEW_TEXTS: "from which step on {term} is near its final value is not tested: "
    "{texts} texts, at least "
    f"{MIN_DOCUMENTS}",
}
NOT_SETTLED_FINDING = (
    "{term} is not shown to come within {bound} of its final value: at the last step measured, "
    "{settled_step}, the mean difference over the layers is {difference} ({difference_interval}; "
    "steps measured: {steps})"
)
LOSS_FINDING = "loss in nats a token: {losses}"


def course_title(course: Course) -> str:
    """Return at which step a lag is highest, and from which on it is near its final value."""
    ending = COURSE_TITLE_UNSETTLED
    if course.settled.row.verdict is Verdict.WITHIN:
        ending = COURSE_TITLE_SETTLED
    title = _of_course(COURSE_TITLE + ending, course)
    return title[:1].upper() + title[1:]


def course_answer(course: Course) -> str:
    """Return the first, the highest and the final value of a lag along training."""
    return _of_course(COURSE_ANSWER, course)


def course_findings(course: Course) -> list[str]:
    """Return at which step a lag is highest, and from which step on it is near its final value."""
    settled = SETTLED_FINDING.get(course.settled.row.verdict, NOT_SETTLED_FINDING)
    lines = [_of_course(HIGHEST_FINDING, course), _of_course(settled, course)]
    if course.loss:
        losses = [f"{number(loss)} at step {step:,}" for step, loss in course.loss.items()]
        lines.append(LOSS_FINDING.format(losses=", ".join(losses)))
    return lines


def _of_course(template: str, course: Course) -> str:
    """Return a template filled with the numbers of a course."""
    as_high = [f"{step:,}" for step in course.as_high]
    settled = course.settled.row
    return template.format(
        term=named(settled.subject),
        bound=f"{settled.bound:g}",
        texts=settled.texts,
        steps=len(course.steps),
        first=number(course.first.row.value),
        first_step=_step(course.first),
        highest=number(course.highest.row.value),
        highest_step=_step(course.highest),
        highest_interval=interval_in_words(course.highest.row),
        as_high=", ".join(as_high) or "none",
        final=number(course.final.row.value),
        final_interval=interval_in_words(course.final.row),
        settled_step=_step(course.settled),
        difference=number(settled.value),
        difference_interval=interval_in_words(settled),
    )


def _step(at_step: AtStep) -> str:
    return f"{at_step.step:,}"
