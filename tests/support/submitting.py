"""Projects that run on Slurm."""

import subprocess

from local_slurm import ACCOUNT, PARTITION
from projects import Project

# One more than the nodes, so that one waits where a job takes a whole node.
SHARDS = 3
# Faster than a shared cluster would like to be asked. If no job has ended when Snakemake asks, it
# waits for ten seconds more.
COMMAND = (
    *("--workflow-profile", "profiles/slurm", "--latency-wait", "10"),
    *("--slurm-init-seconds-before-status-checks", "4", "--slurm-status-command", "squeue"),
    # The nodes have two processors each.
    *("--set-threads", "extract_activations=2", "fit_regression=2", "estimate_effects=2"),
    "extract_random_weights=2",
)


class Submitting(Project):
    """A project that is run with the profile for Slurm, its two lines changed."""

    def adapt_profile(self) -> None:
        path = self.folder / "profiles" / "slurm" / "profile.yaml"
        text = path.read_text()
        for found, wanted in (("my-account", ACCOUNT), ("my-partition", PARTITION)):
            assert text.count(found) == 1
            text = text.replace(found, wanted)
        path.write_text(text)

    def submit(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run on Slurm to the end, with whatever exit status."""
        return self.snakemake(*arguments, *COMMAND)
