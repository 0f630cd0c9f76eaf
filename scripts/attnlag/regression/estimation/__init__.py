"""Least squares of one layer, from moments to coefficients with errors.

In the order of reading:

1. `least_squares`: the estimates, from `moments.PreparedMoments`.
2. `identification`: when there are none.
3. `cr2`, `wald`: clustered errors and joint tests.
4. `jackknife`, `goodness`, `equal_halves`: estimates without each document, how well they fit, and
   whether the halves of documents are alike.
5. `layer_fit`: all of this for one layer.
"""
