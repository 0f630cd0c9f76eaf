"""Tables of other settings, in a folder without Snakemake's records."""

from pathlib import Path

from attnlag.pipeline.stale import Stale, announcements


def test_a_line_a_stage_names_its_first_table_and_counts_the_others():
    tables = [
        Stale(Path("results/fits.parquet"), "fit_regression", "alpha: 0.05 → 0.1"),
        Stale(Path("results/heads.parquet"), "summarize_heads", "alpha: 0.05 → 0.1"),
        Stale(Path("results/medians.parquet"), "fit_regression", "seed: 0 → 1"),
    ]
    assert announcements(tables) == [
        "results/fits.parquet: made with other settings (alpha: 0.05 → 0.1); fit_regression makes "
        "it again, and 1 more table",
        "results/heads.parquet: made with other settings (alpha: 0.05 → 0.1); summarize_heads "
        "makes it again",
    ]
