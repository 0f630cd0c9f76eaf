"""Least squares from moments: design, estimation, inference, and what comes after.

To read it: ``terms`` and ``settings``; ``design`` makes the rows; ``estimation`` sums them to
moments (``moments``, ``crossproducts``) and fits each layer to these (``regress``): its estimates
(``least_squares``), errors (``clustered``) and ``goodness``; ``inference`` makes the tables and
controls of a regression (``fitting``); ``beyond`` has classes, heads, sources, and several models.

The docstring of ``estimation.clustered`` follows a clustered standard error from the solved layer
to the table. The errors that need residuals come from ``estimation.residuals``.
"""
