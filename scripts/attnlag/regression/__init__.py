"""Least squares from moments: design, estimation, inference, and what is compared.

To read it: ``terms``, ``units`` and ``settings``; ``design`` makes the rows; ``moments`` sums them
by document; ``estimation`` has the estimates of a layer and their clustered covariance;
``residuals`` is the second pass over the rows; ``inference`` makes the tables and controls of a
regression; ``slopes`` has regressions by class of token, by head and by effects that enter, and
``across_models`` compares models.

The files that a clustered standard error passes are listed in docs/formulas.md.
"""
