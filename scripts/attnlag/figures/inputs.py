"""What figures are drawn from: the inputs of each stage by name, and what titles say of them.

Tables of results are small and are read whole.
"""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from attnlag.errors import counted
from attnlag.figures.legends import NO_ATTENTION
from attnlag.regression.labels import R_SQUARED, others_in_words, weights_in_words
from attnlag.storage import tables


class Inputs(SimpleNamespace):
    """The inputs of figures: tables, paths and settings by name.

    Parameters
    ----------
    made : Path
        A file whose provenance describes them.
    name : str
        Names of the model, the corpus and whatever else identifies them, for titles.
    extent : str
        Number of their tokens, rows or documents.
    """

    def __init__(self, made: Path, name: str, extent: str = "", **parts: Any):
        self.record = tables.read_provenance(made)
        self.name, self.extent = name, extent
        self.models = [self.record["model"]] if "model" in self.record else []
        super().__init__(**parts)

    @property
    def mixers(self) -> dict[str, str]:
        """What layers of a single model have in place of attention: the class, by layer."""
        model, *others = self.models
        return {} if others else model.get("mixers", {})

    @property
    def subtitle(self) -> str:
        """The second line of the titles."""
        others = self.mixers and f" ({NO_ATTENTION} {others_in_words(self.mixers)})"
        weights = weights_in_words(self.models)
        return " · ".join(filter(None, (f"{self.name}{others or ''}", weights, self.extent)))


def names_in(table: pd.DataFrame, *keys: str) -> str:
    """Return the names in the first row of a table: model, corpus, and further keys."""
    return ", ".join(table.iloc[0][["model", "corpus", *keys]])


def rows_of(
    table: pd.DataFrame, rows: str = "n_obs", documents: str = "n_documents", unit: str = "row"
) -> str:
    """Return the numbers of rows and documents of the layer with the most rows."""
    most = table[[rows, documents]].max()
    return f"{counted(int(most[rows]), unit)} from {counted(int(most[documents]), 'document')}"


def read_coefficients(path: Path, *keys: str, extent: str = "", **parts: Any) -> Inputs:
    """Return coefficients on all documents, named by keys, with the settings of their regression.

    The extent is by default that of the table ``fits`` among the parts.
    """
    coefficients = pd.read_parquet(path).query("subset == 'all'")
    record = tables.read_provenance(path)
    regression, design = record.settings("regression"), record.settings("design")
    return Inputs(
        path,
        names_in(coefficients, *keys),
        extent or rows_of(parts["fits"]),
        coefficients=coefficients,
        regression=regression,
        **{name: regression[name] for name in ("alpha", "adjust", "outcome", "equivalence_bound")},
        r_squared_name=R_SQUARED[regression["fixed_effects"]],
        drop_first=design["drop_first"],
        **parts,
    )


def read_regression(files: Any, layers: Sequence[int] | None) -> Inputs:
    """Return the tables of one regression and the files of its residuals and its design."""
    names = ("fits", "controls", "groups", "influence")
    beside: dict[str, Any] = {name: pd.read_parquet(getattr(files, name)) for name in names}
    return read_coefficients(
        files.coefficients,
        "site",
        "regression",
        **beside,
        residuals=files.residuals,
        design=files.design,
        layers=layers,
    )


def read_regressions(paths: Sequence[Path]) -> Inputs:
    """Return the coefficients of all regressions of one site, in the order of their panels."""
    # Regressions differ in their rows.
    documents = tables.read_provenance(paths[0])["corpus"]["documents"]
    extent = counted(documents, "document")
    studies = [read_coefficients(path, "site", extent=extent) for path in paths]
    return Inputs(paths[0], studies[0].name, extent, studies=studies)


def read_sites(norms: Sequence[Path], coefficients: Sequence[Path], fits: Sequence[Path]) -> Inputs:
    """Return norms and one regression of several sites, whose files come site by site."""
    shards = tables.by_site(norms)
    studies = [
        read_coefficients(path, "regression", fits=pd.read_parquet(path_of_fits))
        for path, path_of_fits in zip(coefficients, fits, strict=True)
    ]
    # All sites have the same tokens.
    extent, norms_of_sites = studies[0].extent, list(shards.values())
    beside: dict[str, Any] = {"norms": norms_of_sites, "studies": studies, "sites": list(shards)}
    return Inputs(coefficients[0], studies[0].name, extent, **beside)


