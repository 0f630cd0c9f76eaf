"""The answers of a run in a dozen lines, which it prints last and the explorer shows first.

Each is a list of claims. What they are made from are the claims and the settings in the provenance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from attnlag import wording
from attnlag.claims.causes import PREDICTED, extremes
from attnlag.claims.run import CAUSAL, MEASURED, Claims, RunClaims
from attnlag.quantities.catalogue import OUTCOMES
from attnlag.regression.slopes.decomposition import POOLED
from attnlag.regression.terms import is_lead, named
from attnlag.report.lines import claims_of_subjects
from attnlag.storage.tables import Record

ANSWER = "answer"

# Lags and leads of a regression that the answers name.
MAX_TERMS = 3

# Target layers whose effects are named one by one.
MAX_LAYERS = 4

# Tokens later at which the answers state the response.
DISTANCES = ("2", "5")

# Settings that move coefficients, by stage.
ESTIMATED_WITH = {
    "regression": ("fixed_effects", "bias_correction"),
    "design": ("lags", "leads", "covariates"),
}


class Answer(NamedTuple):
    """A question or a part of one, with its answer."""

    label: str
    text: str
    is_part: bool = True


class SiteAnswers(NamedTuple):
    """The answers for one site."""

    title: str
    lines: list[Answer]
    main: str  # the regression that answers


@dataclass(frozen=True)
class Regression:
    """The claims of a regression, and the provenance of its coefficients."""

    name: str
    claims: Claims
    record: Record

    @property
    def settings(self) -> dict:
        """The settings of the fit."""
        return self.record.settings("regression")

    @property
    def is_fitted(self) -> bool:
        """Whether any layer was fitted."""
        fitted = self.claims.one("fitted")
        return fitted is not None and fitted.above > 0

    @property
    def is_of_norms(self) -> bool:
        """Whether the outcome is norms or relative norms, and lags or leads are among the terms."""
        is_norm = OUTCOMES[self.settings["outcome"]].folder == "norms"
        return is_norm and bool(self.terms or not self.is_fitted)

    @property
    def terms(self) -> list[str]:
        """Lags, nearest first, and then leads."""
        return [row.subject for row in self.claims.all("lag")]

    @property
    def has_fixed_effects(self) -> bool:
        """Whether the means of documents are removed."""
        return self.settings["fixed_effects"] == "document"

    def differing_settings(self, other: "Regression") -> list[str]:
        """Return the keys of settings that move coefficients and differ in another regression."""
        found = []
        for stage, keys in ESTIMATED_WITH.items():
            own = self.record.settings(stage)
            others = other.record.settings(stage)
            for key in keys:
                if own.get(key) != others.get(key):
                    found.append(key)
        return found


def answers_for_site(run: RunClaims, site: tuple[str, ...]) -> SiteAnswers:
    """Return the answers for one site, named by its model, corpus and site.

    The first regression of norms with a fitted layer answers; those with effects of documents come
    before the others. Beside one with effects stands the first without.
    """
    fitted = []
    for key, claims in run.analyses.items():
        if key[:3] == site and claims.one("fitted"):
            fitted.append(Regression(key[3], claims, run.records[key]))
    norm_regressions = in_order_of_answering(fitted)
    first = (norm_regressions or fitted)[0]
    main = first_with_a_fit(norm_regressions) or first
    lines: list[Answer] = []
    if norm_regressions:
        lines += _regressed(main)
        if main.is_fitted:
            lines += _pooled(main, norm_regressions)
    if main is not first:
        text = f"{main.name}; no layer of {first.name} was fitted"
        lines.insert(1, Answer("regression", text))
    lines += _causes(run.of(*site, CAUSAL))
    if norm_regressions and main.is_fitted:
        doubts = [main.claims.one("omitted_lags"), main.claims.one("halves")]
        lines.append(Answer("Check", _joined(doubts), False))
    model = main.record["model"]
    weights = f" ({model['bits']}-bit)" if "bits" in model else ""
    measured = _joined([run.of(*site, MEASURED).one("measured")])
    title = f"{model['name']}{weights} · {main.record['corpus']['name']}: {measured}"
    return SiteAnswers(title, lines, main.name)


def in_order_of_answering(regressions: Sequence[Regression]) -> list[Regression]:
    """Return the regressions of norms, those with effects of documents before the others."""
    within = []
    pooled = []
    for regression in regressions:
        if not regression.is_of_norms:
            continue
        if regression.has_fixed_effects:
            within.append(regression)
        else:
            pooled.append(regression)
    return [*within, *pooled]


def first_with_a_fit(regressions: Sequence[Regression]) -> Regression | None:
    """Return the first regression of which a layer was fitted, None without one."""
    for regression in regressions:
        if regression.is_fitted:
            return regression
    return None


def _joined(rows: Sequence) -> str:
    """Return the texts of claims as one answer."""
    return "; ".join(wording.texts(rows, ANSWER))


def _regressed(main: Regression) -> Iterator[Answer]:
    """Yield whether large ones follow large ones, what lags explain, and the controls."""
    relative = ", relative to its stream," if main.settings["outcome"] == "relative" else ""
    terms = main.terms
    follow = "precede" if terms and is_lead(terms[0]) else "follow"
    question = f"Does a large adjustment{relative} {follow} a large one?"
    if not main.is_fitted:
        yield Answer(question, "no layer was fitted", False)
        return
    claims = main.claims
    nearest = terms[0]
    rows = [claims.one("lag", nearest), claims.one("without_one_document")]
    yield Answer(question, _joined(rows), False)
    yield from _beyond_the_nearest(main)
    rows = [claims.one("r_squared"), *claims.all("r_squared_beyond")]
    yield Answer("variance explained", f"{_joined(rows)} (median layer)")
    permuted = claims.one("random_order", nearest)
    if permuted:
        yield Answer("tokens in random order", _joined([permuted]))
    first = claims.all("training_first", nearest)
    if first:
        rows = [
            *first,
            *claims.all("training_highest", nearest),
            *claims.all("training_final", nearest),
            *claims.all("training_steps", nearest),
        ]
        yield Answer("during training", f"{named(nearest)} {_joined(rows)}")
    elif claims.all("untrained", nearest):
        rows = [
            *claims_of_subjects(claims, ("untrained", "untrained_mean"), nearest),
            *claims.all("untrained_determined"),
            *claims.all("trained", nearest),
            claims.one("scale_assumed"),
        ]
        yield Answer("before training", f"{named(nearest)} {_joined(rows)}")


def _beyond_the_nearest(main: Regression) -> Iterator[Answer]:
    """Yield the responses to a larger one, or the other lags and leads where there are none."""
    claims = main.claims
    terms = main.terms[:MAX_TERMS]
    later = [claims.one("response", distance) for distance in DISTANCES]
    if later[0]:
        coefficients = []
        for row in claims.all("lag"):
            if row.subject in terms:
                coefficients.append(wording.cell(row))
        held = list(main.record.settings("design")["covariates"])
        if main.has_fixed_effects:
            held.insert(0, "document means")
        parts = [
            _joined(later),
            f"coefficients, each given the others: {', '.join(coefficients)}",
            f"held fixed: {', '.join(held) or 'nothing'}",
        ]
        yield Answer("later tokens", "; ".join(parts))
        return
    for row in claims.all("lag")[1:MAX_TERMS]:
        yield Answer(f"{named(row.subject)}, other terms held fixed", wording.text(row, "finding"))


def _pooled(main: Regression, regressions: Sequence[Regression]) -> Iterator[Answer]:
    """Yield what the nearest lag is if differences between documents are ignored."""
    outcome = main.settings["outcome"]
    others = []
    for one in regressions:
        if one.settings["outcome"] == outcome and not one.has_fixed_effects:
            others.append(one)
    if not main.has_fixed_effects or not others:
        return
    other = others[0]
    nearest = main.terms[0]
    pooled = other.claims.one("nested_model", f"{nearest}, {POOLED}")
    within = other.claims.one("nested_model", f"{nearest}, document")
    steps = [pooled, within]
    lag = other.claims.one("lag", nearest)
    if all(steps):
        text = (
            f"{named(nearest)} {_joined(steps)} (the same texts, lags alone, mean over the layers)"
        )
        yield Answer("pooled over documents", text)
    elif lag:
        settings = ", ".join(main.differing_settings(other)).replace("_", " ")
        text = f"{wording.cell(lag)} in {other.name}, which differs in {settings}"
        yield Answer("pooled over documents", text)


def _causes(claims: Claims) -> Iterator[Answer]:
    """Yield the effects on the next token by layer, beside the lags of these layers."""
    effects = extremes(claims.all("effect"), MAX_LAYERS)
    decided = claims.one("effects_decided")
    if decided is None:
        return
    text = wording.text(decided, ANSWER)
    if effects:
        listed = ", ".join(wording.texts(effects, ANSWER))
        text += f"; 1% larger in all earlier layers changes the next by {listed}"
        rows = claims.all("documents_to_decide") if decided.undecided else []
        text = "; ".join([text, *wording.texts(rows, ANSWER)])
    yield Answer("Does one cause the next?", text, False)
    predicted = [claims.one("effect_predicted", row.subject) for row in effects]
    if any(predicted):
        listed = ", ".join(wording.texts(predicted, ANSWER))
        meaning = "hardly: the interval of effect / prediction lies within ±25%"
        yield Answer(PREDICTED, f"{listed} ({meaning})")
    own = [claims.one("own_lag", row.subject) for row in effects]
    if any(own):
        yield Answer("a layer's lag on itself", ", ".join(wording.texts(own, ANSWER)))


def text_of(answers: SiteAnswers) -> str:
    """Return the answers for a site as text, a line each."""
    labels = []
    for line in answers.lines:
        indent = "  " if line.is_part else ""
        labels.append(f"{indent}{line.label}")
    width = max(map(len, labels), default=0)
    rows = [answers.title]
    for label, line in zip(labels, answers.lines, strict=True):
        rows.append(f"{label:<{width}}  {line.text}")
    return "\n".join(rows) + "\n"


def answers_by_site(run: RunClaims) -> dict[tuple[str, ...], SiteAnswers]:
    """Return the answers by the names of model, corpus and site."""
    found = {}
    for key, claims in run.analyses.items():
        site = key[:3]
        if site not in found and claims.one("fitted"):
            found[site] = answers_for_site(run, site)
    return found


def answers_text(run: RunClaims) -> str:
    """Return the answers of a run as text, site by site."""
    return "\n".join(map(text_of, answers_by_site(run).values()))
