"""Least squares from moments: design, estimation, inference, and what is compared.

To read it: ``terms``, ``units`` and ``settings``; ``design`` makes the rows; ``moments`` sums them
by document; ``estimation`` has the estimates of a layer and their clustered covariance;
``residuals`` is the second pass over the rows; ``inference`` makes the tables and controls of a
regression; ``slopes`` has regressions by class of token, by head and by effects that enter, and
``across_models`` compares models.

A clustered standard error in coefficients.csv comes from

1. ``moments.moments``: ``write_design``, ``sum_products``, then ``Moments.prepared``;
2. ``inference.fitting.fit_regression``, which does the rest for each layer;
3. ``estimation.least_squares``: ``solve``, ``score_blocks``;
4. ``inference.layer_fit``: ``fit_layer``, ``clustered``, ``coefficients_table``;
5. ``estimation.cr2.cr2``, with the formula.
"""
