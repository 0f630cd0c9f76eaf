"""Many shards: what the command lines of the jobs hold."""

import re

from conftest import write_several


def commands_of(project):
    """Return the command of every job of a full run, with its rule's script first."""
    printed = project.snakemake("--cores", "2", "-n", "-p")
    assert printed.returncode == 0, printed.stdout
    return re.findall(r"^Shell command: python3 scripts/(.*)$", printed.stdout, re.MULTILINE)


def test_no_command_grows_with_the_shards(fresh):
    """One argument may have 128 KiB, which the paths of some 1,500 shards exceed."""
    write_several(fresh, shards=8)
    fresh.write_config(extraction={"sites": ["attention", "mlp"], "keep": "vectors"})
    commands = commands_of(fresh)
    assert {command.split(".py")[0] for command in commands} >= {
        *("summarize_tokens", "count_tokens", "solve_regression", "fit_regression"),
        *("fit_permutations", "plot_norms", "plot_lags", "plot_diagnostics", "plot_sites"),
        *("fit_groups", "plot_positions", "plot_text", "plot_groups"),
    }
    for command in commands:
        assert len(set(re.findall(r"/(\d{4})\.parquet", command))) <= 1, command
