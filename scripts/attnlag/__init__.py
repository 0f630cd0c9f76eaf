"""attnlag: attention adjustments and their lag regressions, as plain functions.

The library knows tensors, arrays and tables; it knows nothing of Snakemake. Each
program in ``scripts/`` reads its inputs, calls the library and writes its outputs.
"""

__version__ = "0.1.0"
