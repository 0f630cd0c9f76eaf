"""Moments: the sums of products by document and layer, which suffice for least squares.

`moments` sums them over the rows of a design, writes them to a file, reads them by layer, and
prepares them for a regression; `merging` says which terms a regression has. `in_memory` is for rows
that are in no file.
"""
