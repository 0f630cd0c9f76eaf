"""Compare the numbers in the pages with the results of the default run, or write them there.

``python docs/check_numbers.py`` after ``make`` names each statement whose numbers differ from those
of the results, and each that its page lacks; ``--write`` puts the numbers into the pages. What
other programs measure (``benchmarks/``) is not among them.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

from attnlag.claims.numbers import significant
from attnlag.regression.inference.multiple_tests import adjusted_p_values

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import validation  # noqa: E402

RUN = Path("results/smollm2-135m-instruct/prompts")
NUMBER = re.compile(r"[-−]?\d(?:[\d.,]*\d)?")


class Results:
    """Tables of the default run, by layer where they have one row for each."""

    def __init__(self, folder: Path):
        self.folder = folder / RUN

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / f"{name}.parquet")

    def lag(self, regression: str, lag: int = 1) -> pd.DataFrame:
        rows = self.table(f"attention/{regression}/coefficients").query("subset == 'all'")
        return rows[rows["term"] == f"lag_{lag}"].set_index("layer")

    def control(self, regression: str, lag: int = 1) -> pd.DataFrame:
        rows = self.table(f"attention/{regression}/controls")
        return rows[rows["term"] == f"lag_{lag}"].set_index("layer")

    def direction(self, quantity: str, column: str = "mean", distance: int = 1) -> pd.Series:
        rows = self.table("attention/geometry/means").set_index("layer")
        rows = rows[rows["quantity"] == quantity]
        return rows.loc[rows["distance"].isna() | (rows["distance"] == distance), column]

    def shares(self, source: str) -> pd.DataFrame:
        rows = self.table("attention/sources/shares")
        return rows[rows["source"] == source].set_index("layer")

    def readout(self, target: str) -> pd.DataFrame:
        rows = self.table("attention/readout/means")
        return rows[rows["target"] == target].set_index("layer")


def beyond(rows: pd.DataFrame) -> int:
    """Return the number of layers whose coefficient is shown to be larger than negligible."""
    return int((rows["equivalence"] == "present").sum())


def significant_in(rows: pd.DataFrame) -> int:
    """Return the number of layers whose coefficient differs from zero, corrected over them."""
    return int((rows["p_adjusted"] < 0.05).sum())


def lag_2_without_means(results: Results) -> pd.Series:
    """Return the coefficient of lag 2 by layer, where the means of documents alone are removed."""
    design = pd.read_parquet(results.folder / "attention/notebook/design")
    names = map(str, design)
    layers = sorted({name.partition(".")[0] for name in names if name.startswith("layer_")})
    found = {}
    for layer in layers:
        rows = design[["document", *(f"{layer}.{term}" for term in ("y", "lag_1", "lag_2"))]]
        rows = rows.dropna()
        means = rows.groupby("document", observed=True).transform("mean")
        y, *lags = (rows[means.columns] - means).to_numpy().T
        found[layer] = np.linalg.lstsq(np.stack(lags, axis=1), y, rcond=None)[0][1]
    return pd.Series(found)


def slopes_around_medians(results: Results) -> pd.DataFrame:
    """Return lag 1 below and above the median of its document, a row for each layer.

    The regression is ``within``, not corrected for bias, with one slope more. Errors are clustered
    by document (CRV1). ``gain`` is what the further slope adds to R².
    """
    design = pd.read_parquet(results.folder / "attention/within/design")
    document = design["document"].astype(str).to_numpy()
    names = list(map(str, design))
    layers = sorted({name.partition(".")[0] for name in names if name.startswith("layer_")})
    shared = [name for name in names if name.startswith("position_")]
    found = []
    for layer in layers:
        terms = design[shared].assign(
            y=design[f"{layer}.y"], lag=design[f"{layer}.lag_1"], second=design[f"{layer}.lag_2"]
        )
        medians = terms["lag"].groupby(document).transform("median")
        terms["below"] = (terms["lag"] - medians).clip(upper=0)
        terms["above"] = (terms.pop("lag") - medians).clip(lower=0)
        centred = terms - terms.groupby(document).transform("mean")
        y = centred.pop("y").to_numpy()
        model = sm.OLS(y, centred).fit(
            cov_type="cluster",
            cov_kwds={"groups": pd.factorize(document)[0], "df_correction": True},
            use_t=True,
        )
        one_slope = centred.assign(lag=centred["below"] + centred["above"])
        one_slope = one_slope.drop(columns=["below", "above"])
        found.append(
            {
                "below": model.params["below"],
                "below_error": model.bse["below"],
                "above": model.params["above"],
                "above_error": model.bse["above"],
                "change": model.params["above"] - model.params["below"],
                "p_value": float(model.t_test("above = below").pvalue),
                "gain": model.rsquared - sm.OLS(y, one_slope).fit().rsquared,
            }
        )
    return pd.DataFrame(found)


def layers_beyond(sizes: pd.Series, errors: pd.Series, clusters: int, bound: float = 0.05) -> int:
    """Return the number of layers with a slope shown to be above a bound, by Holm."""
    p_values = stats.t.sf((sizes - bound) / errors, clusters - 1)
    return int((adjusted_p_values(pd.Series(p_values), "holm") < 0.05).sum())


def untrained_scales(results: Results, regression: str = "within") -> tuple[pd.Series, float]:
    """Return the medians of lag 1 up to the model's own scale of weights, and after training."""
    rows = results.table(f"attention/{regression}/untrained_scales").query("quantity == 'lag_1'")
    return rows.loc[~rows["above_own"], "before"].dropna(), rows["trained"].iloc[0]


