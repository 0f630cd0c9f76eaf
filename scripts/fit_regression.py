#!/usr/bin/env python3
"""Fit one regression in every layer, from the cross-products of all shards.

Writes the tidy tables (coefficients, fits), a summary table per layer as text, and the findings
that the run ends with.
"""

from pathlib import Path

from attnlag import crossproducts, layout, program, regression, summaries, tables

parser = program.argument_parser(__doc__)
parser.add_argument("crossproducts", type=Path, nargs="+", help="the shards, in order")
parser.add_argument("--site", required=True)
parser.add_argument("--regression", required=True, help="the regression's name")
parser.add_argument("--coefficients", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--fits", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--summary", type=Path, required=True, help="folder for a text per layer")
parser.add_argument("--findings", type=Path, required=True, help="text")


def main(args):
    settings = {
        "covariance": "cluster",
        "alpha": 0.05,
        "adjust": "holm",
        "folds": 10,
        **args.settings,
    }
    records = [tables.read_provenance(path) for path in args.crossproducts]
    stack = crossproducts.merged([crossproducts.read_stack(path) for path in args.crossproducts])
    fits = regression.fit(stack, settings["covariance"], settings["folds"])
    coefficients = regression.coefficients(
        fits,
        stack,
        covariance=settings["covariance"],
        alpha=settings["alpha"],
        adjust=settings["adjust"],
    )
    dropped = [
        sum(record["counts"]["dropped_rows"].get(layout.layer_name(layer), 0) for record in records)
        for layer in stack.layers
    ]
    fitted = regression.fits_table(fits, stack.layers, dropped)

    # The first shard's record stands for all, but for what it says of that shard alone.
    shared = {key: records[0][key] for key in ("model", "corpus", "stages", "versions")}
    record = tables.provenance(shared, "regression", settings, "numpy", "scipy", "statsmodels")
    model, corpus = record["model"]["name"], record["corpus"]["name"]
    keys = {
        "model": model,
        "corpus": corpus,
        "site": args.site,
        "regression": args.regression,
    }
    for table, path in ((coefficients, args.coefficients), (fitted, args.fits)):
        for place, (key, value) in enumerate(keys.items()):
            table.insert(place, key, value)
        tables.write_frame(table, path, path.with_suffix(".csv"), record)

    for layer, fit in zip(stack.layers, fits, strict=True):
        text = summaries.layer_summary(
            fit,
            coefficients[coefficients["layer"] == layer],
            title=f"{', '.join(keys.values())}: layer {layer}",
            alpha=settings["alpha"],
            adjust=settings["adjust"],
        )
        tables.write_text(text, args.summary / f"{layout.layer_name(layer)}.txt")
    text = summaries.findings(
        coefficients,
        fitted,
        name=", ".join(keys.values()),
        alpha=settings["alpha"],
        adjust=settings["adjust"],
    )
    tables.write_text(text, args.findings)
    program.log.info("%s: fitted %d layers", ", ".join(keys.values()), len(fits))


if __name__ == "__main__":
    program.run(main, parser)
