#!/usr/bin/env python3
"""Fit one regression in every layer, from the cross-products and residuals of all shards.

Writes the tidy tables (coefficients, fits, influence), what the tests of all layers at once rest
on, a summary per layer as text, and the findings that the run ends with.
"""

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from attnlag.adjustments import columns
from attnlag.errors import UserError, counted
from attnlag.pipeline import program
from attnlag.regression import (
    bootstrap,
    crossproducts,
    inference,
    least_squares,
    residuals,
    results,
)
from attnlag.regression.settings import RegressionSettings
from attnlag.report import summaries
from attnlag.storage import tables, writing

parser = program.argument_parser(__doc__, RegressionSettings)
parser.add_argument("crossproducts", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--residuals", type=Path, required=True, help="likewise")
parser.add_argument("--site", required=True)
parser.add_argument("--regression", required=True, help="the regression's name")
parser.add_argument("--coefficients", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--fits", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--influence", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--joint", type=Path, required=True, help="JSON")
parser.add_argument("--summary", type=Path, required=True, help="folder for a text per layer")
parser.add_argument("--findings", type=Path, required=True, help="text")


def main(args):
    settings = asdict(args.settings)
    paths = tables.shards(args.crossproducts)
    records = [tables.read_provenance(path) for path in paths]
    stack = crossproducts.merged(
        [crossproducts.read_shard(path) for path in paths],
        fixed_effects=settings["fixed_effects"] == "document",
        budget=settings["stack_mb"] * 1e6,
    )
    solutions = least_squares.solve_all(stack)
    model = residuals.model_of(stack, solutions)
    sums = residuals.merged([residuals.read_sums(path) for path in tables.shards(args.residuals)])
    robust = None
    if settings["covariance"] in ("hc1", "hc3", "hac"):
        robust = list(residuals.covariance(sums, model, settings["covariance"]))
    fits = inference.fit(stack, settings["covariance"], settings["folds"], solutions, robust)
    if settings["wild_bootstrap"]:
        for index, (solution, fit) in enumerate(zip(solutions, fits, strict=True)):
            if fit.status == "ok":
                fit.p_wild = bootstrap.wild_p_values(
                    stack, index, solution, settings["wild_bootstrap"], settings["seed"]
                )
    coefficients = results.coefficients(
        fits,
        stack,
        covariance=settings["covariance"],
        alpha=settings["alpha"],
        adjust=settings["adjust"],
    )
    joint = joint_tests(stack, solutions, fits, settings)
    if settings["adjust"] == "max-t":
        rows = pd.MultiIndex.from_frame(coefficients[["layer", "term"]])
        coefficients["p_adjusted"] = joint.p_adjusted.reindex(rows).to_numpy()
    dropped = [
        sum(
            record["counts"]["dropped_rows"].get(columns.layer_name(layer), 0) for record in records
        )
        for layer in stack.layers
    ]
    diagnostics = residuals.diagnostics(sums, model).drop(columns="layer")
    fitted = results.fits_table(fits, stack.layers, dropped, diagnostics)
    influence = results.influence_table(fits, stack)

    shared = tables.of_all_shards(records[0])
    settings["hac_lags"] = sums.hac_lags
    record = tables.provenance(shared, "regression", settings, "numpy", "scipy", "statsmodels")
    name = tables.write_study(
        {args.coefficients: coefficients, args.fits: fitted, args.influence: influence},
        record,
        site=args.site,
        regression=args.regression,
    )
    text = json.dumps(bootstrap.record_of(joint, stack, settings), indent=2, sort_keys=True)
    writing.write_text(text + "\n", args.joint)

    by_layer = coefficients.groupby("layer")
    with writing.replaced_whole(args.summary) as folder:
        for layer, fit, row in zip(stack.layers, fits, fitted.itertuples(), strict=True):
            text = summaries.layer_summary(
                fit,
                by_layer.get_group(layer),
                row,
                title=f"{name}: layer {layer}",
                alpha=settings["alpha"],
                adjust=settings["adjust"],
                notes=notes(stack, settings),
            )
            path = folder / f"{columns.layer_name(layer)}.txt"
            path.write_text(text, encoding="utf-8")
    text = summaries.findings(
        coefficients, fitted, name=name, alpha=settings["alpha"], adjust=settings["adjust"]
    )
    text += summaries.advice(fitted, settings)
    text += "".join(f"  {line}\n" for line in bins_of(stack))
    writing.write_text(text, args.findings)
    program.log.info("%s: fitted %s", name, counted(len(fits), "layer"))


def joint_tests(stack, solutions, fits, settings):
    """Draw the largest statistic over the layers, where there are documents to draw from."""
    documents = int(stack.documents.max(initial=0))
    draws = settings["bootstrap"] if documents >= inference.FEWEST_DOCUMENTS else 0
    if settings["adjust"] == "max-t" and not draws:
        raise UserError(
            f"inference.adjust: found max-t with {counted(documents, 'document')}, expected at "
            f"least {inference.FEWEST_DOCUMENTS} to draw from; use adjust: holm"
        )
    estimates = bootstrap.drawn(stack, solutions, draws, settings["seed"])
    return bootstrap.joint(fits, stack, estimates, settings["alpha"])


def notes(stack, settings):
    """Return what a reader of a summary must know besides its numbers."""
    lines = []
    if settings["fixed_effects"] == "document":
        lines.append("Means of documents are taken out; R-squared is of what they leave.")
    if settings["bias_correction"] == "half-panel":
        lines.append("Coefficients are corrected by the half-panel jackknife.")
    return [*lines, *bins_of(stack)]


def bins_of(stack):
    """Return in words that documents share bins, if they do."""
    if not stack.binned:
        return []
    return [
        f"documents are in {len(stack.clusters):,} bins for jackknife, folds and bootstrap, as "
        "inference.stack_mb asks; CRV1 is by document"
    ]


if __name__ == "__main__":
    program.run(main, parser)
