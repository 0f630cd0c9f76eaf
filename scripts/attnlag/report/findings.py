"""The findings of each folder of results, as lists of claims."""

from collections.abc import Sequence

from attnlag.claims.run import Claims
from attnlag.errors import counted
from attnlag.regression.labels import UNITS
from attnlag.report.lines import Line, lines_of, titled
from attnlag.storage.tables import Record

# With more target layers, only the smallest and the largest effect are stated.
MAX_LAYERS = 6

REGRESSION = (
    Line(("without_attention",), each="subject"),
    Line(("few_texts",)),
    Line(("dominating_document",)),
    Line(("lag", "lag_range"), each="subject"),
    Line(("without_one_document",)),
    Line(("pooled_medians",)),
    Line(("order",)),
    Line(("random_order",), each="nearest"),
    Line(("untrained_not_drawn",)),
    Line(("untrained_constant",)),
    Line(
        ("untrained", "untrained_mean", "trained"), heading="before training, {term}: ", each="term"
    ),
    Line(("untrained_determined",)),
    Line(("scale", "scale_assumed", "scale_left_out"), heading="initial weights: "),
    Line(
        ("change_by_training",),
        heading="{term} before training, less that after it (mean over the layers): ",
        each="nearest",
    ),
    Line(("training_highest", "training_as_high", "training_final"), each="nearest"),
    Line(("training_settled", "training_steps"), each="nearest"),
    Line(("training_loss",), heading="loss in nats a token: "),
    Line(("r_squared", "r_squared_highest")),
    Line(("r_squared_unseen",)),
    Line(("r_squared_partial",)),
    Line(("r_squared_negative",)),
    Line(("halves", "halves_layers")),
    Line(("rows_dropped",)),
    Line(("unfitted",), each="subject"),
    Line(("omitted_lags",)),
    Line(("curvature", "curvature_share")),
    Line(("groups_counted", "groups_extremes", "groups_apart")),
    Line(("groups_unfitted",), each="subject"),
    Line(("class_slopes", "classes_extremes", "classes_apart", "classes_merged")),
    Line(("nested_model",), each="subject"),
    Line(("few_clusters",)),
)

LINES_OF_ANALYSES = {
    "readout": (
        Line(("next_token",)),
        Line(
            ("readout_peak",),
            heading="largest effects on logits, beyond those on the same token of another place: ",
        ),
    ),
    "heads": (
        Line(("nothing",)),
        Line(("head_share", "head_share_of_layer")),
        Line(("head_coherence", "head_coherence_extreme")),
        Line(("head_lag",)),
        Line(("head_lag_counted",)),
        Line(("head_lag_untrained",)),
        Line(("head_floor", "head_floor_of_layer")),
        Line(("head_lag_without_floor",), heading="{term} without these tokens: "),
        Line(("head_sink", "head_sink_of_layers", "head_sink_tokens")),
        Line(("head_sink_at_floor",)),
    ),
    "directions": (
        Line(("nothing",)),
        Line(("stream_growth", "stream_growth_mean", "stream_growth_extreme")),
        Line(("stream_along", "stream_across", "stream_angle"), heading="in the median layer "),
        Line(("cosine", "cosine_far")),
        Line(("cosine_range", "cosine_beside"), each="term"),
    ),
    "sources": (
        Line(("written_by", "written_by_highest"), heading="{statistic}: ", each="two"),
        Line(("first_token",)),
        Line(("writers",)),
        Line(("lag_of_part",), heading="{term} (median layer): "),
    ),
    "causal": (
        Line(("nothing",)),
        Line(("effects_decided", "documents_to_decide"), each="subject"),
        Line(
            ("effect", "effect_predicted", "effect_share", "own_lag"),
            heading="{subject}: ",
            each="subject",
            most=MAX_LAYERS,
        ),
        Line(("same_layer",), each="subject"),
        Line(("signs", "signs_alike"), each="subject"),
        Line(("removal",), each="subject"),
        Line(("proportion",), each="subject"),
    ),
}

# What is said of few texts.
FEW_TEXTS = Line(("few_texts_measured", "lags_not_fitted"))


def findings_of_regression(claims: Claims, name: str, outcome: str) -> str:
    """Return the findings of a regression as text, under its name and what was fitted."""
    title = f"{name}: {'; '.join(Line(('fitted',)).texts(claims))}"
    if outcome != "norm":
        title += f"; {UNITS[outcome].removeprefix('of ')}"
    return titled(title, lines_of(REGRESSION, claims))


def findings_of_analysis(analysis: str, by_site: Sequence[tuple[str, Claims, Record]]) -> str:
    """Return the findings of an analysis as text, from the claims and the provenance by site.

    Each line of interventions, whose folder has all pairs of sites, names its pair.
    """
    site, claims, record = by_site[0]
    about = ANALYSES_ABOUT.get(analysis, f"{site}, {analysis}")
    if analysis == "heads" and record["sampled"]:
        about = f"attention, a sample of {counted(record['sampled'], 'document')}, heads"
    lines = lines_of(LINES_OF_ANALYSES[analysis], claims)
    if analysis == "causal":
        lines = []
        for pair, pair_claims, _ in by_site:
            lines += [
                f"{pair}: {line}" for line in lines_of(LINES_OF_ANALYSES[analysis], pair_claims)
            ]
    if analysis == "heads" and claims.one("head_share") and not claims.one("head_sink"):
        lines.append(why_no_sinks(record))
    if "check" in record and (analysis == "heads" or not lines):
        lines.append(record["check"])
    return titled(f"{record.names}, {about}:", [*lines, *FEW_TEXTS.texts(claims)])


ANALYSES_ABOUT = {"sources": "sources", "causal": "interventions"}


def why_no_sinks(record: Record) -> str:
    """Return why the attention of heads to first tokens is unknown."""
    if record["traced"] is None:
        return "attention to first tokens is measured with `sources` alone"
    return f"attention to first tokens is unknown: {record['traced'] or 'no documents'}"
