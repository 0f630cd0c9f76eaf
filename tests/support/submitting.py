"""Projects that run on Slurm."""

import signal
import subprocess
import sys
import time

from local_slurm import ACCOUNT, PARTITION
from projects import Project, environment_of_a_user

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

    def start(self, *arguments: str, interpreter: str = sys.executable) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [interpreter, "-m", "snakemake", *arguments],
            cwd=self.folder,
            env=environment_of_a_user(),
            stdout=(self.folder / "output.txt").open("w"),
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            # A shell in the background hands on that Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def wait_for(condition, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.2)
