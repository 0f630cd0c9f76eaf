"""The words of claims: what a verdict is called, and a template of one line for each claim."""

from collections.abc import Callable, Mapping, Sequence
from math import isclose, isfinite

from attnlag.claims.checkpoints import AtStep, Course
from attnlag.claims.numbers import interval, number
from attnlag.claims.row import Row, Verdict
from attnlag.claims.subsets import extremes_apart
from attnlag.quantities.catalogue import SITES
from attnlag.regression.beyond.decomposition import POOLED
from attnlag.regression.labels import spans
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.terms import distance, named

# The claims of a run, by name, and their labels.
LABELS = {
    "lag": "coefficient of a lag or lead, given the others (median layer)",
    "response": "response so many tokens after one larger by 1 than predicted (median layer)",
    "nested_model": "nearest lag as more is held fixed (mean over the layers)",
    "without_one_document": "nearest lag without the document that moves it most (median layer)",
    "omitted_lags": "sum of the coefficients of further lags (median layer)",
    "halves": "nearest lag where halves of texts differ, or everywhere if nowhere (median layer)",
    "groups": "lag in a group of documents (median layer)",
    "classes": "lag of a class of tokens (median layer)",
    "next_token": "effect on the next token less that on the token itself (median layer)",
}

# Whether a large adjustment follows a large one.
FOLLOWS = {
    Verdict.ABOVE: "Yes, neighbours are alike in size",
    Verdict.BELOW: "No, a small one",
    Verdict.WITHIN: "No",
    Verdict.UNDECIDED: "Undecided",
    Verdict.TOO_FEW_TEXTS: f"Too few texts to tell ({{texts}}; at least {FEWEST_DOCUMENTS})",
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
    "{by_chance}{nothing})"
)
TELLS_NOTHING = ": one of the two has one sign alone, which tells nothing"

FURTHER_LAGS = (
    "layers in which {tokens} back still predict: {above} of {layers} (sum of their coefficients "
    "in the median layer: {value}, {low_to_high}; 0.00 if the lags were enough)"
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


def signs(predictor: str, same: int, clear: int, by_chance: float) -> str:
    """Return how often predictions have the sign of effects, and whether that can tell anything.

    Where all effects, or all predictions, have one sign, they agree as often as by chance.
    """
    nothing = TELLS_NOTHING if isclose(same, by_chance) else ""
    return SIGNS.format(
        predictor=predictor,
        same=same,
        clear=clear,
        by_chance=f"{by_chance:.1f}",
        nothing=nothing,
    )


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
        return "no interval"
    return f"{100 * row.level:g}% interval {interval(row.low, row.high)}"


def lag_answer(row: Row, without: Row | None) -> str:
    """Return whether large ones follow large ones, and by how much.

    ``without`` is the lag without the document that moves it most; None if it is unknown.
    """
    change = 100 * (1.1**row.value - 1)
    direction = "longer" if change >= 0 else "shorter"
    lag_without = "unknown"
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


# Of the median layer, along the training of a model.
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
    "(difference there: {difference}, {difference_interval}; steps measured: {steps})",
    Verdict.TOO_FEW_TEXTS: "from which step on {term} is near its final value is not tested: "
    "{texts} texts, at least "
    f"{FEWEST_DOCUMENTS}",
}
NOT_SETTLED_FINDING = (
    "{term} is not shown to come within {bound} of its final value: at the last step measured, "
    "{settled_step}, the difference is {difference} ({difference_interval}; steps measured: "
    "{steps})"
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
