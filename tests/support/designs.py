"""Norms and designs with known structure, for the tests of the regression."""

import gc
import weakref
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa

from attnlag.corpus import tokens
from attnlag.corpus.catalogue import FILES
from attnlag.quantities.columns import KEYS, layer_name
from attnlag.regression.across_models.comparison import Profile
from attnlag.regression.design.counts import Counts
from attnlag.regression.design.design import Formula, designs
from attnlag.regression.settings import DesignSettings, LagsOfPartsSettings
from attnlag.storage import tables

TERMS = ["y", "lag_1", "lag_2"]

# Lengths and slopes differ, so that no two classes or documents are alike.
SLOPES = {"NOUN": 0.5, "VERB": 0.2, "DET": -0.3, "ADJ": 0.1}
RARE = "INTJ"


def design_settings(lags=(), leads=(), covariates=(), **stated):
    """Return the settings of a design, stated in part, with any covariates."""
    terms = {"lags": lags, "leads": leads, "covariates": list(covariates)}
    return DesignSettings.model_construct(**terms, **stated)


def design_table(lengths, layers=2, seed=0, mean=1.0, missing=0.0):
    """Return a design of ragged documents with dynamics, document effects and gaps."""
    generator = np.random.default_rng(seed)
    rows = sum(lengths)
    codes = np.repeat(np.arange(len(lengths)), lengths)
    columns = {
        "document": pa.array([f"d{code}" for code in codes], pa.string()).dictionary_encode()
    }
    for layer in range(layers):
        x = generator.normal(size=(rows, 2)) + generator.normal(size=(len(lengths), 1))[codes]
        effect = generator.normal(size=len(lengths))[codes]
        y = (
            0.3 * x[:, 0]
            - 0.1 * x[:, 1]
            + effect
            + generator.normal(size=rows) * (1 + x[:, 0] ** 2)
        )
        gap = generator.random(rows) < missing
        for term, values in zip(TERMS, (y, x[:, 0], x[:, 1]), strict=True):
            values = np.where(gap, np.nan, values + mean)
            columns[f"layer_{layer:02d}.{term}"] = pa.array(values, from_pandas=True)
    return pa.table(columns)


def sequences_of(documents):
    """Return the lengths of sequences by document and window, given the windows of each."""
    return {(f"d{i}", w): n for i, windows in enumerate(documents) for w, n in enumerate(windows)}


def norms_table(lengths, values=(), token_ids=None):
    """Return the keys of tokens of sequences and norms of them, (layers, tokens).

    ``lengths`` are the tokens of each sequence, by document and window.
    """
    tokens = [(*sequence, place) for sequence, n in lengths.items() for place in range(n)]
    document, window, position = zip(*tokens, strict=True) if tokens else ((), (), ())
    token_ids = [0] * len(tokens) if token_ids is None else token_ids
    columns = [pa.array(document, pa.string()).dictionary_encode()]
    columns += [pa.array(column, pa.int32()) for column in (window, position, token_ids)]
    names = [*KEYS, *map(layer_name, range(len(values)))]
    return pa.table([*columns, *map(pa.array, values)], names)


def batches_of(table, rows):
    """Yield a table in batches of whole documents, as of a file that has a dictionary in each."""
    return tables.whole_documents(
        changed(batch, {"document": batch["document"].cast(pa.string()).dictionary_encode()})
        for batch in table.to_batches(rows)
    )


def tokens_table(sequences):
    """Return what passes read of a tokens file, given the ids by document and window."""
    columns = {
        "document": [document for document, _ in sequences],
        "window": [window for _, window in sequences],
        "input_ids": list(sequences.values()),
    }
    return pa.table(columns, schema=pa.schema([tokens.SCHEMA.field(name) for name in columns]))


def effects_table(rows):
    """Return derivatives: (document, source layer, target layer, lag, positions, sum)."""
    names = ["document", "source_layer", "target_layer", "lag", "positions", "effect_sum"]
    sites = {"source_site": "attention", "target_site": "attention"}
    table = pd.DataFrame(rows, columns=names)
    return table.assign(**sites, intervention="derivative")


def changed(table, columns):
    """Return a table with columns replaced or added."""
    for name, values in columns.items():
        place, column = table.schema.get_field_index(name), pa.array(values)
        if place >= 0:
            table = table.set_column(place, name, column)
        else:
            table = table.append_column(name, column)
    return table


def pieces_of(table, *documents):
    """Return a design in pieces that begin with the documents of some numbers."""
    edges = np.searchsorted(table["document"].to_pandas().cat.codes, sorted(documents))
    pieces = [table.slice(a, b - a) for a, b in pairwise([0, *edges, len(table)])]
    return [piece.unify_dictionaries().combine_chunks() for piece in pieces]


def one_alive(monkeypatch, module, name):
    """Hold one result of a function to be alive at a time; return weak references to all."""
    function, results = getattr(module, name), []

    def observed(*arguments):
        gc.collect()
        assert not any(result() is not None for result in results)
        result = function(*arguments)
        results.append(weakref.ref(result))
        return result

    monkeypatch.setattr(module, name, observed)
    return results


def profile_of_documents(values, terms):
    """Return the profile of the means of documents, given their (documents, layers, terms)."""
    n, estimate = len(values), values.mean(axis=0)
    scores = (values - estimate) / np.sqrt(n * (n - 1))
    return Profile(terms, estimate, scores, np.full(estimate.shape, n - 1.0))


FREQUENCY = np.log([0.1, 0.4, 0.2, 0.3])
FACTS = {"log_frequency": FREQUENCY}


def corpus_of(level=0.0, dynamics=(0.0, 0.0), documents=30, tokens=40, seed=1, layers=2):
    """Return norms that follow an autoregression around the means of their documents."""
    random = np.random.default_rng(seed)
    logs = random.normal(size=(layers, documents, tokens))
    for t in range(2, tokens):
        logs[..., t] += dynamics[0] * logs[..., t - 1] + dynamics[1] * logs[..., t - 2]
    logs += level * random.normal(size=(documents, 1))
    lengths = {(f"d{i}", 0): tokens for i in range(documents)}
    token_ids = random.integers(0, 4, documents * tokens)
    return norms_table(lengths, np.exp(logs).reshape(layers, -1), token_ids)


HEADS = LagsOfPartsSettings(
    regression="within",
    design=DesignSettings(lags=[1, 2]),
    fixed_effects="document",
    halves=False,
    covariance="cluster-crv1",
)


def design_of(norms, settings, facts=FACTS, rows=10**6, counts=None):
    """Return the design of a table of norms as one table."""
    parts = designs(batches_of(norms, rows), Formula(settings, facts), counts or Counts())
    return pa.Table.from_batches(parts).unify_dictionaries().combine_chunks()


def design_of_tokens(tokens, rows=10**6, counts=None, **settings):
    """Return the design of tokens whose properties are in a file."""
    table, path = tokens
    settings = design_settings(**settings)
    facts = Formula.read(settings, dict.fromkeys(FILES, path)).lookups
    norms = table.select(["document", "window", "position", "token_id", "layer_00", "layer_01"])
    return design_of(norms, settings, facts, rows, counts)