def of_lags(results: Results) -> Iterator[tuple[str, str]]:
    """Yield a page and what it says of the lags, with the numbers of the results."""
    within, second = results.lag("within"), results.lag("within", 2)
    pooled, pooled_second = results.lag("notebook"), results.lag("notebook", 2)
    lag, layers = within["estimate"].median(), len(within)
    larger = f"{100 * (1.1**lag - 1):.1f}%"
    before, trained = untrained_scales(results)
    scales = f"{before.min():.2f} to {before.max():.2f}"
    yield (
        "README.md",
        f"yes, in {beyond(within)} of {layers} layers. After a 10% larger adjustment the next is "
        f"{larger} larger.",
    )
    rejected = (results.table("attention/within/fits")["omitted_p_adjusted"] < 0.05).sum()
    yield "README.md", f"In {rejected} layers tokens 3 to 10 back still predict"
    large = results.control("within")["untrained_own_x1.5"]
    yield "docs/controls.md", f"at 1.5 times, layers have {large.min():.2f} to {large.max():.2f}."
    yield (
        "README.md",
        f"its lag is {scales} (trained: {trained:.2f}); with weights 1.5 times as large it has "
        "none on average.",
    )
    around = slopes_around_medians(results)
    documents = int(results.table("attention/within/fits")["n_documents"].max())
    below = layers_beyond(around["below"], around["below_error"], documents)
    above = layers_beyond(around["above"], around["above_error"], documents)
    differs = adjusted_p_values(around["p_value"], "holm") < 0.05
    smaller = int((differs & (around["change"] < 0)).sum())
    steeper = int((differs & (around["change"] > 0)).sum())
    yield (
        "docs/reading.md",
        f"below the median of its document lag 1 is above 0.05 in {below} layers, above it in "
        f"{above}. It is smaller above in {smaller} layers and larger in {steeper} (Holm); the "
        f"further slope adds {around['gain'].median():.3f} to R²",
    )
    yield "docs/reading.md", f"text states: `\\WithinLagOneMedian` is {lag:.2f} |"
    yield "docs/controls.md", f"model's own scale and below ({trained:.2f} against {scales})"
    permuted = results.control("notebook")["permuted_mean"]
    order = f"{permuted.min():.2f} to {permuted.max():.2f}"
    yield "docs/controls.md", f"`notebook` gives {order} with the tokens of each document in random"
    yield "docs/tutorial.md", f"lag 1 is still {order}. Within documents it is about zero"
    rejected = (results.control("within")["order_p_adjusted"] <= 0.05).sum()
    yield "docs/tutorial.md", f"is rejected in all {rejected} layers"
    yield "docs/tutorial.md", f"Before training, lag 1 is {scales}, [or gone]"
    largest: Any = within["estimate"].idxmax()
    yield (
        "docs/tutorial.md",
        f"The median of lag 1 over the layers is {lag:.2f}, and the largest value is "
        f"{within['estimate'][largest]:.2f} (layer {largest}).",
    )
    yield "docs/tutorial.md", f"Only layer {within['estimate'].idxmin()} is negative."
    yield "docs/tutorial.md", f"The median of lag 2 is {second['estimate'].median():.2f}."
    fits = results.table("attention/within/fits")
    differing = [str(layer) for layer in fits.query("halves_p_adjusted < 0.05")["layer"]]
    named = f"{', '.join(differing[:-1])} and {differing[-1]}"
    yield "docs/inference.md", f"In the default run they differ in layers {named}."
    heads = results.table("attention/heads/head_coefficients").query("term == 'lag_1'")
    yield "docs/inference.md", f"{len(heads)} in the default run"
    yield (
        "docs/post.md",
        f"lag 1 is larger than 0.05 in {beyond(within)} of {layers} layers, pooled and within",
    )
    negative = list(second.index[second["estimate"] < 0])
    yield (
        "docs/post.md",
        f"pooled it does in {beyond(pooled_second)} layers, within documents in {beyond(second)}; "
        f"it is negative in {len(negative)} layers within documents "
        f"({', '.join(map(str, negative[:-1]))} and {negative[-1]})",
    )
    pooled_median, held_median = (rows["uncorrected"].median() for rows in (pooled_second, second))
    of_means = lag_2_without_means(results).median()
    yield (
        "docs/post.md",
        f"Its median falls from {pooled_median:.3f} to {of_means:.3f} with document means removed, "
        f"and to {held_median:.3f} with position held fixed.",
    )
    absent = (second["equivalence"] == "absent").sum()
    yield (
        "docs/post.md",
        f"it still differs from 0 in {significant_in(second)} layers, but exceeds 0.05 in only "
        f"{beyond(second)} and is shown to be smaller in {absent}.",
    )
    for row, first, later in (
        ("texts pooled", pooled, pooled_second),
        ("position fixed", within, second),
    ):
        counts = f"{significant_in(first)} | {significant_in(later)}"
        yield "docs/post.md", f"{row}, p < .05, Holm | {counts} |"
        counts = f"{beyond(first)} | **{beyond(later)}**"
        yield "docs/post.md", f"{row}, beyond ±0.05, Holm | {counts} |"
    pooled_fits = results.table("attention/notebook/fits").set_index("layer")
    yield (
        "docs/post.md",
        f"R², yes ({pooled_fits['r_squared'][0]:.3f}); lag 1 is {pooled['estimate'][0]:.2f} "
        f"(p = {pooled['p_adjusted'][0]:.2f}), lag 2 {pooled_second['estimate'][0]:.2f} "
        f"(corrected p = {pooled_second['p_adjusted'][0]:.2f}), both undecided",
    )
    residuals = fits["skewness"].median(), pooled_fits["skewness"].median()
    yield (
        "docs/post.md",
        f"of residuals {residuals[0]:.2f} within documents and {residuals[1]:.2f} pooled",
    )
    groups = results.table("attention/within/groups").query("term == 'lag_1'")
    medians = groups.groupby("subset", observed=True)["median"].first()
    yield (
        "docs/post.md",
        f"lag 1 within documents is {medians.min():.2f} ({medians.idxmin()}) to "
        f"{medians.max():.2f} ({medians.idxmax()})",
    )


