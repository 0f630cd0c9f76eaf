"""Outputs of the regressions of one site, from the design to the findings."""

from attnlag.pipeline.entries.output import (
    COEFFICIENTS,
    KEYS,
    LAYERS,
    SITE_FOLDER,
    STUDY,
    Output,
    by_class,
    by_number,
    permuted,
    with_token_effects,
)

STUDY_FOLDER = f"{SITE_FOLDER}/{{regression}}"

MEDIANS = {
    "median": ("as the estimate", "of a lag or lead: median over the layers"),
    "median_low": ("as the estimate", "lower end of its interval, for all subsets at once"),
    "median_high": ("as the estimate", "its upper end"),
}

OUTPUTS = [
    Output(
        f"{STUDY_FOLDER}/design/{{shard}}.parquet",
        "outcome and regressors, a row per token that has them",
        {
            **KEYS,
            f"{LAYERS}.y": (
                "log norm, or that of the outcome",
                "natural log of the norm, or another outcome (`outcome`); empty if the "
                "layer has no row",
            ),
            f"{LAYERS}.TERM": ("as the term", "a regressor that differs between layers"),
            "TERM": ("as the term", "a regressor that is the same in all layers"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/token_effects.parquet",
        "effects of tokens in a design (`fixed_effects: [document, token]`): a "
        "row per effect and token",
        {
            "effect": ("", "`token`, or `previous_token`"),
            "token_id": KEYS["token_id"],
            f"{LAYERS}.y": ("log norm", "its effect on the outcome"),
            f"{LAYERS}.TERM": ("as the term", "its effect on a regressor"),
            "TERM": ("as the term", "likewise"),
        },
        when=with_token_effects,
    ),
    Output(
        f"{STUDY_FOLDER}/within_tokens/{{shard}}.parquet",
        "`design` without these effects: a row per token",
        {
            **KEYS,
            f"{LAYERS}.y": ("log norm", "as in `design`"),
            f"{LAYERS}.TERM": ("as the term", "as in `design`"),
            "TERM": ("as the term", "as in `design`"),
        },
        when=with_token_effects,
    ),
    Output(
        f"{STUDY_FOLDER}/crossproducts/{{shard}}.parquet",
        "the sums that least squares needs: a row per document and layer",
        {
            "document": KEYS["document"],
            "layer": ("", "layer of the model, counted from 0"),
            "half": ("", "0 and 1: the halves of the document; for the half-panel jackknife only"),
            "n": ("", "rows of the design"),
            "products": (
                "products of the columns",
                "upper triangle, row by row, of Σ w w' for w = [1, y, regressors] about the centre "
                "in the metadata",
            ),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/residuals.parquet",
        "sums over the residuals e: a row per layer. x is [1, regressors] without their means; z "
        "is x and the ten residuals before",
        {
            "layer": ("", "layer of the model, counted from 0"),
            "n": ("", "rows of the design"),
            "effects": ("", "documents whose means were removed"),
            "powers": ("powers of log norm", "Σ e, Σ e², Σ e³, Σ e⁴"),
            "smallest": ("log norm", "the smallest residual"),
            "largest": ("log norm", "the largest"),
            "products": ("", "Σ z z', row by row"),
            "scores": ("", "Σ z e"),
            "squares": ("", "Σ x e²"),
            "meat_hc1": ("", "Σ e² xx'"),
            "meat_hc3": ("", "Σ e²/(1 - h)² xx', h the leverage"),
            "meat_hac": ("", "`meat_hc1` and the weighted products with the scores before"),
            "differences": ("log norm squared", "Σ (e - e before)² over neighbours"),
            "pairs": ("", "pairs of rows at distances 1 to 20"),
            "lagged": ("log norm squared", "Σ of the products of their residuals"),
            "histogram": ("", "counts of e / sigma, on the grid of the figures"),
            "fitted_histogram": ("", "counts of fitted values and e / sigma, on a coarser grid"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/permutations/{{shard}}.parquet",
        "cross-products with the tokens of each document permuted: a row per layer",
        {
            "layer": ("", "layer of the model, counted from 0"),
            "centre": ("as the columns", "what is subtracted from each element of w"),
            "products": (
                "products of the columns",
                "as in `crossproducts`, over all documents: in the real order, then in each draw",
            ),
            "squares": ("products of the columns", "Σ w², before document means are removed"),
            "documents": ("", "documents with rows"),
        },
        when=permuted,
    ),
    Output(
        f"{STUDY_FOLDER}/controls.csv",
        "the controls of each lag and lead: a row per layer and term. A control that is "
        "turned off has no columns",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "term": ("", "the lag or lead"),
            "estimate": ("log norm per log norm", "its coefficient, as in `coefficients.csv`"),
            "r_squared": ("", "R² of the layer, as in `fits.csv`"),
            "permuted_mean": (
                "as the estimate",
                "mean coefficient with the tokens of each document permuted, before any "
                "correction of bias",
            ),
            "permuted_low": ("as the estimate", "lower end of what holds 1 - alpha of these"),
            "permuted_high": ("as the estimate", "its upper end"),
            "order_statistic": (
                "",
                "distance of all lags and leads of the layer from their permuted mean, squared, in "
                "units of the permuted covariance",
            ),
            "order_p_value": ("", "p-value of the layer: order within documents means nothing"),
            "order_p_adjusted": ("", "the same, corrected over the layers"),
            "permutations": ("", "number of permutations"),
            "permuted_within": ("", "what tokens are exchanged in: `document`, or `upos` in it"),
            "random_weights": (
                "as the estimate",
                "the coefficient with random weights, not corrected for bias",
            ),
            "random_weights_sd": (
                "as the estimate",
                "its standard deviation over draws of the weights, each over the same documents",
            ),
            "trained": (
                "as the estimate",
                "the coefficient of the trained model on the documents of `random_weights`, not "
                "corrected for bias either",
            ),
            "random_weights_sum": ("as the estimate", "sum of the coefficients of the lags"),
            "random_weights_r_squared": ("", "R² of the layer with random weights"),
            "random_weights_documents": ("", "documents that these rest on"),
            "random_weights_draws": ("", "draws of the weights"),
            "random_weights_draws_documents": ("", "documents that all draws have in common"),
            "trained_sum": ("as the estimate", "as `random_weights_sum`, of `trained`"),
            "trained_r_squared": ("", "R² of the layer in the fit of `trained`"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/coefficients.csv",
        "the coefficients: a row per layer and term",
        COEFFICIENTS,
    ),
    Output(
        f"{STUDY_FOLDER}/fits.csv",
        "goodness of fit, residual tests and status: a row per layer",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "n_obs": ("", "rows of the design"),
            "n_dropped": ("", "rows left out for a norm that is zero or not finite"),
            "n_documents": ("", "documents that give rows"),
            "effective_documents": (
                "",
                "effective number of documents, for the nearest lag",
            ),
            "r_squared": (
                "",
                "share of the variance that is explained; with document effects, within documents",
            ),
            "adj_r_squared": ("", "the same, adjusted for the number of terms"),
            "cv_r_squared": ("", "R² of documents that the fit did not see, by folds"),
            "loo_r_squared": ("", "the same, one document at a time"),
            "partial_r_squared": ("", "R² of the lags and leads, given the other terms"),
            "sigma": ("log norm", "standard deviation of the residuals"),
            "condition_number": ("", "of the regressors, the intercept among them"),
            "f_statistic": ("", "Wald test that all slopes are zero; AHT for `cluster`"),
            "f_p_value": ("", "its p-value"),
            "log_likelihood": ("nats", "Gaussian, at the estimates; empty with half-panel"),
            "skewness": ("", "of the residuals"),
            "kurtosis": ("", "of the residuals, 3 for the normal distribution"),
            "jarque_bera": ("", "test of the residuals' normality"),
            "jarque_bera_p_value": ("", "its p-value"),
            "breusch_pagan": ("", "test that their variance does not depend on the regressors"),
            "breusch_pagan_p_value": ("", "its p-value"),
            "breusch_godfrey": ("", "test that they are not autocorrelated, lags 1 to 10"),
            "breusch_godfrey_p_value": ("", "its p-value"),
            "durbin_watson": ("", "near 2 without autocorrelation; biased by lagged outcomes"),
            "residual_pNN": ("log norm", "percentile NN of the residuals"),
            "halves_f": (
                "",
                "AHT test that the halves of documents have equal lags, which `half-panel` "
                "presumes; empty without it",
            ),
            "halves_df": ("", "number of lags and leads tested"),
            "halves_df_residual": ("", "its denominator's degrees of freedom"),
            "halves_p_value": ("", "its p-value"),
            "halves_p_adjusted": ("", "the same, corrected over the layers"),
            "mixer": ("", "`attention`, or the class of what the layer has in its place"),
            "status": ("", "`ok`, or why the layer was not fitted"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/influence.csv",
        "the most influential documents, at most 100 for each lag or lead and layer",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "term": ("", "the lag or lead"),
            "document": KEYS["document"],
            "n_obs": ("", "rows of the document"),
            "change": ("as the estimate", "estimate - estimate without the document"),
            "change_in_se": ("standard errors", "the same, over the standard error"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/joint.json",
        "critical values for all layers at once, from the bootstrap of documents",
        {
            "alpha": ("", "significance level"),
            "critical_values": ("standard errors", "by term: half of the width of a joint band"),
            "documents": ("", "documents drawn from, or groups (`inference.cluster`)"),
            "bins": ("", "bins drawn from, where documents share them, else null"),
            "draws": ("", "draws that all fitted layers could be estimated in"),
            "medians": (
                "as the coefficients",
                "by term: median over the layers, with its interval",
            ),
            "seed": ("", "seed of the draws"),
        },
    ),
    Output(
        f"{STUDY_FOLDER}/groups.csv",
        "the regression of each group of documents by itself: a row per group, layer and term",
        {
            **{name: COEFFICIENTS[name] for name in list(COEFFICIENTS)[:-1]},
            "n_obs": ("", "rows of the group"),
            "n_documents": ("", "documents of the group that give rows"),
            "status": ("", "`ok`, or why the layer was not fitted"),
            **MEDIANS,
        },
        wanted=True,
    ),
    Output(
        f"{STUDY_FOLDER}/scale.json",
        "the distribution over the corpus of the number by which slopes differ (`by`)",
        {
            "mean": ("as the number", "mean over all tokens that have it"),
            "std": ("as the number", "standard deviation; 1 if all numbers are equal"),
            "cuts": ("as the number", "the largest in the lowest and in the middle third"),
            "means": ("as the number", "mean of each third; null for a third without tokens"),
        },
        when=by_number,
    ),
    Output(
        f"{STUDY_FOLDER}/class_crossproducts/{{shard}}.parquet",
        "`crossproducts` with the level and the slopes of each class of tokens (`by`) beside the "
        "terms: a row per document and layer",
        {
            "document": KEYS["document"],
            "layer": ("", "layer of the model, counted from 0"),
            "half": ("", "0 and 1: the halves of the document; for the half-panel jackknife only"),
            "n": ("", "rows of the design"),
            "products": ("products of the columns", "as in `crossproducts`"),
        },
        when=by_class,
    ),
    Output(
        f"{STUDY_FOLDER}/classes.csv",
        "slopes by class of token (`by`): a row per class, layer, and lag or lead; `all` are the "
        "slopes that all classes share, with levels of their own",
        {
            **{name: COEFFICIENTS[name] for name in list(COEFFICIENTS)[:-1]},
            "subset": (
                "",
                "the class of tokens; `other`: all of too few rows or documents. By a number: "
                "the `low`, `middle` and `high` third; `-1 SD`, `0 SD` and `+1 SD`, where slopes "
                "change linearly with it, and what they change by, `per SD`",
            ),
            "difference": ("as the estimate", "the estimate less that of `all`"),
            "difference_std_error": ("as the estimate", "its standard error"),
            "difference_p_value": ("", "its p-value"),
            "difference_p_adjusted": ("", "corrected over all layers and classes of the term"),
            **MEDIANS,
            "n_obs": ("", "rows of the class"),
            "n_documents": ("", "documents with such rows"),
            "status": ("", "`ok`, or why the layer was not fitted"),
            "at": (
                "of the property",
                "by a number: where on it the slope is; of a third, the mean of its tokens",
            ),
        },
        when=by_class,
        wanted=True,
    ),
    Output(
        f"{STUDY_FOLDER}/equal_slopes.csv",
        "tests that all classes of tokens have equal slopes: a row per layer, lag or lead, and "
        "hypothesis",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "term": ("", "the lag or lead"),
            "hypothesis": (
                "",
                "`equal`: all classes have one slope; by a number also `linear`: slopes of thirds "
                "add nothing to those that change linearly with it",
            ),
            "f_statistic": ("", "Wald test of it"),
            "df": ("", "classes less one"),
            "df_residual": ("", "degrees of freedom of the errors"),
            "p_value": ("", "its p-value"),
            "p_adjusted": ("", "corrected over the layers"),
            "merged": ("", "classes that `other` stands for"),
        },
        when=by_class,
        wanted=True,
    ),
    Output(
        f"{STUDY_FOLDER}/steps.csv",
        "lags and leads as more is held fixed, for regressions with `by`: a row per layer, step "
        "and term. No covariates but the dummies of the steps",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "step": (
                "",
                "what entered last: `pooled` (nothing yet), then one after another `document`, "
                "`upos`, `upos_previous`, `token`, `token_previous`",
            ),
            "term": ("", "the lag or lead"),
            "estimate": ("log norm per log norm", "its coefficient"),
            "std_error": ("as the estimate", "its standard error, clustered by document"),
            "r_squared": ("", "share of all variance that lags and dummies explain"),
            "effects": ("", "independent dummies, the constant among them"),
            "conf_low": ("as the estimate", "lower end of its interval"),
            "conf_high": ("as the estimate", "its upper end"),
            "n_obs": ("", "rows of the layer"),
            "n_documents": ("", "documents with rows"),
            "sampled": ("", "whether these documents are a sample, with at most 500,000 rows"),
        },
        when=by_class,
        wanted=True,
    ),
    Output(
        f"{STUDY_FOLDER}/parts.csv",
        "Gelbach's decomposition of the change from the first to the last step: a row per layer, "
        "term and part",
        {
            **STUDY,
            "layer": ("", "layer of the model, counted from 0"),
            "term": ("", "the lag or lead"),
            "part": (
                "",
                "`document`; `upos`: what tokens of a part of speech have in common; "
                "`upos_previous`: the same for the token before; `tokens`: what both tokens have "
                "beyond it",
            ),
            "change": (
                "as the estimate",
                "its part; all parts add up to the change; empty if equally good fits differ in it",
            ),
        },
        when=by_class,
        wanted=True,
    ),
    Output(
        f"{STUDY_FOLDER}/coefficients.html",
        "the coefficients as a page to sort and filter, rows tinted by `finding`",
        wanted=True,
    ),
    Output(f"{STUDY_FOLDER}/summary/layer_NN.txt", "the regression table of a layer"),
    Output(f"{STUDY_FOLDER}/findings.txt", "the sentences that a run ends with", wanted=True),
]
