#!/usr/bin/env python3
"""Fit one regression in every layer, to all documents and to each group of them.

Reads the cross-products of all shards, and then their designs for the statistics that need
residuals. Writes the tables of coefficients, controls, fits, influential documents and groups, a
page of the coefficients, the sums over the residuals, a summary of each layer as text, and the
findings.
"""

import json

import attnlag.pipeline.program as program

import pandas as pd
import pyarrow.parquet as pq

from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted
from attnlag.regression.beyond import groups
from attnlag.regression.design import covariates
from attnlag.regression.estimation import crossproducts
from attnlag.regression.inference import controls, fitting, permutation
from attnlag.regression.labels import weights_in_words
from attnlag.regression.settings import RegressionSettings
from attnlag.report import html_tables, summaries
from attnlag.storage import tables, writing


def main(job):
    products = job.input.crossproducts
    group_of = group_by_document(job.input.corpus)
    fitted = fitting.fit_regression(
        products, job.input.design, group_of, job.settings, job.threads or 1
    )
    settings = fitted.settings
    of_groups = groups.settings_of_groups(settings)
    by_group = groups.coefficients_by_group(
        [crossproducts.read_shard(path) for path in products],
        group_of,
        of_groups,
    )
    order = random = None
    if job.input.permutations:
        shards = map(permutation.read_products, job.input.permutations)
        permuted = permutation.merged_products(list(shards))
        permuted = permutation.merged_terms(permuted, fitted.kept_terms)
        order = permutation.order_test(permuted, alpha=settings.alpha, adjust=settings.adjust)
    if job.input.random_weights:
        assert settings.control_design is not None
        # A few documents of all shards.
        whole = pq.read_table(job.input.random_weights[0], columns=["document"])
        documents = set(whole["document"].to_pylist())
        facts = covariates.read_facts(settings.control_design, vars(job.input), documents)
        random = controls.random_weights(
            *(job.input.random_weights, settings, facts),
            [crossproducts.read_shard(path) for path in products],
            job.input.random_weights_stream,
        )
    held_against = controls.controls_table(fitted.coefficients, fitted.goodness, order, random)

    shared = tables.of_all_shards(products)
    packages = ("numpy", "scipy", "statsmodels")
    used = {**settings.model_dump(), "hac_lags": fitted.residual_sums.hac_lags}
    record = tables.provenance(shared, "regression", used, *packages)
    study = {"site": job.names.site, "regression": job.names.regression}
    frames = {
        job.output.coefficients: fitted.coefficients,
        job.output.fits: fitted.goodness,
        job.output.influence: fitted.influence,
        job.output.controls: held_against,
    }
    name = tables.write_study(frames, record, **study)
    record_of_groups = tables.provenance(shared, "groups", of_groups, *packages)
    tables.write_study({job.output.groups: by_group}, record_of_groups, **study)
    sums = fitted.residual_sums
    record["residuals"] = sums.facts()
    tables.write_table(sums.to_table(layer=sums.layers), job.output.residuals, record)

    html_tables.write_coefficients(
        fitted.coefficients,
        job.output.coefficients.with_suffix(".html"),
        weights=weights_in_words([record["model"]]),
        alpha=settings.alpha,
        adjust=settings.adjust,
        negligible=settings.negligible,
    )
    writing.write_text(json.dumps(fitted.joint, indent=2, sort_keys=True) + "\n", job.output.joint)
    with writing.replaced_whole(job.output.summary) as folder:
        for layer, text in summaries.layer_summaries(fitted, name).items():
            writing.write_text(text, folder / f"{layer}.txt")
    by_class = steps = None
    if job.input.classes:
        steps = pd.read_parquet(job.input.steps)
        by_class = pd.read_parquet(job.input.classes), pd.read_parquet(job.input.equal_slopes)
    text = summaries.findings(fitted, held_against, by_group, name, by_class, steps)
    writing.write_text(text, job.output.findings)
    program.log.info(
        "%s: fitted %s, and %s",
        name,
        counted(len(fitted.layers), "layer"),
        counted(len(groups.fitted_groups(by_group)[0]), "group"),
    )


if __name__ == "__main__":
    program.run(main, RegressionSettings)
