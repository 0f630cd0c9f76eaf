"""The answers of a run in a dozen lines: what it says last, and the head of the explorer."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.adjustments.outcomes import OUTCOMES
from attnlag.errors import counted
from attnlag.regression.beyond.vector_fits import PERMUTED, VECTOR
from attnlag.regression.inference import results
from attnlag.regression.labels import with_minus_signs
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.terms import distance, is_lead, lags_among, named
from attnlag.storage import tables

# Target layers of interventions that are named one by one.
MOST_LAYERS = 4

# An effect below this share of the association hardly causes it.
HARDLY = 0.25

TOKENS_AWAY = {1: "one token", 2: "two tokens", 3: "three tokens"}


class Line(NamedTuple):
    """A question or a part of one, with its answer."""

    label: str
    text: str
    is_part: bool = True


class Answers(NamedTuple):
    """The answers for one site."""

    title: str
    lines: list[Line]
    main: str  # the regression that answers


@dataclass
class Regression:
    """The tables of one regression."""

    folder: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """The provenance of its coefficients."""
        return tables.read_provenance(self.folder / "coefficients.parquet")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of its fit."""
        return self.record["stages"]["regression"]

    @property
    def is_of_norms(self) -> bool:
        """Whether it regresses norms or relative norms."""
        return OUTCOMES[self.settings["outcome"]].folder == "norms"

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """The coefficients, by layer and term."""
        return pd.read_parquet(self.folder / "coefficients.parquet").query("subset == 'all'")

    @cached_property
    def fits(self) -> pd.DataFrame:
        """The fitted layers."""
        return pd.read_parquet(self.folder / "fits.parquet").query("status == 'ok'")

    @property
    def terms(self) -> list[str]:
        """Lags, nearest first, and then leads."""
        return lags_among(list(self.coefficients["term"]))

    def of(self, term: str) -> pd.DataFrame:
        """Return the coefficients of a term that were estimated."""
        rows = self.coefficients[self.coefficients["term"] == term]
        return rows.dropna(subset="estimate")


def answers(base: Path, site: str, regressions: Sequence[str]) -> Answers:
    """Return the answers for one site in ``base``, which is ``results/{model}/{corpus}``.

    The first regression of norms with effects of documents answers, in the order of the
    configuration, or else the first of norms. The first without effects stands beside it.
    """
    fitted = [Regression(base / site / name) for name in regressions]
    of_norms = [regression for regression in fitted if regression.is_of_norms and regression.terms]
    within = [
        regression for regression in of_norms if regression.settings["fixed_effects"] == "document"
    ]
    record = fitted[0].record
    model = record["model"]
    weights = f" ({model['bits']}-bit)" if "bits" in model else ""
    shards = tables.shards(base / site / "norms" / "0000.parquet")
    tokens = sum(pq.read_metadata(path).num_rows for path in shards)
    count = fitted[0].coefficients["layer"].nunique()
    title = (
        f"{model['name']}{weights} · {record['corpus']['name']}: "
        f"{counted(record['corpus']['documents'], 'document')}, {counted(tokens, 'token')} · "
        f"{site}, {counted(count, 'layer')}"
    )
    lines: list[Line] = []
    main = (within or of_norms or fitted)[0]
    if of_norms:
        lines += _of_lags(main)
        lines += _controls(main)
        pooled = [
            regression for regression in of_norms if regression.settings["fixed_effects"] == "none"
        ]
        if within and pooled and len(main.fits):
            beside = pooled[0].of(main.terms[0])["estimate"].median()
            if np.isfinite(beside):
                lines.append(Line("documents pooled", number(beside)))
    lines += _causes(base / "causal" / "transmitted.parquet", site)
    lines += _vectors(base / site / "vector_fits.parquet")
    if of_norms:
        lines += _checks(main)
    return Answers(title, lines, main.folder.name)


def _of_lags(main: Regression) -> list[Line]:
    """Return whether large adjustments follow large ones, and how much the lags explain."""
    if main.fits.empty:
        return [Line("Does a large adjustment follow a large one?", "no layer was fitted", False)]
    bound, layers = main.settings["negligible"], len(main.fits)
    medians = json.loads((main.folder / "joint.json").read_text(encoding="utf-8"))["medians"]
    lines = []
    for term in main.terms[:3]:
        rows = main.of(term)
        shown = rows[rows["finding"] == "present"]["estimate"]
        above, below = int((shown > 0).sum()), int((shown < 0).sum())
        absent = int((rows["finding"] == "absent").sum())
        of_term = medians[term]
        size, low, high = (of_term[name] for name in ("median", "conf_low", "conf_high"))
        counts = f"above {bound:g} in {above} of {counted(layers, 'layer')}"
        counts += f", below −{bound:g} in {below}" * bool(below)
        if term != main.terms[0]:
            away = distance(term)
            label = f"{TOKENS_AWAY.get(away, f'{away} tokens')} {'on' if is_lead(term) else 'back'}"
            counts += f", shown to be smaller in size in {absent}" * bool(absent)
            lines.append(Line(label, f"{number(size)} ({counts})"))
            continue
        interval = f", {number(low)} to {number(high)}" if low is not None else ""
        lower, upper = (size, size) if low is None else (low, high)
        word = "Hardly"
        if lower > bound:
            word = "Yes"
        elif upper < -bound:
            word = "No, a small one"
        elif -bound < lower and upper < bound:
            word = "No"
        if (texts := int(main.fits["n_documents"].max())) < FEWEST_DOCUMENTS:
            # Too few to draw from: it is said of these texts alone.
            word += " in this text" if texts == 1 else f" in these {texts} texts"
        change = 100 * (1.1**size - 1)
        lines.append(
            Line(
                f"Does a large adjustment {'precede' if is_lead(term) else 'follow'} a large one?",
                f"{word}: 10% longer → {abs(change):.1f}% {'longer' if change >= 0 else 'shorter'} "
                f"({named(term)} = {number(size)}{interval}; {counts})",
                False,
            )
        )
    partial = main.fits["partial_r_squared"]
    rest = 1 - (1 - main.fits["r_squared"]) / (1 - partial)
    others = ""
    if main.record["stages"]["design"]["covariates"]:
        only = main.record["stages"]["design"]["covariates"] == ["position"]
        others = f"; {'position' if only else 'the other terms'} {rest.median():.0%}"
    lines.append(
        Line(
            "variance that they explain",
            f"{partial.median():.0%} in the median layer, at most {partial.max():.0%}{others}",
        )
    )
    return lines


