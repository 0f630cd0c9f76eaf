"""Moments: the sums of products by document and layer, which suffice for least squares.

`moments` sums them over the rows of a design and prepares them for a regression; `packed_files` is
the format of the files between; `merging` says which terms a regression has; `in_memory` is for
rows that are in no file.
"""
