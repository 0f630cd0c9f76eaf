"""The tables of a regression: errors, tests and controls of all layers.

In the order of reading:

1. `fitting`: one regression in every layer, from the files of all shards to its tables.
2. `layer_fit`: the errors of one layer, and the table of coefficients; with `evidence`, `goodness`,
   `equal_halves` and `multiple_tests`.
3. `results`, `diagnostics`: the tables of fits.
4. `bootstrap`: intervals of medians over the layers. `groups`: a regression for each group of
   documents. `response`: what lags say of later tokens.
5. `controls`, `permutation`, `training`: what coefficients would be if nothing interesting were
   going on.
"""
