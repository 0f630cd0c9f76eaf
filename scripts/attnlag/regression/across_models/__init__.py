"""Regressions of several models beside each other: differences, and whether claims replicate."""