def of_tokens(results: Results) -> Iterator[tuple[str, str]]:
    """Yield a page and what it says of tokens and their norms."""
    summary = results.table("token_summary").set_index("name")
    whole, per_token = summary.loc["all"], summary["characters_per_token"]
    yield (
        "docs/tutorial.md",
        f"{whole['characters']:,} characters give {whole['tokens']:,} tokens. An abstract has "
        f"{per_token['abstract']:.1f} characters per token, code {per_token['code']:.1f}, and "
        f"languages other than English {per_token['multilingual']:.1f}",
    )
    texts = whole["documents"]
    rows = results.table("attention/within/fits")["n_obs"].max()
    yield "docs/tutorial.md", f"{whole['tokens']:,} - 3 × {texts} = {rows:,}."
    norms = pd.read_parquet(results.folder / "attention/norms")
    yield "docs/tutorial.md", f"# ({norms.shape[0]}, {norms.shape[1]}): document, window"
    later = norms[norms["position"] > 0].filter(like="layer_")
    sizes = later.median().to_numpy()
    first, last, largest = (significant(sizes[n]) for n in (0, -1, sizes.argmax()))
    yield (
        "docs/tutorial.md",
        f"go from {first} in layer 0 to {last} in layer 29, with a peak of {largest} in layer "
        f"{sizes.argmax()}",
    )
    tokens = pd.read_parquet(results.folder / "token_properties")
    used = tokens["position"].to_numpy() > 0
    logs = np.log(later.to_numpy(float))
    tags = tokens.loc[used, "upos"].astype(str).to_numpy()
    tagged = tags != "none"
    frame = pd.DataFrame(logs[tagged])
    shares = 1 - (frame - frame.groupby(tags[tagged]).transform("mean")).var() / frame.var()
    yield (
        "docs/tokens.md",
        f"parts of speech account for {shares.min():.0%} (layer {shares.idxmin()}) to "
        f"{shares.max():.0%} (layer {shares.idxmax()})",
    )
    digits = tokens[tokens["text"].str.fullmatch("[0-9]")]
    words = digits[["document", "word"]].drop_duplicates()
    yield "docs/tokens.md", f"{len(digits):,} tokens are digits, of {len(words):,} words"
    yield "docs/tokens.md", f"- {(tokens['piece'] > 0).mean():.0%} of the tokens continue a word"
    yield "docs/tokens.md", f"- {(tokens['upos'] == 'SPACE').sum():,} tokens are line ends"
    classes = results.table("attention/notebook/classes").query("term == 'lag_1'")
    medians = classes.groupby("subset", observed=True)["estimate"].median()
    tests = results.table("attention/notebook/equal_slopes").query("term == 'lag_1'")
    yield (
        "docs/tokens.md",
        f"lag 1 is {medians['PUNCT']:.2f} for punctuation and {medians['SPACE']:.2f} for white "
        f"space (medians over the layers), and slopes differ in all "
        f"{(tests['p_adjusted'] < 0.05).sum()} layers (F with {tests['df'].median():.0f} and a "
        f"median of {tests['df_residual'].median():.0f} degrees of freedom)",
    )
    steps = results.table("attention/notebook/nested_models").query("term == 'lag_1'")
    by_step = steps.pivot(index="layer", columns="step", values="estimate")
    pooled, held = by_step["pooled"], by_step["token_previous"]
    most = (held - pooled).abs().max()
    yield (
        "docs/tokens.md",
        f"moves lag 1 from {pooled.mean():.3f} to {held.mean():.3f} (mean over layers, "
        f"{steps['n_documents'].max():.0f} tagged documents, no bias correction), and single "
        f"layers by up to {most:.2f}",
    )


