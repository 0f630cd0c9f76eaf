"""Numbers and kinds that several parts of the regressions agree on."""

# Kinds of standard errors that use clusters.
CLUSTERED = ("cluster", "cluster-crv1", "cluster-jackknife")

# With fewer clusters, bootstraps and the jackknife have too little to draw from or leave out, and
# intervals of pooled regressions cover too little.
FEWEST_DOCUMENTS = 6
