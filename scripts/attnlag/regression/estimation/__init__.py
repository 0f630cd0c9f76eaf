"""Least squares of one layer, from its moments: estimates, their clustered covariance, and tests.

In the order of reading:

1. `least_squares`: the estimates, and what each cluster adds to them; with `normal_equations`.
2. `identification`: when the data do not determine them.
3. `cr2`: their clustered covariance; `satterthwaite`: its degrees of freedom; `wald`: joint tests.
4. `jackknife`: the estimates without each cluster, or without each fold of them.

`inference.fitting` calls `solve`, and `inference.layer_fit` asks for errors and the jackknife.
"""