def of_directions(results: Results) -> Iterator[tuple[str, str]]:
    """Yield a page and what it says of directions and heads."""
    raw, centred = (results.direction(f"cosine_previous{end}") for end in ("", "_centred"))
    others = results.direction("cosine_previous", "random_pairs")
    page = "docs/beyond_the_norm.md"
    yield page, f"in layer 24 raw cosines are {raw[24]:.2f} for neighbours and {others[24]:.2f}"
    growth = np.exp(results.direction("stream_log_growth"))
    yield (
        page,
        f"by a factor of {growth.median():.3f} per layer (median; layer 0 makes it "
        f"{growth[0]:.0f} times as large)",
    )
    angle = np.degrees(results.direction("angle").median())
    along, another = (
        results.direction("parallel_relative", column) for column in ("mean", "random_pairs")
    )
    yield (
        page,
        f"Attention turns the stream by {angle:.0f}° in the median layer, and so would another "
        f"token's adjustment. Along the stream it adds {along.median():.1%} of its norm (another "
        f"token's {another.median():.1%}); in layer 0 it removes {-along[0]:.0%} "
        f"({-another[0]:.0%}) of the token's own embedding.",
    )
    apart = results.direction("cosine_previous_centred", "random_pairs").abs().max()
    yield page, f"those of random pairs within {apart:.2f} of zero"
    yield (
        page,
        f"{centred[0]:.2f} in layer 0, {centred[10]:.2f} in layer 10, {centred[20]:.2f} in layer "
        f"20 and {centred[29]:.2f} in layer 29",
    )
    far = results.direction("cosine_previous_centred", distance=16)
    yield page, f"fall from {centred.median():.2f} at one token to {far.median():.2f} at sixteen"
    heads = results.table("attention/heads/heads")
    whole = heads[heads["part"] == "all"].set_index("layer")
    single = heads[heads["part"].str.isdigit()]
    equal = 1 / single["part"].nunique()
    largest = single.groupby("layer")["share"].max().median()
    yield page, f"{largest:.0%} in the median layer (equal heads: {equal:.0%})"
    coherence = whole["coherence"]
    yield page, f"{coherence.median():.2f} in the median layer, {coherence[24]:.1f} in layer 24"
    lags = results.table("attention/heads/head_coefficients").query("term == 'lag_1'")
    alone = lags[lags["part"].str.isdigit()]
    together = lags.loc[lags["part"] == "all", "estimate"].median()
    shown = alone[alone["equivalence"] == "present"]["estimate"]
    yield (
        page,
        f"a median of {alone['estimate'].median():.2f}, that of their sum {together:.2f}; it is "
        f"above 0.05 in {(shown > 0).sum()} of {len(alone)} heads, below -0.05 in "
        f"{(shown < 0).sum()}.",
    )
    floor = whole["at_floor"]
    yield (
        page,
        f"{floor[24]:.0%} of the tokens in layer 24, {floor[25]:.0%} in layer 25, {floor[26]:.0%} "
        f"in layer 26 and {floor.median():.1%} in the median layer",
    )
    above = lags[(lags["part"] == "above floor") & (lags["layer"] == 24)]["estimate"].item()
    of_sum = lags[(lags["part"] == "all") & (lags["layer"] == 24)]["estimate"].item()
    yield page, f"{above:.2f} in layer 24 ({of_sum:.2f} with them)"
    sinks = single.groupby("layer")["sink"].mean()
    yield (
        page,
        f"Heads give {sinks.median():.0%} to the first token in the median layer and "
        f"{sinks[24]:.0%} in layer 24; {(single['sink'] > 0.5).sum()} of {len(single)} give it "
        "more than half.",
    )
    below, over = whole["sink_at_floor"], whole["sink_above"]
    rest = over[below.notna()].median()
    yield page, f"give it {below.median():.0%} in the median layer, others {rest:.0%}."


