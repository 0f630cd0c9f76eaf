"""The words of claims: a label, and a template of one line in up to three lengths, for each.

A template is filled with the fields of one `Row` (`fields.py`). What is said of several claims is a
list of their texts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from attnlag.claims.numbers import number
from attnlag.claims.row import Row, Verdict
from attnlag.fields import Fields, term_name
from attnlag.regression.limits import MIN_DOCUMENTS

# A template, or one for each verdict; a verdict without one is not stated.
Template = str | Mapping[Verdict, str]


@dataclass(frozen=True)
class Words:
    """The words of a claim.

    Parameters
    ----------
    label : str
        What its value is, for tables.
    title, answer, finding : str or mapping
        Templates, "" where the claim does not stand in such a place.
    none : str
        The template where no layer is counted as above or below.
    untested : str
        The template where no layer was tested.
    verdicts : mapping
        What ``{verdict}`` stands for.
    """

    label: str
    title: Template = ""
    answer: Template = ""
    finding: Template = ""
    none: str = ""
    untested: str = ""
    verdicts: Mapping[Verdict, str] = field(default_factory=dict)


def every_verdict(text: str, **others: str) -> dict[Verdict, str]:
    """Return a template for each verdict: that of its name in ``others``, or else ``text``."""
    return {verdict: others.get(verdict.name, text) for verdict in Verdict}


TOO_FEW_TEXTS = f"Too few texts to tell ({{texts}}; at least {MIN_DOCUMENTS})"

# Whether a large adjustment follows a large one.
FOLLOWS = {
    Verdict.ABOVE: "Yes, neighbours have similar norms",
    Verdict.BELOW: "No, a small one",
    Verdict.WITHIN: "No",
    Verdict.UNDECIDED: "Undecided",
    Verdict.TOO_FEW_TEXTS: TOO_FEW_TEXTS,
    Verdict.NONE: "Not tested",
}

SHARE_VERDICTS = {
    Verdict.WITHIN: "hardly",
    Verdict.ABOVE: "in part",
    Verdict.BELOW: "the other way",
    Verdict.UNDECIDED: "undecided",
    Verdict.TOO_FEW_TEXTS: "too few texts to tell",
    Verdict.NONE: "not tested",
}

# A number before training less that after it.
CHANGE_VERDICTS = {
    Verdict.ABOVE: "smaller after training",
    Verdict.BELOW: "larger after training",
    Verdict.UNDECIDED: "not shown to differ",
    Verdict.TOO_FEW_TEXTS: "too few texts to tell",
    Verdict.NONE: "not tested",
}

COUNTED_LAYERS = (
    "layers above {bound:g}: {above} of {layers}, below −{bound:g}: {below}, within ±{bound:g}: "
    "{within}, undecided: {undecided} ({tested})"
)

REGRESSION = {
    "fitted": Words(
        "rows of the largest fit, and the layers that were fitted",
        finding="layers fitted: {above} of {layers}; rows: {value:,}; documents: {texts:,}",
    ),
    "unfitted": Words(
        "rows dropped in each of the layers that were not fitted for one reason",
        finding="layers that were not fitted: {spans} ({what}; rows dropped in each for zero or "
        "non-finite values: {value:,})",
    ),
    "without_attention": Words(
        "layers with something else in place of attention",
        finding="{what} in place of attention, layers: {spans}",
    ),
    "few_texts": Words(
        "documents that are too few to cluster by",
        finding="documents: {texts}, too few to cluster by (at least {bound:g}); errors are "
        "{errors}, lags are not corrected for bias, and intervals say nothing about other texts",
    ),
    "dominating_document": Words(
        "share of the rows that one document has",
        finding="{subject} has {value:%} of the rows: where slopes differ between texts, estimates "
        "are mostly its own, and documents are as informative as {baseline:,} of equal size",
    ),
    "lag": Words(
        "coefficient of a lag or lead, given the others (median layer)",
        title="{Term} is {value}",
        answer="{verdict}: 10% larger → {ten} ({term}, median layer: {value}, {interval}; layers "
        "above {bound:g}: {above} of {layers}, below −{bound:g}: {below}, undecided: {undecided})",
        finding="{term}: {value} (median layer, {interval}); " + COUNTED_LAYERS,
        verdicts=FOLLOWS,
    ),
    "lag_range": Words(
        "smallest and largest coefficient over the layers",
        finding="over the layers {range}, above 0 in {above} of {layers}",
    ),
    "follows": Words(
        "how much larger the next is after one that is 1% larger (median layer)",
        title="After a 1% larger {noun} the next is {larger}",
    ),
    "response": Words(
        "response so many tokens after one larger by 1 than predicted, if the lags are enough "
        "(median layer)",
        title="the one after {larger}",
        answer="{distance} tokens later: 10% larger → {ten} ({value}, {interval})",
    ),
    "random_order": Words(
        "lag with tokens in random order (median layer)",
        answer="{term} {value}",
        finding="with tokens in random order, {term} is {range} over the layers",
    ),
    "without_one_document": Words(
        "nearest lag without the document that moves it most (median layer)",
        answer="without the document that moves it most: {value}",
        finding="nearest lag without {subject}, which moves it most: {value} ({baseline} with it)",
    ),
    "pooled_medians": Words(
        "documents of a pooled regression that are too few for intervals of medians",
        finding="documents pooled: {texts}; where they differ in level, intervals of medians cover "
        "less than they state (nominal 95% ones 83 to 94% with 13 documents, 92 to 94% with 40): "
        "expected at least {bound:g}",
    ),
    "order": Words(
        "permutations of tokens, and the layers whose lags depend on their order",
        finding="layers in which the order of tokens matters: {above} of {layers} (tokens permuted "
        "within {within_what} {value:,} times, one joint test of {terms} a layer, p ≤ {alpha:g}, "
        "{correction})",
        untested="the order of tokens was not permuted: no control for it",
    ),
    "omitted_lags": Words(
        "sum of the coefficients of further lags (layer in the middle)",
        answer="tokens {spans} back still predict in {above} of {layers} layers: {too_few_lags} "
        "(sum of their coefficients in {what}, the middle one: {value}, {interval:ends}; 0.00 if "
        "the lags were enough)",
        finding="tokens {spans} back still predict in {above} of {layers} layers: {too_few_lags} "
        "(score test clustered by document, {tested}; sum of their coefficients in {what}, the "
        "middle one: {value}, {interval:ends}; 0.00 if the lags were enough)",
        none="layers in which tokens {spans} back still predict: 0 of {layers} (sum of their "
        "coefficients in {what}, the middle one: {value}, {interval:ends}; 0.00 if the lags were "
        "enough)",
        untested="it was not tested whether earlier tokens predict",
    ),
    "curvature": Words(
        "coefficient of the square of the nearest lag (layer in the middle)",
        finding="layers in which {term} is shown not to be linear, of {layers}: {above} bend "
        "upwards, {below} downwards (the same test; coefficient of its square in {what}, the "
        "middle one: {value}, {interval:ends}; 0 if it were)",
    ),
    "curvature_share": Words(
        "variance of the residuals that this square explains (median layer)",
        finding="the square explains {value:1%} of the residual variance",
    ),
    "halves": Words(
        "nearest lag where halves of texts differ, or everywhere if nowhere (median layer)",
        answer="layers in which halves of texts have different lags: {above} of {layers} (the "
        "correction for short texts may not hold there, where it takes {term} from {baseline} to "
        "{value}; a larger norms.drop_first leaves out the beginnings)",
        finding="layers in which halves of texts have different lags: {above} of {layers} (AHT "
        "test, {tested}; the correction for short texts may not hold there, where it takes {term} "
        "from {baseline} to {value}; a larger norms.drop_first leaves out the beginnings)",
        none="layers in which halves of texts have different lags: 0 of {layers} (the correction "
        "for short texts takes {term} from {baseline} to {value})",
    ),
    "halves_layers": Words(
        "layers in which halves of texts differ",
        finding="these layers: {spans}",
    ),
    "r_squared": Words(
        "variance explained (median layer)",
        answer="{value:%}",
        finding="R² {subject}: {range} over the layers, median {value}",
    ),
    "r_squared_highest": Words(
        "variance explained in the layer where it is highest",
        finding="highest in {subject}: {value}",
    ),
    "r_squared_beyond": Words(
        "variance that some terms explain beyond the others (median layer)",
        answer="{value:%} by {subject} beyond the other terms",
    ),
    "r_squared_unseen": Words(
        "variance explained in documents or groups left out (median layer)",
        finding="R² in unseen {subject}: {range} over the layers, median {value}",
    ),
    "r_squared_partial": Words(
        "variance explained by lags, of what the other terms leave (median layer)",
        finding="R² of the lags, given the other terms: {range} over the layers, median {value}",
    ),
    "r_squared_negative": Words(
        "lowest R² of the layers that are predicted worse than by their means",
        finding="layers that the regression predicts worse than their mean does: {below} of "
        "{layers} ({spans}; R² down to {value})",
    ),
    "rows_dropped": Words(
        "rows dropped for zero or non-finite values, over all layers",
        finding="rows dropped for zero or non-finite values: {value:,}; layers with such rows: "
        "{above} of {layers}",
    ),
    "kurtosis": Words(
        "kurtosis of the residuals (median layer)",
        title="Residuals have a kurtosis of {value:1} (median layer; {bound:g} if normal, more "
        "with heavy tails)",
    ),
    "few_clusters": Words(
        "effective number of clusters that are too few for the intervals (worst layer)",
        finding="clusters: {baseline:,}, as informative as {value:,} of equal size in the worst "
        "layer; with fewer than {bound:g}, intervals may cover less than they state{remedy}",
    ),
    "groups": Words("lag in a group of documents (median layer)"),
    "groups_counted": Words(
        "groups of documents in which a lag is shown to be above or below 0",
        title="Groups of documents with {term} above 0: {above} of {layers}, below 0: {below}",
        finding="groups of documents with {term} above 0: {above} of {layers}, below 0: {below} "
        "(medians over the layers, intervals for all groups jointly)",
        untested="all documents are in one group: there are no groups to compare",
    ),
    "groups_extremes": Words(
        "lag in the group of documents where it is largest, beside the smallest (median layer)",
        finding={
            Verdict.ABOVE: "{baseline} ({range}) in {what} to {value} ({interval:ends}) in {name}",
            Verdict.UNDECIDED: "their intervals do not tell any two apart",
        },
    ),
    "groups_apart": Words(
        "lag in two groups whose intervals do not meet, where those of the largest and the "
        "smallest do (median layer)",
        finding="larger in {name}, {value} ({interval:ends}), than in {what}, {baseline} ({range})",
    ),
    "groups_unfitted": Words(
        "groups of documents without coefficients, for one reason",
        finding="groups without coefficients: {above} of {layers} ({names}): {what}",
    ),
    "classes": Words("lag of a class of tokens (median layer)"),
    "classes_counted": Words(
        "classes of tokens in which a lag is shown to be above or below 0",
    ),
    "classes_extremes": Words(
        "lag in the class of tokens where it is largest, beside the smallest (median layer)",
        title={
            Verdict.ABOVE: "weakest for {what} ({baseline}), strongest for {name} ({value})",
        },
        finding={
            Verdict.ABOVE: "medians over the layers: {baseline} ({range}) for {what} to {value} "
            "({interval:ends}) for {name}",
            Verdict.UNDECIDED: "medians over the layers: their intervals do not tell any two "
            "classes apart",
        },
    ),
    "classes_apart": Words(
        "lag in two classes whose intervals do not meet, where those of the largest and the "
        "smallest do (median layer)",
        title="larger for {name} ({value}) than for {what} ({baseline})",
        finding="medians over the layers: larger for {name}, {value} ({interval:ends}), than for "
        "{what}, {baseline} ({range})",
    ),
    "class_slopes": Words(
        "layers in which slopes differ by class of tokens",
        title="Layers in which {term} differs by {trait}: {above} of {layers}",
        finding="layers in which {term} differs by {trait}: {above} of {layers} (test of equal "
        "slopes, {tested})",
        untested="slopes by class of token: fewer than two classes have enough rows and documents, "
        "or no layer could be fitted",
    ),
    "classes_merged": Words(
        "classes of tokens without slopes of their own",
        finding="too few for separate slopes: {names}",
    ),
    "nested_model": Words(
        "nearest lag as more is held fixed (mean over the layers)",
        answer="{value} with {step}",
        finding="{term}, {step}: {value} (mean over layers: {layers}; documents: {texts})",
    ),
}

UNTRAINED = {
    "scale": Words(
        "standard deviation of the initial weights at a scale",
        finding="{scale} {value:3g} ({origin})",
    ),
    "scale_assumed": Words(
        "standard deviation of the initial weights at a scale that the model does not state",
        answer="{scale} is not stated, {value:3g} assumed",
        finding="{scale} {value:3g} (assumed, not stated)",
    ),
    "scale_left_out": Words(
        "standard deviation of the initial weights at a scale that was left out",
        finding="{scale} left out: {what}",
    ),
    "untrained_not_drawn": Words(
        "lag before training, which was not measured",
        finding="the architecture was not run with random weights: no control for it",
    ),
    "untrained_constant": Words(
        "lag before training, which is unknown",
        finding="random weights say nothing here: the norms of the untrained architecture are "
        "constant in every layer",
    ),
    "untrained": Words(
        "a lag or R² before training, by scale of the initial weights (median layer)",
        answer="{value} {at_scale}",
        finding="{value} {at_scale}",
    ),
    "untrained_extremes": Words(
        "a lag or R² before training, smallest and largest over the scales (median layer)",
        title="{term} before training: {range}",
    ),
    "untrained_mean": Words(
        "a lag before training (mean over the layers)",
        answer={Verdict.WITHIN: "on average over the layers, no lag is left there"},
        finding={
            Verdict.WITHIN: "on average over the layers, no lag is left there (within ±{bound:g})"
        },
    ),
    "untrained_determined": Words(
        "smallest R² before training up to the model's own scale, if it is high",
        answer="up to the model's own scale the tokens before nearly determine the norm (R² at "
        "least {value})",
        finding="before training, up to the model's own scale, the regression explains nearly all "
        "of the variance (R² at least {value})",
    ),
    "trained": Words(
        "the same after training, in the texts of the control (median layer)",
        answer="trained {value} (same texts: {texts}; none corrected for bias)",
        finding="after training {value} (median layer; same texts: {texts}; not corrected for "
        "bias)",
    ),
    "change_by_training": Words(
        "a lag before training less that after it (mean over the layers)",
        finding=every_verdict("{value} ({interval}) {at_scale}, {verdict}"),
        verdicts=CHANGE_VERDICTS,
    ),
}

TRAINING = {
    "training_first": Words(
        "a lag at the first step of training (median layer)",
        answer="{value} at {name}",
    ),
    "training_highest": Words(
        "a lag at the step where it is highest (median layer)",
        title="{Term} is highest at {name} ({value})",
        answer="highest at {name} ({value})",
        finding="{term} is highest at {name} of training: {value} ({interval})",
    ),
    "training_as_high": Words(
        "steps at which a lag is not shown to be lower than at the highest",
        finding="steps not shown to be lower: {steps}",
    ),
    "training_final": Words(
        "a lag of the final weights (median layer)",
        title="its final value is {value}",
        answer="final {value} (same texts: {texts}; none corrected for bias)",
        finding="of the final weights: {value} ({interval})",
    ),
    "training_settled": Words(
        "difference from the final weights where a lag settles (mean over the layers)",
        title={Verdict.WITHIN: "within {bound:g} of its final value from {name} on"},
        finding=every_verdict(
            "{term} is not shown to come within {bound:g} of its final value: at the last step "
            "measured, {name}, the mean difference over the layers is {value} ({interval})",
            WITHIN="{term} comes within {bound:g} of its final value from {name} on (mean "
            "difference over the layers there: {value}, {interval})",
            TOO_FEW_TEXTS="from which step on {term} is near its final value is not tested: texts "
            f"{{texts}}, at least {MIN_DOCUMENTS}",
        ),
    ),
    "training_steps": Words(
        "number of steps that were measured",
        answer="steps measured: {value:,}",
        finding="steps measured: {value:,}",
    ),
    "training_loss": Words(
        "mean surprisal of the tokens at a step",
        finding="{value} at {subject}",
    ),
}

HEADS = {
    "head_lag": Words(
        "nearest lag of single heads (median head)",
        title="{Term} of single heads is {value}, that of their sum {baseline} (medians)",
        finding="{term} of single heads: {value}, of their sum: {baseline} (medians, with the "
        "terms of the regression '{name}')",
    ),
    "head_lag_counted": Words(
        "heads whose lag is shown to be beyond a bound, or within it",
        finding="heads with {term} above {bound:g}: {above} of {layers}, below −{bound:g}: "
        "{below}, within ±{bound:g}: {within}, undecided: {undecided}",
    ),
    "head_lag_untrained": Words(
        "nearest lag of single heads before training (median head)",
        finding="{term} of single heads before training: {value}, after it: {baseline} (same "
        "documents, not corrected for bias)",
    ),
    "head_share": Words(
        "largest share of a head in the squared norms of its layer",
        title="One head has up to {value:%} of its layer's squared norms ({baseline:%} if equal)",
        finding="one head has up to {value:%} of its layer's squared norms ({baseline:%} if "
        "equal), in {subject}",
    ),
    "head_share_of_layer": Words(
        "share of the largest head of a layer in its squared norms (median layer)",
        finding="the largest head of the median layer has {value:%}",
    ),
    "head_coherence": Words(
        "Σ|sum|² / Σ|head|² over tokens (median layer)",
        finding="coherence, Σ|sum|² / Σ|head|² over tokens, is {value} in the median layer "
        "(orthogonal heads have {bound:g})",
    ),
    "head_coherence_extreme": Words(
        "coherence of the layer where it is lowest or highest",
        finding="{name} {value} in {term}",
    ),
    "head_floor": Words(
        "share of tokens at the floor (median layer)",
        finding="tokens at the floor, where heads write the same as at the first token: {value:1%} "
        "in the median layer",
    ),
    "head_floor_of_layer": Words(
        "share of tokens at the floor in a layer with most of them",
        finding="{value:%} in {subject}",
    ),
    "head_lag_without_floor": Words(
        "nearest lag without the tokens at the floor",
        finding="{value} in {name} ({baseline} with them)",
    ),
    "head_sink": Words(
        "attention to the first token (median head)",
        title="The median head gives {value:%} of its attention to the first token ({baseline:%} "
        "if equal)",
        finding="the median head gives {value:%} of its attention to the first token ({baseline:%} "
        "if equal); heads that give it more than half: {above} of {layers}",
    ),
    "head_sink_of_layers": Words(
        "attention of a layer's heads to the first token (median layer)",
        finding="heads give {value:%} in the median layer, at most {high:%} in {subject}",
    ),
    "head_sink_tokens": Words(
        "tokens at the beginnings of sequences whose attention was measured",
        finding="measured on {value:,} tokens, at the beginnings of sequences",
    ),
    "head_sink_at_floor": Words(
        "attention of tokens at the floor to the first token (median layer)",
        finding="tokens at the floor give {value:%} of their attention to the first token, those "
        "above it {baseline:%} (medians over the layers with any: {layers})",
    ),
}

DIRECTIONS = {
    "stream_growth": Words(
        "factor by which the stream grows in a layer (median layer)",
        finding="the stream grows by a factor of {value} per layer (median)",
    ),
    "stream_growth_mean": Words(
        "the same, geometric mean over the layers",
        finding="geometric mean {value}",
    ),
    "stream_growth_extreme": Words(
        "the same in the layer where it is smallest or largest",
        finding="{name} {value} in {term}",
    ),
    "stream_along": Words(
        "part of an adjustment along the stream, as a share of the stream (median layer)",
        finding="an adjustment adds {value:+1%} of the stream along it (of a token of another "
        "document: {baseline:+1%}; layers in which it points against the stream: {below} of "
        "{layers})",
    ),
    "stream_across": Words(
        "part of an adjustment at right angles to the stream, as a share of it (median layer)",
        finding="it adds {value:1%} at right angles",
    ),
    "stream_angle": Words(
        "angle by which an adjustment turns the stream (median layer)",
        finding="it turns the stream by {value:1} degrees (of a token of another document: "
        "{baseline:1})",
    ),
    "cosine": Words(
        "cosine of the adjustments of neighbours (median layer)",
        title="Adjustments of neighbours have a {cosine} of {value}",
        finding="adjustments of neighbours have a {cosine} of {value} (median layer)",
    ),
    "cosine_far": Words(
        "cosine of the adjustments of the tokens farthest apart (median layer)",
        title="those {name} tokens apart of {value}",
        finding="those {name} tokens apart of {value}",
    ),
    "cosine_range": Words(
        "cosine with the adjustment of the previous token (median layer)",
        finding="{cosine} with the adjustment of the previous token: {value} in the median layer, "
        "{range} over the layers",
    ),
    "cosine_beside": Words(
        "cosine of random pairs, and before and after training in the same layers (median layer)",
        finding="{beside} {value}",
    ),
}

SOURCES = {
    "written_by": Words(
        "share of adjustments that a token writes (median layer)",
        title="{Writer} writes on average {value:%} of an adjustment in the median layer",
        finding="{writer} writes {value:%} of an adjustment in the median layer",
    ),
    "written_by_highest": Words(
        "share of adjustments that a token writes in the layer where it is largest",
        title="at most {value:%} in {place}",
        finding="at most {value:%} in {place}",
    ),
    "first_token": Words(
        "share of adjustments that the first token writes, where its attention exceeds it most",
        finding="the first token has {baseline:%} of the attention and writes {value:%} in "
        "{subject}, where these differ most",
    ),
    "writers": Words(
        "effective number of tokens that write an adjustment (median layer)",
        finding="effective number of tokens that write an adjustment: {value:,} (median layer)",
    ),
    "lag_of_part": Words(
        "nearest lag of what some tokens write (median layer)",
        finding="of {part} {value}",
    ),
    "next_token": Words(
        "effect on the next token less that on the token itself (median layer)",
        title=every_verdict(
            "Layers whose {site} raises the logit of the next token more than that of the token "
            "itself: {above} of {layers}; less: {below}",
            TOO_FEW_TEXTS="Too few documents to tell whether the {site} raises the logit of the "
            "next token more than that of the token itself",
        ),
        finding=every_verdict(
            "layers whose {site} raises the logit of the next token more than that of the token "
            "itself: {above} of {layers}; less: {below} ({tested})",
            TOO_FEW_TEXTS="too few documents to tell whether the {site} raises the logit of the "
            "next token more than that of the token itself",
        ),
    ),
    "readout_peak": Words(
        "largest effect on the logit of a token, beyond that on the same token of another place",
        finding="of {target} {value} SD in {name}",
    ),
}

CAUSES = {
    "effect": Words(
        "effect of all earlier layers on the next token, % per 1%",
        answer="{value}% ({interval:ends}) in {subject}",
        finding="1% larger in all earlier layers changes the next by {value}% ({interval})",
    ),
    "effect_predicted": Words(
        "what a regression on all earlier layers predicts of the next token, % per 1%",
        answer="{value}% ({interval:ends})",
        finding="a regression on these layers, over all documents, predicts {value}% "
        "({interval:ends})",
    ),
    "effect_share": Words(
        "the effect divided by what all earlier layers predict",
        finding=every_verdict(
            "effect / prediction: {value} ({interval:ends}), {verdict}",
            NONE="effect / prediction: {value} (no interval, as the prediction may be 0)",
        ),
        verdicts=SHARE_VERDICTS,
    ),
    "own_lag": Words(
        "lag 1 of a layer beside the effect on it",
        answer="{value} in {subject}",
        finding="its own lag 1: {value}",
    ),
    "effects_decided": Words(
        "layers whose effect is shown to be within a quarter of the prediction, above it, below it",
        answer=every_verdict(
            "Layers in which it hardly does: {within} of {layers}, in part: {above}, the other "
            "way: {below}, undecided: {undecided} (texts: {texts})",
            TOO_FEW_TEXTS=TOO_FEW_TEXTS,
            NONE="Not tested",
        ),
        finding=every_verdict(
            "layers in which earlier ones hardly change the next token's adjustment: {within} of "
            "{layers}, in part: {above}, the other way: {below}, undecided: {undecided}",
            TOO_FEW_TEXTS="too few texts to tell in how many layers earlier ones change the next "
            f"token's adjustment ({{texts}}; at least {MIN_DOCUMENTS})",
            NONE="it is not tested in how many layers earlier ones change the next token's "
            "adjustment",
        ),
        untested="no observed layer has an earlier one",
    ),
    "documents_to_decide": Words(
        "documents that would decide in which layers earlier ones cause the next token's",
        answer="documents to decide all, were these estimates the truth: {documents}",
        finding="documents to decide all, were these estimates the truth: {documents}",
    ),
    "single_layers": Words(
        "largest effect of one layer on the next token in another, % per 1%",
        title={
            Verdict.WITHIN: "Earlier layers predict the next token's adjustment (one by at least "
            "{baseline}% per 1%) but hardly change it (each by at most {value}%)",
            Verdict.ABOVE: "Earlier layers predict the next token's adjustment (one by at least "
            "{baseline}% per 1%) and change it (each by at most {value}%)",
            Verdict.NONE: "No earlier layer is shown to predict the next token's adjustment; each "
            "changes it by at most {value}% per 1%",
            Verdict.TOO_FEW_TEXTS: "Too few documents to tell how far layers change the next "
            "token's adjustment",
        },
    ),
    "removal": Words(
        "change of the next token's log norm if an adjustment is removed (mean over later layers)",
        finding="removing an adjustment of {term} changes the next token's by {value:1%} "
        "({interval:%}) on average over later layers; later layers in which the change is clear: "
        "{above} of {layers}; texts: {texts}",
    ),
    "proportion": Words(
        "effect of a large change / that foretold by a small one, less 1",
        finding=every_verdict(
            "{doing} an adjustment of {term} has an effect on the next token's that differs by "
            "{value:1%} ({interval:%}) from what a small change foretells"
        ),
    ),
    "signs": Words(
        "rank correlation of predictions and effects, and effects with their sign",
        finding="prediction from {predictor} has the sign of {above} of {layers} clear effects (by "
        "chance {baseline:1}); rank correlation of sizes: {value}",
    ),
    "signs_alike": Words(
        "the same where all predictions or all effects have one sign, which tells nothing",
        finding="prediction from {predictor} has the sign of {above} of {layers} clear effects (by "
        "chance {baseline:1}: one of the two has one sign alone, which tells nothing); rank "
        "correlation of sizes: {value}",
    ),
    "same_layer": Words(
        "lags of layers on themselves that are significant, where the effect is zero",
        finding="layers whose own lag 1 is significant, although no token affects the next in the "
        "same layer: {above} of {layers}",
    ),
}

NORMS = {
    "norm_ends": Words(
        "median norm in the last layer that has one, beside that in the first",
        title="{norms} go from {baseline:s} to {value:s}",
    ),
    "norm_extreme": Words(
        "median norm in the layer between them where it is largest or smallest",
        title="{what} in {term} ({value:s})",
    ),
    "position_drift": Words(
        "change of the mean norm from the first positions to the last (median layer)",
        title="From position {first} to {second}, the mean norm of a layer changes by "
        "{low_end:+%} ({third}) to {high_end:+%} ({fourth})",
    ),
    "surprisal_slope": Words(
        "change of the norm with one more nat of surprisal (median layer)",
        title="One more nat of surprisal changes the norm by {low_end:+1%} ({term}) to "
        "{high_end:+1%} ({second})",
    ),
    "surprisal_random": Words(
        "the same with surprisal in random order, smallest and largest ends over the layers",
        title="in random order, by {low_end:+1%} to {high_end:+1%}",
    ),
    "upos_share": Words(
        "share of the variance of log norms between parts of speech (median layer)",
        title="Parts of speech explain {low_end:%} to {high_end:%} of the variance of log norms, "
        "depending on the layer (by chance {baseline:1%})",
    ),
}

SIDE_BY_SIDE = {
    "lag_beside": Words(
        "a lag in one of several studies (median layer)",
        title="{name} {value} ({range})",
    ),
    "lag_uncorrected": Words(
        "smallest p-value of a lag over the layers",
        title="{above} for {term}",
    ),
    "lag_beside_extreme": Words(
        "a lag in the study where it is smallest or largest (median layer)",
        title="{name} {value} ({range}; {what})",
    ),
}

# What stands before counts of layers that are not corrected for their number.
UNCORRECTED = "Layers with p < {alpha:g}, of {layers} (not corrected for their number): "

# What stands before the lags of several studies.
LAGS_SIDE_BY_SIDE = "{Term}, median (range) over the layers: "

OTHERS = {
    "models_differ": Words(
        "difference of two models in a lag (median layer)",
        finding="{term}, {second}, {third}: median {low_end} in {fourth}, {high_end} in {fifth}; "
        "layers shown to differ by more than {bound:g}: {above} of {layers}, by less: {within}; "
        "difference in the median layer: {value:+}; documents that one model lacks: {baseline:,}",
        untested="{term}, {second}, {third}: median {low_end} in {fourth}, {high_end} in {fifth}; "
        "layers are not compared over {texts} documents in common",
    ),
    "holds": Words("value that is above zero if a claim holds (mean over the layers)"),
    "replicated": Words(
        "studies in which a claim is shown",
        finding="{replicated}: holds in {above} of {layers}, fails in {below}, undecided in "
        "{undecided} ({what})",
    ),
    "nothing": Words("nothing, as no token remains", finding="{nothing}"),
    "few_texts_measured": Words(
        "texts that are too few for intervals",
        finding="texts: {texts}, fewer than {bound:g}: intervals say nothing about other texts",
    ),
    "lags_not_fitted": Words(
        "lags of parts of adjustments, which texts are too few for",
        finding="no lag of parts of adjustments is fitted",
    ),
    "measured": Words(
        "tokens that were measured",
        answer="documents: {baseline:,}, different texts: {texts:,}, tokens: {value:,} · "
        "{subject}, layers: {layers}",
    ),
}

CLAIMS: dict[str, Words] = (
    REGRESSION
    | UNTRAINED
    | TRAINING
    | HEADS
    | DIRECTIONS
    | SOURCES
    | CAUSES
    | NORMS
    | SIDE_BY_SIDE
    | OTHERS
)


def text(row: Row, length: str) -> str:
    """Return a claim in a length: ``title``, ``answer`` or ``finding``; "" if it has none there."""
    words = CLAIMS[row.claim]
    template = getattr(words, length)
    if not template:
        return ""
    if words.untested and row.layers == 0:
        template = words.untested
    elif words.none and row.above == 0:
        template = words.none
    elif not isinstance(template, str):
        template = template.get(row.verdict, "")
    return filled(template, row)


def filled(template: str, row: Row) -> str:
    """Return a template filled with the fields of a claim."""
    return template.format_map(Fields(row, CLAIMS[row.claim].verdicts))


def texts(rows: Sequence[Row | None], length: str) -> list[str]:
    """Return the texts of claims that have one in a length."""
    found = [text(row, length) for row in rows if row is not None]
    return [one for one in found if one]


def title(
    rows: Sequence[Row | None], joined: str = ", ", ending: str = "", heading: str = ""
) -> str:
    """Return the titles of claims as one, "" without any.

    ``heading`` is a template before them, filled with the fields of the first claim.
    """
    found = joined.join(texts(rows, "title"))
    if not found:
        return ""
    if heading:
        first = next(row for row in rows if row is not None)
        return filled(heading, first) + found + ending
    return found[0].upper() + found[1:] + ending


def clause(sentence: str) -> str:
    """Return a sentence without its capital, for a line among others."""
    return sentence[:1].lower() + sentence[1:]


def cell(row: Row) -> str:
    """Return a claim as the name of its term and its value: ``lag 1 0.23``."""
    return f"{term_name(row)} {number(row.value)}"