def read_models(path: Path, site: str, regression: str) -> Inputs:
    """Return the coefficients of one site and regression in all models."""
    table = pd.read_parquet(path).query("site == @site and regression == @regression")
    studies = tables.read_provenance(path)["studies"]
    records = [
        tables.Record(study["record"]) for study in studies if study["regression"] == regression
    ]
    # Models differ in their tokens.
    documents = {r["corpus"]["name"]: r["corpus"]["documents"] for r in records}
    extent = ", ".join(
        f"{corpus} " * (len(documents) > 1) + counted(number, "document")
        for corpus, number in documents.items()
    )
    models = {study["record"]["model"]["name"]: study["record"]["model"] for study in studies}
    shared = tables.read_provenance(path).settings("regression")
    inputs = Inputs(
        path,
        f"{site}, {regression}",
        extent,
        coefficients=table,
        outcome=records[0].settings("regression")["outcome"],
        **{name: shared[name] for name in ("alpha", "adjust", "equivalence_bound")},
        mixers_of_models={name: m["mixers"] for name, m in models.items() if "mixers" in m},
    )
    inputs.models = list(models.values())
    return inputs


def read_classes(classes: Path, equal_slopes: Path) -> Inputs:
    """Return slopes by class of tokens of one regression."""
    slopes = pd.read_parquet(classes)
    return Inputs(
        classes,
        names_in(slopes, "site", "regression"),
        rows_of(slopes),
        slopes=slopes,
        tests=pd.read_parquet(equal_slopes),
        settings=tables.read_provenance(classes).settings("classes"),
    )


def read_geometry(means: Path) -> Inputs:
    """Return the means of where the adjustments of one site point."""
    table = pd.read_parquet(means)
    extent = rows_of(table, "tokens", "documents", "token")
    alpha = tables.read_provenance(means).settings("geometry_means")["alpha"]
    return Inputs(means, names_in(table, "site"), extent, means=table, alpha=alpha)


def read_heads(heads: Path, coefficients: Path) -> Inputs:
    """Return what attention heads write and attend to, and their regressions."""
    return Inputs(
        heads,
        f"{tables.names_of(heads)}, attention",
        heads=pd.read_parquet(heads),
        coefficients=pd.read_parquet(coefficients),
        alpha=tables.read_provenance(heads).settings("heads_table")["alpha"],
    )


def read_sources(shares: Path, lags: Path, readout: Sequence[Path]) -> Inputs:
    """Return the shares of tokens in adjustments of attention, and effects of sites on logits."""
    sources, logits = pd.read_parquet(shares), pd.concat(map(pd.read_parquet, readout))
    table = logits if sources.empty else sources
    return Inputs(
        shares,
        tables.names_of(shares),
        "" if table.empty else rows_of(table, "tokens", "documents", "token"),
        shares=sources,
        lags=pd.read_parquet(lags),
        readout=logits,
        settings=tables.read_provenance(shares).settings("traced_table"),
    )


def read_effects(
    elasticities: Path,
    total_effects: Path,
    prediction_vs_effect: Path,
    *,
    source: str,
    target: str,
) -> Inputs:
    """Return the effects of interventions, given the sites that are changed and observed."""
    effects = pd.read_parquet(elasticities)
    model_and_corpus = tables.names_of(elasticities)
    return Inputs(
        elasticities,
        f"{model_and_corpus}, {source if source == target else f'{source} to {target}'}",
        counted(int(effects["documents"].max()), "document"),
        elasticities=effects,
        total_effects=pd.read_parquet(total_effects),
        prediction_vs_effect=pd.read_parquet(prediction_vs_effect),
        alpha=tables.read_provenance(elasticities).settings("elasticities")["alpha"],
        source=source,
        target=target,
    )


def of_pair(inputs: Inputs, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table of effects that are about the pair of sites."""
    return table[(table["source_site"] == inputs.source) & (table["target_site"] == inputs.target)]