def of_sources(results: Results) -> Iterator[tuple[str, str]]:
    """Yield a page and what it says of sources and of what adjustments raise."""
    page, before = "docs/beyond_the_norm.md", results.shares("previous_1")["median"]
    yield (
        page,
        f"writes {before[16]:.0%} of the adjustment in layer 16, {before[11]:.0%} in layer 11 and "
        f"{before[19]:.0%} in layer 19",
    )
    first, effective = results.shares("first"), results.shares("effective")
    yield (
        page,
        f"the first token gets {first['attention'][20]:.0%} of the attention in layer 20 and "
        f"writes {first['mean'][20]:.0%} of the adjustment",
    )
    yield page, f"attended to, {first['mean'][24]:.0%} of {first['attention'][24]:.0%}"
    mean, median = effective["mean"].median(), effective["median"].median()
    yield page, f"sources is {mean:.0f} in the median layer ({median:.0f} for the median token)"
    lags = results.table("attention/sources/lags").query("term == 'lag_1'")
    of = lags.groupby("part", observed=True)["estimate"].median()
    yield (
        page,
        f"lag 1 is {of['from_itself']:.2f} for `from_itself`, {of['from_earlier']:.2f} for "
        f"`from_earlier` and {of['all']:.2f} for both together",
    )
    own, following = results.readout("own"), results.readout("next")
    yield page, f"lower their own token in layer 0 (by {-own['difference'][0]:.1f} SD)"
    apart = results.readout("next_less_own")
    differs = apart["p_adjusted"] < 0.05
    more = (differs & (apart["difference"] > 0)).sum()
    less = (differs & (apart["difference"] < 0)).sum()
    yield page, f"raised more than their own in {more} of {len(apart)} layers and less in {less}"
    yield "docs/post.md", f"more than their own in {more} of {len(apart)} layers, less in {less}"
    most: Any = following["difference"].idxmax()
    yield (
        page,
        f"most in layer {most}: {following['difference'][most]:.2f} SD against "
        f"{own['difference'][most]:.2f}",
    )


