"""Coverage of the difference before minus after training, at the sizes of users' controls.

    python benchmarks/claims.py [REPLICATIONS]

Documents have levels of their own, and slopes whose deviations (SD 0.1) both models partly share:
lag 1 is 0.5 before training and 0.2 after it, on average over documents and 6 layers. Lengths are
quantiles of a log-normal distribution with mean 150 and sigma 0.5. The regression is `within` as in
the control, without correction of bias, whose bias is the same for all replications: the target is
the mean of the estimates. `width` is the mean standard error over the estimates' own.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

from attnlag.quantities import columns
from attnlag.regression.design.design import Formula
from attnlag.regression.inference import controls
from attnlag.regression.settings import DesignSettings, RegressionSettings
from attnlag.storage import tables

ROOT = Path(__file__).parents[1]
LAYERS, BEFORE, AFTER = 6, 0.5, 0.2
FORMULA = Formula(DesignSettings(drop_first=1, outcome="norm", lags=[1], covariates=[]), {})


def norms(path, lengths, slopes, random):
    """Write norms of documents whose logarithms follow an AR(1) process in each layer."""
    keys, logs = [], []
    for document, (length, slope) in enumerate(zip(lengths, slopes, strict=True)):
        level, y = random.normal(size=LAYERS), random.normal(size=(length, LAYERS))
        for t in range(1, length):
            y[t] += slope * y[t - 1]
        logs.append(np.exp(level + y))
        keys.append([(f"d{document}", 0, t, 0) for t in range(length)])
    columns_of_keys = map(list, zip(*sum(keys, []), strict=True))
    schema = columns.schema(LAYERS)
    values = [*map(pa.array, columns_of_keys), *map(pa.array, np.concatenate(logs).T)]
    table = pa.table(values, names=schema.names).cast(schema)
    draw = {"scale": "own", "initializer_range": None, "origin": "config", "left_out": ""}
    tables.write_table(table, path, {"draw": draw, "stages": {}})


def main(replications):
    settings = RegressionSettings(outcome="norm", fixed_effects="document", bias_correction="none")
    print("| documents | coverage of 95% | width | wrongly above | wrongly below |")
    print("|---|---|---|---|---|")
    for documents in (13, 20, 40, 128):
        random, found = np.random.default_rng(documents), []
        quantiles = stats.norm.ppf((np.arange(documents) + 0.5) / documents)
        lengths = np.maximum(8, 150 * np.exp(0.5 * quantiles - 0.125)).astype(int)
        for _ in range(replications):
            shared = 0.07 * random.normal(size=(documents, LAYERS))
            with TemporaryDirectory() as folder:
                paths = [Path(folder, f"{name}.parquet") for name in ("before", "after")]
                for path, mean in zip(paths, (BEFORE, AFTER), strict=True):
                    own = 0.07 * random.normal(size=(documents, LAYERS))
                    norms(path, lengths, mean + shared + own, random)
                trained = controls.moments_of(paths[1], FORMULA)
                untrained = controls.untrained(FORMULA, paths[:1])
                _, compared = controls.random_weights(untrained, settings, trained)
            found.append(compared.set_index("quantity").loc["lag_1"])
        table = pd.DataFrame(found)
        truth = table["difference"].mean()
        above, below = (table["conf_low"] > truth).mean(), (table["conf_high"] < truth).mean()
        width = table["std_error"].mean() / table["difference"].std()
        cells = f"{1 - above - below:.3f} | {width:.2f} | {above:.3f} | {below:.3f}"
        print(f"| {documents} | {cells} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
