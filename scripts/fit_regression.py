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

from attnlag.adjustments.columns import layer_name
from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted
from attnlag.regression.beyond import groups
from attnlag.regression.design import covariates
from attnlag.regression.estimation import crossproducts
from attnlag.regression.inference import controls, fitting, permutation
from attnlag.regression.settings import RegressionSettings
from attnlag.report import findings, html_tables
from attnlag.report.summaries import layer_summary
from attnlag.storage import tables, writing

PACKAGES = ("numpy", "scipy", "statsmodels")


def main(job):
    given, output, group_of = job.input, job.output, group_by_document(job.input.corpus)
    fitted = fitting.fit_regression(
        given.crossproducts, given.design, group_of, job.settings, job.threads or 1
    )
    settings = fitted.settings
    shards = [crossproducts.read_shard(path) for path in given.crossproducts]
    of_groups = groups.settings_of_groups(settings)
    by_group = groups.coefficients_by_group(shards, group_of, of_groups)
    order = random = None
    if given.permutations:
        products = list(map(permutation.read_products, given.permutations))
        merged = permutation.merged_products(products)
        permuted = permutation.merged_terms(merged, fitted.kept_terms)
        order = permutation.order_test(permuted, alpha=settings.alpha, adjust=settings.adjust)
    if given.random_weights:
        assert settings.control_design is not None
        # A few documents of all shards.
        whole = pq.read_table(given.random_weights[0], columns=["document"])
        documents = set(whole["document"].to_pylist())
        facts = covariates.read_facts(settings.control_design, vars(given), documents)
        random = controls.random_weights(
            given.random_weights, settings, facts, shards, given.random_weights_stream
        )
    held_against = controls.controls_table(fitted.coefficients, fitted.goodness, order, random)

    shared = tables.of_all_shards(given.crossproducts)
    used = {**settings.model_dump(), "hac_lags": fitted.residual_sums.hac_lags}
    record = tables.provenance(shared, "regression", used, *PACKAGES, merged=fitted.merged)
    names = {"site": job.names.site, "regression": job.names.regression}
    frames = {
        output.coefficients: fitted.coefficients,
        output.fits: fitted.goodness,
        output.influence: fitted.influence,
        output.controls: held_against,
    }
    name = tables.write_results(frames, record, **names)
    record_of_groups = tables.provenance(shared, "groups", of_groups, *PACKAGES)
    tables.write_results({output.groups: by_group}, record_of_groups, **names)
    sums = fitted.residual_sums
    record["residuals"] = sums.facts()
    tables.write_table(sums.to_table(layer=sums.layers), output.residuals, record)
    page = output.coefficients.with_suffix(".html")
    html_tables.write_coefficients(fitted.coefficients, page, record["model"], settings)
    writing.write_text(json.dumps(fitted.joint, indent=2, sort_keys=True) + "\n", output.joint)
    with writing.replaced_whole(output.summary) as folder:
        for layer in fitted.layers:
            text = layer_summary(fitted, layer, name)
            writing.write_text(text, folder / f"{layer_name(layer)}.txt")
    paths = (given.classes, given.equal_slopes, given.steps)
    by_class = [pd.read_parquet(path) for path in paths if path]
    text = findings.of_regression(fitted, held_against, by_group, name, by_class)
    writing.write_text(text, output.findings)
    layers = counted(len(fitted.layers), "layer")
    of_documents = counted(len(groups.fitted_groups(by_group)[0]), "group")
    program.log.info(f"{name}: fitted {layers}, and {of_documents}")


if __name__ == "__main__":
    program.run(main, RegressionSettings)
