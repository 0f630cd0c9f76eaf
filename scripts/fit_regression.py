"""Fit one regression in every layer, to all documents and to each group of them.

The cross-products of all shards are read first, and then the designs, for what needs residuals.
"""

import attnlag.pipeline.program as program

import pyarrow.parquet as pq

from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted
from attnlag.regression.beyond import groups
from attnlag.regression.design import covariates
from attnlag.regression.estimation import crossproducts
from attnlag.regression.inference import controls, fitting, permutation
from attnlag.regression.settings import RegressionSettings
from attnlag.storage import tables

PACKAGES = ("numpy", "scipy", "statsmodels")


def main(job):
    group_of = group_by_document(job.input.corpus)
    fitted = fitting.fit_regression(
        job.input.crossproducts, job.input.design, group_of, job.settings, job.threads
    )
    settings = fitted.settings
    shards = [crossproducts.read_shard(path) for path in job.input.crossproducts]
    settings_of_groups = groups.settings_of_groups(settings)
    by_group = groups.coefficients_by_group(shards, group_of, settings_of_groups)
    order = random = None
    if job.input.permutations:
        products = list(map(permutation.read_products, job.input.permutations))
        permuted = permutation.merged_terms(
            permutation.merged_products(products), fitted.kept_terms
        )
        order = permutation.order_test(permuted, alpha=settings.alpha, adjust=settings.adjust)
    if job.input.random_weights:
        assert settings.control_design is not None
        # A few documents of all shards.
        keys = pq.read_table(job.input.random_weights[0], columns=["document"])
        facts = covariates.read_facts(
            settings.control_design, vars(job.input), set(keys["document"].to_pylist())
        )
        random = controls.random_weights(
            job.input.random_weights, settings, facts, shards, job.input.random_weights_stream
        )
    with_controls = controls.controls_table(fitted.coefficients, fitted.goodness, order, random)

    shared = tables.of_all_shards(job.input.crossproducts)
    used = {**settings.model_dump(), "hac_lags": fitted.residual_sums.hac_lags}
    facts_of_fit = {"merged": fitted.merged, "bins": fitted.bins}
    record = tables.provenance(shared, "regression", used, *PACKAGES, **facts_of_fit)
    frames = {
        job.output.coefficients: fitted.coefficients,
        job.output.fits: fitted.goodness,
        job.output.influence: fitted.influence,
        job.output.controls: with_controls,
        job.output.medians: fitted.medians,
    }
    names = {"site": job.names.site, "regression": job.names.regression}
    if random:
        frames[job.output.before_training] = random.compared
    name = tables.write_results(frames, record, **names)
    record_of_groups = tables.provenance(shared, "groups", settings_of_groups, *PACKAGES)
    tables.write_results({job.output.groups: by_group}, record_of_groups, **names)
    sums = fitted.residual_sums
    record["residuals"] = sums.facts()
    tables.write_table(sums.to_table(layer=sums.layers), job.output.residuals, record)
    layers = counted(len(fitted.layers), "layer")
    fitted_groups = counted(len(groups.fitted_groups(by_group)[0]), "group")
    program.log.info(f"{name}: fitted {layers}, and {fitted_groups}")


if __name__ == "__main__":
    program.run(main, RegressionSettings)
