"""The fields of the templates of claims: numbers in one format, and names in words."""

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from attnlag.claims.directions import CENTRED, PLAIN
from attnlag.claims.numbers import interval, number, percent, significant, span
from attnlag.claims.row import Row, Verdict
from attnlag.claims.sources import TARGETS
from attnlag.claims.subsets import class_name
from attnlag.errors import listed
from attnlag.escaping import text_for
from attnlag.interventions.prediction_vs_effect import ALONE
from attnlag.quantities.catalogue import SITES
from attnlag.quantities.scales import MULTIPLE, multiple_of_own
from attnlag.regression.covariances import label_of
from attnlag.regression.labels import ADJUSTMENTS, runs
from attnlag.regression.properties import SLOPES
from attnlag.regression.slopes.decomposition import POOLED
from attnlag.regression.terms import named

UNKNOWN = "unknown"
NO_INTERVAL = "no interval"

# More documents than this are not counted.
MAX_DOCUMENTS = 10_000

# Characters of a list of names.
MAX_NAMES = 120

# Names in words.
REPLICATED = {
    "lag_1_positive": "a large adjustment follows a large one",
    "lag_1_above_bound": "lag 1 is above the negligible size",
    "lag_1_above_lag_2": "lag 1 is larger than lag 2",
    "lag_1_above_random_order": "lag 1 is larger than with tokens in random order",
    "lag_1_larger_in_deeper_half": "lag 1 is larger in the deeper half of the layers",
    "lag_1_below_untrained": "lag 1 is smaller than before training, at the model's own scale and "
    "below",
}
NORMS_IN_WORDS = {"norm": "norms", "relative": "relative to the stream, they"}
TERMS = {"lags_summed": "the sum of the lags", "r_squared": "R²"}
NOUNS = {
    "norm": "adjustment",
    "relative": "adjustment, relative to its stream,",
    "orthogonal": "orthogonal part of an adjustment",
    "from_itself": "part that a token writes to itself",
    "from_earlier": "part that earlier tokens write",
}
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}
TOO_FEW_LAGS = {
    1: "one lag is too few",
    2: "two lags are too few",
    3: "three lags are too few",
}
STEPS = {
    POOLED: "nothing held fixed",
    "document": "documents held fixed",
    "upos": "parts of speech held fixed too",
    "upos_previous": "parts of speech of previous tokens held fixed too",
    "token": "tokens held fixed too",
    "token_previous": "previous tokens held fixed too",
}
PERMUTED_WITHIN = {
    "document": "their documents",
    "upos": "the parts of speech of their documents",
}
REMEDIES = {
    "pooled": ", if documents differ in level; document effects mend it",
    "covariance": "; `cluster` allows for it",
    "group": "",
}
SCALES = {
    "own": "the model's own scale",
    "default": "transformers' default scale",
    "by-depth": "the model's own scale by depth",
}
ORIGINS = {
    "config": "stated by the model",
    "stated": "stated in the configuration",
    "transformers": "the default of transformers",
}
COSINES = {CENTRED: "centred cosine", PLAIN: "cosine"}
BESIDE = {
    "random_pairs": "random pairs",
    "untrained": "before training",
    "trained": "after it, on the same texts,",
}
WRITERS = {"self": "the token itself", "previous_1": "the token before"}
STATISTICS = {"mean": "means over tokens", "median": "medians over tokens"}
PARTS = {
    "from_itself": "what a token writes to itself",
    "from_earlier": "what earlier tokens write",
    "all": "what all tokens write",
}
PREDICTORS = {ALONE: "one layer"}
PREDICTOR_GIVEN = "one layer, the source layer at that token held fixed,"
DOING = {"halve": "halving", "double": "doubling"}
NO_TOKENS = "no tokens remain: all are first tokens or have no norms"
NOTHING = {
    "heads": NO_TOKENS,
    "directions": NO_TOKENS,
    "causal": "no document has a token with a previous one",
}