def of_causes(results: Results) -> Iterator[tuple[str, str]]:
    """Yield a page and what it says of interventions."""
    page, rows = "docs/causality.md", results.table("causal/total_effects").query("lag == 1")
    rows = rows.set_index("target_layer")
    effects = [
        f"{row.estimate:.3f} ({row.conf_low:.3f} to {row.conf_high:.3f}) in layer {layer}"
        for layer, row in rows.iterrows()
    ]
    yield page, f"In the default run effects are {', '.join(effects[:-1])} and {effects[-1]}"
    effect = rows["estimate"]
    # README compares the layer in which the prediction is clear.
    (clear,) = rows.index[rows["predicted_conf_low"] > 0]
    predicted = rows["predicted"][clear]
    yield "README.md", f"the next token's in layer {clear} is {predicted:.2f}% larger"
    yield "README.md", f"enlarging them by 1% changes it by {effect[clear]:.2f}%"
    others = [f"{abs(value):.2f}%" for layer, value in effect.items() if layer != clear]
    yield "README.md", f"the effect is {others[0]} and -{others[1]}"
    shares = [f"{share + 0.0:.0%}".replace("-0%", "0%") for share in rows["share"]]
    yield (
        "docs/post.md",
        f"effects are {', '.join(shares[:-1])} and {shares[-1]} of what the same layers predict",
    )
    predicted = [
        f"{row.predicted:.2f} ({row.predicted_conf_low:.2f} to {row.predicted_conf_high:.2f})"
        for _, row in rows.iterrows()
    ]
    yield (
        page,
        f"all preceding layers predict {', '.join(predicted[:-1])} and {predicted[-1]}.",
    )
    pairs = results.table("causal/elasticities").query("intervention == 'derivative' and lag == 1")
    yield (
        "docs/tutorial.md",
        f"coefficients of one layer for another are {pairs['predictive'].min():.2f} to "
        f"{pairs['predictive'].max():.2f}, effects {pairs['estimate'].min():.2f} to "
        f"{pairs['estimate'].max():.2f}.",
    )
    trial = results.table("causal/prediction_vs_effect").query("lag == 1")
    alone, given, same = (trial.iloc[number] for number in (0, 1, 2))
    yield (
        page,
        f"{alone['clear']:.0f} of {alone['pairs']} effects differ from zero. The source's norm "
        f"alone has the sign of {alone['same_sign']:.0f} of them, by chance "
        f"{alone['by_chance']:.1f}; with the source layer at the target's token held fixed it has "
        f"{given['same_sign']:.0f}, by chance {given['by_chance']:.1f}. Over all pairs, larger "
        "coefficients go with larger effects (rank correlation "
        f"{alone['rank_correlation']:.2f} and {given['rank_correlation']:.2f}). Lag 1 is "
        f"significant in {same['significant']:.0f} of {same['pairs']} layers.",
    )
    changes = results.table("causal/finite_effects").query("lag == 1").set_index("intervention")
    halved, doubled, removed = changes.loc["halve"], changes.loc["double"], changes.loc["zero"]
    yield (
        page,
        f"it is {halved['ratio']:.2f} ({halved['ratio_low']:.2f} to {halved['ratio_high']:.2f}) "
        f"for halving and {doubled['ratio']:.2f} ({doubled['ratio_low']:.2f} to "
        f"{doubled['ratio_high']:.2f}) for doubling",
    )
    yield (
        page,
        f"by {removed['estimate']:.1%} on average ({removed['conf_low']:.1%} to "
        f"{removed['conf_high']:.1%}), clearly in {removed['clear']} of {removed['layers']}.",
    )


