"""Least squares of one layer, from moments to coefficients with errors.

In the order of reading:

1. `crossproducts`, `moments`: sums of products by document, which suffice for the rest.
2. `merging`: which terms the regression has.
3. `normal_equations`, `least_squares`, `half_panel`: the estimates.
4. `cr2`, `wald`: clustered errors and joint tests.
5. `jackknife`, `goodness`, `equal_halves`: estimates without each document, how well they fit, and
   whether the halves of documents are alike.
6. `layer_fit`: all of this for one layer.

`row_regression` is for rows that are in memory.
"""
