"""attnlag in a notebook: measure a model that is in memory, fit, and read what a run has made."""
