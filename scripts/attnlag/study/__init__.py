"""attnlag in a notebook: measure a loaded model, fit regressions, and read the results of a run."""
