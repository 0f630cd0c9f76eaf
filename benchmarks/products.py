"""Write the cross-products of a design, as ``build_design`` does while it writes the design.

    python benchmarks/products.py design/0000.parquet crossproducts/0000.parquet

Run by ``regression.py``, in a process of its own.
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from attnlag.regression.estimation import crossproducts  # noqa: E402
from attnlag.storage import tables  # noqa: E402

if __name__ == "__main__":
    design, path = sys.argv[1:]
    rows = tables.batches(design, tables.ROWS_AT_ONCE, "cross-products")
    crossproducts.write(rows, pq.read_schema(design), path, tables.read_provenance(design))