def of_others(results: Results) -> Iterator[tuple[str, str]]:
    """Yield a page and what it says of the default run beside published numbers and the post."""
    page, folder = "docs/related.md", results.folder
    share, heads = validation.share_of_sinks(folder)
    yield page, f"{share:.0%} of {heads} heads, over the first 64 tokens of 13 documents"
    needed = validation.directions(folder)
    yield page, f"{needed.median():.0%} of the width in the median layer, {needed.min():.0%} to"
    growth = validation.growth(folder)
    yield (
        page,
        f"{growth.median():.3f} times in the median layer, {growth.min():.2f} to "
        f"{growth.max():.0f}",
    )
    first = validation.first_token(folder)
    gap = first["attention"] - first["mean"]
    largest: Any = gap.idxmax()
    attention, written = first.loc[largest, ["attention", "mean"]]
    yield (
        page,
        f"in {(gap > 0).sum()} of {len(gap)} layers; in layer {gap.idxmax()}, {attention:.0%} and "
        f"{written:.0%} (means)",
    )
    page, sizes = "docs/post.md", validation.sizes(folder)
    yield (
        page,
        f"rejects in {(sizes['normal_p'] < 0.05).sum()} of {len(sizes)} layers; "
        f"skewness is {sizes['skewness'].median():.2f} (median layer)",
    )
    norms, relative = sizes["norm"], sizes["relative"]
    yield (
        page,
        f"(median {norms[0]:.2f}; at most {norms.max():.0f}, in layer {norms.idxmax()}), and the "
        f"largest relative to the stream that they are added to ({relative[0]:.2f}, elsewhere down "
        f"to {relative.min():.2f})",
    )
    two = sizes["bimodality"]
    yield page, f"(bimodality coefficient {two[0]:.2f}, median layer {two.median():.2f})"
    alone = validation.one_text_at_a_time(folder)
    middle, least, most = alone.median(), alone.min(), alone.max()
    yield (
        page,
        f"(median of {len(alone)} texts) | {middle['lag 1']:.0f} of {len(sizes)} layers | "
        f"{middle['lag 2']:.0f} |",
    )
    spans = [f"{least[lag]} to {most[lag]}" for lag in ("lag 1", "lag 2")]
    yield page, f"least and most of {len(alone)} texts | {' | '.join(spans)} |"


def of_models(results: Results) -> Iterator[tuple[str, str]]:
    """Yield a page and what it says of the models that ``make models`` compares, if it was run."""
    folder, page = results.folder.parents[1], "docs/comparison.md"
    if not (folder / "comparison/claims.parquet").exists():
        return
    claims = pd.read_parquet(folder / "comparison/claims.parquet").query("regression == 'within'")
    by_claim = {name: rows for name, rows in claims.groupby("claim", sort=False, observed=True)}
    size, above, second, order, deeper, before = by_claim.values()
    cells = [f"{c.value:.3f} ({c.conf_low:.3f} to {c.conf_high:.3f})" for c in size.itertuples()]
    yield page, f"| lag 1 is above zero | {' | '.join(cells)} |"
    for row, rows in (
        ("above 0.05, by", above),
        ("larger than lag 2, by", second),
    ):
        yield page, f"| {row} | {' | '.join(f'{value:.3f}' for value in rows['value'])} |"
    verdicts = " | ".join(order["verdict"])
    yield page, f"| larger than in random order, uncorrected | {verdicts} |"
    cells = [
        str(f"{c.value:.3f} ({c.conf_low:.3f} to {c.conf_high:.3f})")
        if c.verdict == "undecided"
        else f"{c.value:.3f}"
        for c in deeper.itertuples()
    ]
    yield page, f"| larger in the deeper half, by | {' | '.join(cells)} |"
    everywhere = sum(
        (rows["verdict"] == "holds").all() and len(rows) == len(size) for rows in by_claim.values()
    )
    yield page, f"So {everywhere} findings hold in both models and at both sites."
    held = (deeper["verdict"] == "holds").sum()
    yield page, f"holds in {held} of the {len(deeper)} columns"
    attention, mlp = before["value"]
    assert attention > 0 > mlp, (attention, mlp)
    yield page, f"attention, by {attention:.3f} at least"
    scales = pd.read_parquet(
        folder / "smollm2-135m-instruct/bundled/mlp/within/untrained_scales.parquet"
    )
    scales = scales.query("quantity == 'lag_1'").set_index("scale")
    yield (
        page,
        f"lag 1 is {scales['before']['own']:.3f} before training at the model's own scale, "
        f"{scales['before']['default']:.3f} at transformers' default, and "
        f"{scales['trained'].iloc[0]:.3f} after it",
    )
    pairs = pd.read_parquet(folder / "comparison/coefficients.parquet")
    pairs = pairs.query("regression == 'within' and site == 'attention' and term == 'lag_1'")
    pairs = pairs.query("subset == 'all'")
    medians = pairs.groupby("model", sort=False, observed=True)["estimate"].median()
    listed = " and ".join(f"{median:.3f}" for median in medians)
    yield page, f"Medians over the layers are {listed} at attention."


