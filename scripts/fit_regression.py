#!/usr/bin/env python3
"""Fit one regression in every layer, to all documents and to each group of them.

Reads the cross-products of all shards, and then their designs for the statistics that need
residuals. Writes the tables of coefficients, controls, fits, influential documents and groups, a
page of the coefficients, the sums over the residuals, a summary of each layer as text, and the
findings.
"""

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import (
    controls,
    covariates,
    crossproducts,
    fitting,
    groups,
    permutation,
    residuals,
)
from attnlag.regression.labels import weights_in_words
from attnlag.regression.settings import RegressionSettings
from attnlag.report import html_tables, summaries
from attnlag.storage import tables, writing

parser = program.argument_parser(__doc__, RegressionSettings)
parser.add_argument("crossproducts", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--design", type=Path, required=True, help="likewise")
parser.add_argument("--corpus", type=Path, required=True, help="the corpus (Parquet)")
parser.add_argument(
    "--permutations", type=Path, nargs="?", help="first shard of permuted documents, a control"
)
parser.add_argument(
    "--random-weights",
    type=Path,
    nargs="*",
    help="norms with random weights, a control: a file for each draw",
)
parser.add_argument(
    "--random-weights-stream", type=Path, nargs="*", help="norms of the stream, for relative norms"
)
parser.add_argument("--token-counts", type=Path, nargs="?", help=covariates.FILES["token_counts"])
for name in covariates.SHARDED:
    what = f"{covariates.FILES[name]}, first shard"
    parser.add_argument(f"--{name.replace('_', '-')}", type=Path, nargs="?", help=what)
parser.add_argument("--classes", type=Path, nargs="?", help="slopes by class of tokens")
parser.add_argument("--equal-slopes", type=Path, nargs="?", help="the tests that these are equal")
parser.add_argument("--steps", type=Path, nargs="?", help="coefficients as covariates enter")
parser.add_argument("--site", required=True)
parser.add_argument("--regression", required=True, help="the regression's name")
parser.add_argument("--threads", type=int, default=1, help="shards read at a time")
parser.add_argument(
    "--coefficients", type=Path, required=True, help="Parquet; CSV and HTML beside it"
)
parser.add_argument("--fits", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--influence", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--controls", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--groups", type=Path, required=True, help="Parquet; CSV beside it")
parser.add_argument("--residuals", type=Path, required=True, help="Parquet")
parser.add_argument("--joint", type=Path, required=True, help="JSON")
parser.add_argument("--summary", type=Path, required=True, help="folder for a text per layer")
parser.add_argument("--findings", type=Path, required=True, help="text")


def main(args):
    products = tables.shards(args.crossproducts)
    group_of = group_by_document(args.corpus)
    fitted = fitting.fit_regression(
        products, tables.shards(args.design), group_of, args.settings, args.threads
    )
    settings = fitted.settings
    of_groups = groups.settings_of_groups(settings)
    by_group = groups.coefficients_by_group(
        [crossproducts.read_shard(path) for path in products],
        group_of,
        of_groups,
    )
    order = random = None
    if args.permutations:
        paths = tables.shards(args.permutations)
        permuted = permutation.merged_products([permutation.read_products(path) for path in paths])
        permuted = permutation.merged_terms(permuted, fitted.kept_terms)
        order = permutation.order_test(permuted, alpha=settings.alpha, adjust=settings.adjust)
    if args.random_weights:
        assert settings.control_design is not None
        # A few documents of all shards.
        whole = pq.read_table(args.random_weights[0], columns=["document"])
        documents = set(whole["document"].to_pylist())
        given = {name: getattr(args, name) for name in covariates.SHARDED}
        files = {name: tables.shards(path) for name, path in given.items() if path}
        facts = covariates.read_facts(settings.control_design, vars(args) | files, documents)
        random = controls.random_weights(
            *(args.random_weights, settings, facts),
            [crossproducts.read_shard(path) for path in products],
            args.random_weights_stream or (),
        )
    held_against = controls.controls_table(fitted.coefficients, fitted.goodness, order, random)

    shared = tables.of_all_shards(tables.read_provenance(products[0]))
    packages = ("numpy", "scipy", "statsmodels")
    used = {**asdict(settings), "hac_lags": fitted.residual_sums.hac_lags}
    record = tables.provenance(shared, "regression", used, *packages)
    study = {"site": args.site, "regression": args.regression}
    frames = {
        args.coefficients: fitted.coefficients,
        args.fits: fitted.goodness,
        args.influence: fitted.influence,
        args.controls: held_against,
    }
    name = tables.write_study(frames, record, **study)
    record_of_groups = tables.provenance(shared, "groups", asdict(of_groups), *packages)
    tables.write_study({args.groups: by_group}, record_of_groups, **study)
    record["residuals"] = residuals.record_of(fitted.residual_sums)
    tables.write_table(residuals.to_table(fitted.residual_sums), args.residuals, record)

    html_tables.write_coefficients(
        fitted.coefficients,
        args.coefficients.with_suffix(".html"),
        weights=weights_in_words([record["model"]]),
        alpha=settings.alpha,
        adjust=settings.adjust,
        negligible=settings.negligible,
    )
    writing.write_text(json.dumps(fitted.joint, indent=2, sort_keys=True) + "\n", args.joint)
    with writing.replaced_whole(args.summary) as folder:
        for layer, text in summaries.layer_summaries(fitted, name).items():
            writing.write_text(text, folder / f"{layer}.txt")
    by_class = steps = None
    if args.classes:
        steps = pd.read_parquet(args.steps)
        by_class = pd.read_parquet(args.classes), pd.read_parquet(args.equal_slopes)
    text = summaries.findings(fitted, held_against, by_group, name, by_class, steps)
    writing.write_text(text, args.findings)
    program.log.info(
        "%s: fitted %s, and %s",
        name,
        counted(len(fitted.layers), "layer"),
        counted(len(groups.fitted_groups(by_group)[0]), "group"),
    )


if __name__ == "__main__":
    program.run(main, parser)
