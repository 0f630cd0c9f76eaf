"""Least squares from moments: design, estimation, inference, and what comes after.

To read it: ``terms`` and ``settings``; ``design`` makes the rows; ``estimation`` sums them to
moments (``moments``, ``crossproducts``), solves these (``least_squares``) and adds errors
(``clustered``, ``covariances``, ``regress``, ``residuals``); ``inference`` makes the tables and
controls of a regression (``fitting``); ``beyond`` has classes, heads, sources, and several models.
"""
