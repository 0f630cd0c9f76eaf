"""The number of documents below which nothing is clustered by them or drawn from them."""

# With fewer clusters, bootstraps and the jackknife have too little to draw from or leave out, and
# intervals of pooled regressions cover too little.
MIN_DOCUMENTS = 6
