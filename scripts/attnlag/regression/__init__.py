"""Least squares from moments: design, estimation, inference, and what is compared.

To read it: ``terms``, ``units`` and ``settings``; ``design`` makes the rows; ``moments`` sums them
by document; ``estimation`` solves each layer (``least_squares``) and gives it errors
(``layer_fit``, ``cr2``); ``residuals`` is the second pass over the rows; ``inference`` makes
the tables and controls of a regression (``fitting``, ``results``); ``slopes`` has regressions by
class of token, by head and by effects that enter, and ``across_models`` compares models.

A clustered standard error comes from ``fitting`` to ``least_squares.solve``, to
``layer_fit.fit_layer``, whose CR2 is ``cr2.cr2``, and into ``results.coefficients_table``. The
errors that need residuals come from ``residuals``.
"""
