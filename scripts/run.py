"""Run a program of this folder: python scripts/run.py fit_regression --job JSON|FILE."""

from attnlag.pipeline import program

program.run()
