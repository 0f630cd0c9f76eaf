"""Least squares from moments: design, estimation, inference, and what comes after.

To read it: ``terms`` and ``settings``; ``design`` makes the rows; ``estimation`` sums them to
moments (``moments``, ``crossproducts``) and solves these (``least_squares``); ``inference`` makes
the tables and controls of a regression (``fitting``); ``beyond`` has classes, heads, sources, and
several models.

A clustered standard error takes three modules of it: ``estimation.clustered`` adjusts the scores of
clusters (CR2), ``covariances`` makes a covariance of them, and ``estimation.regress`` puts it on
the scale of the data. The errors that need residuals come from ``estimation.residuals``.
"""