class Number(float):
    """A number with formats of its own: ``%``, ``1%``, ``+``, ``+1%``, ``,``, ``g``, ``s``, ``1``.

    ``s`` writes two or three significant digits.
    """

    def __format__(self, spec: str) -> str:
        if not isfinite(self):
            return UNKNOWN
        sign = "+" if spec.startswith("+") and self > 0 else ""
        spec = spec.removeprefix("+")
        if spec.endswith("%"):
            text = percent(self, int(spec.removesuffix("%") or 0))
        elif spec == ",":
            text = f"{float(self):,.0f}"
        elif spec == "s":
            text = significant(float(self))
        elif spec == "g":
            text = f"{float(self):g}"
        elif spec == "3g":
            text = f"{float(self):.3g}"
        elif spec == "1":
            text = f"{round(float(self), 1) + 0.0:.1f}".replace("-", "−")
        else:
            text = number(self)
        return sign + text


@dataclass(frozen=True)
class Interval:
    """An interval, with its level unless the format is ``ends``; ``%`` writes percentages."""

    low: float
    high: float
    level: float

    def __format__(self, spec: str) -> str:
        if not (isfinite(self.low) and isfinite(self.high)):
            return NO_INTERVAL
        if spec == "%":
            ends = f"{percent(self.low, 1)} to {percent(self.high, 1)}"
        else:
            ends = interval(self.low, self.high)
        if spec == "ends":
            return ends
        return f"{100 * self.level:g}% interval {ends}"


def term_name(row: Row) -> str:
    """Return the first name of a subject in words."""
    name = row.names[0]
    return TERMS.get(name) or named(name)


class Fields(Mapping[str, Any]):
    """The fields of templates, made of a claim when they are asked for.

    ``verdicts`` are the words for its verdict, perhaps with ``{texts}``.
    """

    def __init__(self, row: Row, verdicts: Mapping[Verdict, str]):
        self.row = row
        self.verdicts = verdicts

    def __getitem__(self, name: str) -> Any:
        if name == "verdict":
            return self.verdicts[self.row.verdict].format(texts=self.row.texts)
        return FIELDS[name](self.row)

    def __iter__(self) -> Any:
        return iter(FIELDS)

    def __len__(self) -> int:
        return len(FIELDS)


def _name(row: Row) -> str:
    """Return the names of the subject after the first; those of classes in full."""
    names = ", ".join(row.names[1:])
    return in_line(class_name(names) if row.claim.startswith("class") else names)


def _what(row: Row) -> str:
    """Return the name of the baseline; that of a class in full."""
    return in_line(class_name(row.baseline) if row.claim.startswith("class") else row.baseline)


def in_line(name: str) -> str:
    """Return a name of a run without line breaks or control characters."""
    return text_for("line", name)


def _larger(change: float) -> str:
    """Return a change in percent: ``0.23% larger``."""
    direction = "larger" if change >= 0 else "smaller"
    return f"{number(abs(change))}% {direction}"


def _ten(row: Row) -> str:
    """Return by how much the next is larger after one that is 10% larger."""
    change = 100 * (1.1**row.value - 1)
    direction = "larger" if change >= 0 else "smaller"
    return f"{abs(change):.1f}% {direction}"


def _spans(row: Row) -> str:
    """Return the numbers of a subject's last name as spans: ``3 to 10``."""
    return runs([int(one) for one in row.names[-1].split()])


def _steps(row: Row) -> str:
    steps = [f"{int(one):,}" for one in row.names[-1].split()]
    return ", ".join(steps) or "none"


def _too_few_lags(row: Row) -> str:
    first = int(row.subject.split()[0])
    return TOO_FEW_LAGS.get(first - 1, "these lags are too few")


def _correction(row: Row) -> str:
    if row.adjust == "max":
        return "max over the layers"
    if row.adjust in ADJUSTMENTS:
        return f"{ADJUSTMENTS[row.adjust]} over the layers"
    return "uncorrected"


def scale_name(scale: str) -> str:
    """Return a scale of initial weights in words: ``1.5 times the model's own scale``."""
    return SCALES.get(scale) or f"{multiple_of_own(scale):g} times {SCALES['own']}"


def scale_label(scale: str) -> str:
    """Return a scale for a legend, as in ``1.5 × own``."""
    if MULTIPLE.fullmatch(scale):
        return f"{multiple_of_own(scale):g} × own"
    return scale