def of_scales(results: Results) -> Iterator[tuple[str, str]]:
    """Yield a page and what it says of random weights at the scales of the default control.

    The second column of that table is from ``benchmarks/initial_scale.py`` alone.
    """
    for row, regression, quantity, second, digits in (
        ("within documents, lag 1", "within", "lag_1", "1.04", 2),
        ("lag 2", "within", "lag_2", "-0.07", 2),
        ("lags summed", "within", "lags_summed", "0.98", 2),
        ("R²", "within", "r_squared", "0.995", 3),
        ("pooled, lag 1", "notebook", "lag_1", "1.30", 2),
    ):
        table = results.table(f"attention/{regression}/untrained_scales").set_index("quantity")
        rows = table.loc[quantity].set_index("scale")
        default, own, depth = (
            f"{rows['before'][scale]:.{digits}f}" for scale in ("default", "own", "by-depth")
        )
        trained = f"{rows['trained'].iloc[0]:.2f}"
        cells = " | ".join([row, default, second, own, depth, trained])
        yield "docs/controls.md", f"| {cells} |"


STATEMENTS = (
    of_lags,
    of_tokens,
    of_directions,
    of_sources,
    of_causes,
    of_scales,
    of_others,
    of_models,
)


def with_numbers(text: str, numbers: Iterator[str]) -> str:
    """Return a text with other numbers in place of its own."""
    return NUMBER.sub(lambda found: next(numbers), text)


def differences(root: Path, statements: Iterator[tuple[str, str]], write: bool) -> Iterator[str]:
    """Yield a line for each statement that a page lacks, or, unless written, has otherwise."""
    for name, expected in statements:
        path = root / name
        page = path.read_text(encoding="utf-8")
        # Numbers of any size at the same place in the same words.
        words = map(re.escape, NUMBER.sub("\0", expected).split())
        pattern = r"\s+".join(words).replace("\0", NUMBER.pattern)
        found = re.search(pattern, page)
        if found is None:
            yield f"{name}: lacks the statement '{expected}'"
            continue
        said = with_numbers(found[0], iter(NUMBER.findall(expected)))
        if said == found[0].replace("−", "-"):
            continue
        if write:
            path.write_text(page.replace(found[0], said), encoding="utf-8")
        else:
            yield f"{name}: found '{' '.join(found[0].split())}', expected '{expected}'"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the numbers into the pages")
    parser.add_argument(
        "--findings", action="store_true", help="print what benchmarks/validation.py prints too"
    )
    arguments = parser.parse_args()
    results = Results(ROOT)
    if arguments.findings:
        validation.print_findings(results.folder)
    statements = (pair for of in STATEMENTS for pair in of(results))
    lines = list(differences(ROOT, statements, arguments.write))
    if lines:
        sys.exit("\n".join(f"error: {line}" for line in lines))


if __name__ == "__main__":
    main()