def _controls(main: Regression) -> list[Line]:
    """Return the nearest lag in random order and before training."""
    controls = pd.read_parquet(main.folder / "controls.parquet")
    rows = controls[controls["term"] == main.terms[0]]
    lines = []
    if "permuted_mean" in rows and rows["permuted_mean"].notna().any():
        permuted = rows["permuted_mean"].median()
        lines.append(Line("tokens in random order", number(permuted)))
    if "random_weights" in rows and rows["random_weights"].notna().any():
        known = rows.dropna(subset=["random_weights", "trained"])
        before, trained = known["random_weights"].median(), known["trained"].median()
        text = f"{number(before)} (the trained model, same texts: {number(trained)})"
        lines.append(Line("before training", text))
    return lines


def _causes(path: Path, site: str) -> list[Line]:
    """Return the effects on the next token by layer, beside the lags of these layers."""
    if not path.exists():
        return []
    table = pd.read_parquet(path)
    rows = table[
        (table["source_site"] == site) & (table["target_site"] == site) & (table["lag"] == 1)
    ]
    if rows.empty:
        return []
    if len(rows) > MOST_LAYERS:
        rows = rows.loc[[rows["estimate"].idxmin(), rows["estimate"].idxmax()]]
    effects = ", ".join(
        f"layer {row['target_layer']} {number(row['estimate'])}" for row in rows.to_dict("records")
    )
    lags = rows["coefficient"].dropna()
    text = effects
    if len(lags):
        small = (rows["estimate"].abs() < HARDLY * rows["coefficient"].abs()).all()
        ends = number(lags.min()), number(lags.max())
        span = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
        text = f"{'Hardly' if small else 'In part'}: {effects}, where the lag is {span}"
    return [Line("Does one cause the next?", text, False)]


def _vectors(path: Path) -> list[Line]:
    """Return how much of whole vectors is predicted in unseen documents."""
    if not path.exists():
        return []
    table = pd.read_parquet(path).dropna(subset="r_squared")
    of_vectors = table[table["predictor"] == VECTOR]
    of_vectors = of_vectors[of_vectors["rank"] == of_vectors["rank"].max()]
    if of_vectors.empty:
        return []
    text = f"{of_vectors['r_squared'].median():.0%} predicted in unseen documents"
    permuted = table.loc[table["predictor"] == PERMUTED, "r_squared"]
    if len(permuted):
        text += f"; in random order at most {permuted.max():.0%}"
    return [Line("Whole vectors", with_minus_signs(text), False)]


def _checks(main: Regression) -> list[Line]:
    """Return what speaks against the regression."""
    fits, alpha = main.fits, main.settings["alpha"]
    if fits.empty:
        return []
    kind = main.settings["adjust"]
    p_values = fits["breusch_godfrey_p_value"]
    left = int((results.adjusted(p_values, "holm" if kind == "max-t" else kind) < alpha).sum())
    text = "no layer is shown to need more lags"
    if left:
        text = f"the lags are too few in {left} of {counted(len(fits), 'layer')}"
    if fits["halves_p_adjusted"].notna().any():
        differ = int((fits["halves_p_adjusted"] < alpha).sum())
        text += f"; the halves of documents differ in {differ}"
    return [Line("Check", text, False)]


def number(value: float) -> str:
    """Return a number with two decimals and a minus sign; zero has none."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def text_of(title: str, lines: Sequence[Line]) -> str:
    """Return the answers as text, a line each."""
    labels = ["  " * line.is_part + line.label for line in lines]
    width = max(map(len, labels), default=0)
    rows = [f"{label:<{width}}  {line.text}" for label, line in zip(labels, lines, strict=True)]
    return "\n".join([title, *rows]) + "\n"


def of_sites(coefficients: Sequence[Path]) -> dict[tuple[str, str, str], Answers]:
    """Return the answers by model, corpus and site, given the tables of coefficients of a run.

    The other tables are expected at their places beside these.
    """
    regressions: dict[Path, list[str]] = {}
    for path in coefficients:
        regressions.setdefault(path.parents[1], []).append(path.parent.name)
    return {
        (folder.parts[-3], folder.parts[-2], folder.name): answers(
            folder.parent, folder.name, names
        )
        for folder, names in regressions.items()
    }


def of_run(coefficients: Sequence[Path]) -> str:
    """Return the answers of a run as text, site by site."""
    return "\n".join(text_of(found.title, found.lines) for found in of_sites(coefficients).values())
