"""The estimates that cross-products alone give, which other packages compute too.

    python benchmarks/estimates.py crossproducts/0000.parquet coefficients.parquet

Least squares with CRV1 errors, R² by folds and by document, influence. Run by ``regression.py``, in
a process of its own. The other shards lie beside the first.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from attnlag.regression.estimation import crossproducts, least_squares, regress, stacks  # noqa: E402
from attnlag.regression.inference import results  # noqa: E402
from attnlag.regression.settings import Errors  # noqa: E402
from attnlag.storage import tables  # noqa: E402

FOLDS = 10
STACK_BYTES = 256e6

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("crossproducts", type=Path, help="the first shard")
    parser.add_argument("output", type=Path, help="the coefficients (Parquet)")
    arguments = parser.parse_args()
    shards = [crossproducts.read_shard(path) for path in tables.shards(arguments.crossproducts)]
    stack = stacks.stacked(shards, budget=STACK_BYTES)
    fits = regress.fit(stack, "cluster-crv1", FOLDS, least_squares.solve_all(stack))
    results.influence_table(fits, stack)
    coefficients = results.coefficients_table(fits, stack, Errors())
    coefficients.to_parquet(arguments.output)