def _at_scale(row: Row) -> str:
    return f"at {scale_name(row.names[-1])}"


def _documents(row: Row) -> str:
    """Return a number of documents with two digits."""
    if row.value > MAX_DOCUMENTS:
        return f"more than {MAX_DOCUMENTS:,}"
    return f"about {float(f'{row.value:.2g}'):,.0f}"


def _writer(row: Row) -> str:
    return WRITERS[row.names[0]]


def _step_name(row: Row) -> str:
    """Return a step of training as in ``step 1,024``, or another name as it is."""
    word, _, step = row.names[-1].partition(" ")
    return f"{word} {int(step):,}" if step.isdigit() else row.names[-1]


FIELDS: dict[str, Callable[[Row], Any]] = {
    "value": lambda row: Number(row.value),
    "low": lambda row: Number(row.low),
    "high": lambda row: Number(row.baseline_high),
    "interval": lambda row: Interval(row.low, row.high, row.level),
    "baseline": lambda row: Number(row.baseline_value),
    "range": lambda row: span([row.baseline_low, row.baseline_high]),
    "bound": lambda row: row.bound,
    "alpha": lambda row: round(1 - row.level, 10),
    "layers": lambda row: row.layers,
    "above": lambda row: row.above,
    "below": lambda row: row.below,
    "within": lambda row: row.within,
    "undecided": lambda row: row.undecided,
    "beyond": lambda row: row.above + row.below,
    "texts": lambda row: row.texts,
    "term": term_name,
    "Term": lambda row: term_name(row)[:1].upper() + term_name(row)[1:],
    "terms": lambda row: listed([named(name) for name in row.names]),
    "subject": lambda row: in_line(row.subject),
    "first": lambda row: in_line(row.names[0]),
    "second": lambda row: in_line(row.names[1]),
    "third": lambda row: in_line(row.names[2]),
    "fourth": lambda row: in_line(row.names[3]),
    "fifth": lambda row: in_line(row.names[4]),
    "low_end": lambda row: Number(row.baseline_low),
    "high_end": lambda row: Number(row.baseline_high),
    "name": lambda row: _step_name(row) if "step " in row.subject else _name(row),
    "names": lambda row: in_line(textwrap.shorten(row.subject, MAX_NAMES, placeholder=" …")),
    "what": _what,
    "correction": _correction,
    "tested": lambda row: f"p < {round(1 - row.level, 10):g}, {_correction(row)}",
    "spans": _spans,
    "steps": _steps,
    "too_few_lags": _too_few_lags,
    "errors": lambda row: label_of(row.subject),
    "ten": _ten,
    "larger": lambda row: _larger(row.value),
    "noun": lambda row: NOUNS[row.names[-1]],
    "norms": lambda row: NORMS_IN_WORDS[row.names[-1]],
    "replicated": lambda row: REPLICATED[row.subject],
    "distance": lambda row: NUMBERS.get(int(row.subject), row.subject),
    "within_what": lambda row: PERMUTED_WITHIN[row.baseline],
    "remedy": lambda row: REMEDIES[row.subject],
    "trait": lambda row: SLOPES[row.names[-1]].label,
    "step": lambda row: STEPS[row.names[-1]],
    "scale": lambda row: scale_name(row.names[-1]),
    "at_scale": _at_scale,
    "origin": lambda row: ORIGINS[row.baseline],
    "cosine": lambda row: COSINES[row.names[0]],
    "beside": lambda row: BESIDE[row.names[-1]],
    "writer": _writer,
    "Writer": lambda row: _writer(row)[:1].upper() + _writer(row)[1:],
    "place": lambda row: row.names[-1],
    "statistic": lambda row: STATISTICS[row.names[1]],
    "part": lambda row: PARTS[row.names[-1]],
    "site": lambda row: SITES[row.names[0]].label,
    "target": lambda row: TARGETS[row.names[0]],
    "documents": _documents,
    "doing": lambda row: DOING[row.names[1]],
    "predictor": lambda row: PREDICTORS.get(row.names[0], PREDICTOR_GIVEN),
    "nothing": lambda row: NOTHING[row.names[0]],
}
