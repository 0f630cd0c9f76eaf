"""Further regressions of the same norms: slopes by class of token, lags of heads, more effects."""
