"""A real Slurm on this machine: a controller and two virtual nodes, without systemd, as root.

Every daemon is a child of this process and ends with it, however it ends. There is no accounting
database, so `sacct` knows nothing; set `slurm-status-command: squeue`.

The nodes have no network. They and the controller are in a network namespace of their own, which
has its own loopback interface and no route. A cable, a pair of virtual interfaces, connects it to
this machine, so that jobs can be submitted.
"""

import fcntl
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from projects import Project, ran, wait_for

# The folder that daemons and commands read. A variable would not do, because jobs drop SLURM_*.
ETC = Path("/etc/slurm")
# It contains sockets, whose paths must be short, and belongs to root.
FOLDER = Path("/run/attnlag-slurm")
MUNGE, KEY, GPU = (FOLDER / name for name in ("munge.socket", "munge.key", "gpu"))
# The ends of the cable, and their addresses, from a network reserved for documentation (RFC 5737).
OUTER, INNER = "attnlag-slurm", "eth0"
OUTER_ADDRESS, INNER_ADDRESS = "198.51.100.1", "198.51.100.2"
ACCOUNT, PARTITION = "lab", "main"
NODES = ("node1", "node2")
HOST = socket.gethostname().split(".")[0]

# The processors and MB that each node claims may exceed those of the machine.
NODE = (
    f"NodeHostname={HOST} NodeAddr={INNER_ADDRESS} CPUs=2 RealMemory=8000 Gres=gpu:1 State=UNKNOWN"
)
SLURM = f"""\
ClusterName=attnlag
SlurmctldHost={HOST}({INNER_ADDRESS})
SlurmctldPort=26817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={MUNGE}
StateSaveLocation={FOLDER}/state
SlurmdSpoolDir={FOLDER}/%n
SlurmctldPidFile={FOLDER}/slurmctld.pid
SlurmdPidFile={FOLDER}/%n.pid
SlurmctldLogFile={FOLDER}/slurmctld.log
SlurmdLogFile={FOLDER}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
# Finished jobs stay in the list of squeue, which the tests read.
MinJobAge=3600
# Without control groups, memory is checked once a second, and a job above its limit is killed.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
KillWait=2
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
DefMemPerCPU=500
GresTypes=gpu
AccountingStorageType=accounting_storage/none
NodeName={NODES[0]} Port=26818 {NODE}
NodeName={NODES[1]} Port=26819 {NODE}
PartitionName={PARTITION} Nodes=ALL Default=YES DefaultTime=10 MaxTime=INFINITE State=UP
"""
FILES = {
    "slurm.conf": SLURM,
    # Slurm accepts any file as a GPU.
    "gres.conf": f"AutoDetect=off\nName=gpu File={GPU}\n",
    "cgroup.conf": "CgroupPlugin=disabled\n",
}


# Options of runs on it. A shared cluster would not like to be asked that often; if no job has ended
# when Snakemake asks, it waits for ten seconds more.
COMMAND = (
    *("--workflow-profile", "profiles/slurm", "--latency-wait", "10"),
    *("--slurm-init-seconds-before-status-checks", "4", "--slurm-status-command", "squeue"),
    # The nodes have two processors each.
    *("--set-threads", "extract_activations=2", "fit_regression=2", "estimate_effects=2"),
    "extract_random_weights=2",
)
# One more than the nodes, so that one waits where a job takes a whole node.
SHARDS = len(NODES) + 1


def adapt_profile(project: Project, name: str) -> None:
    """Write the account and the partition into a profile of a project."""
    path = project.folder / "profiles" / name / "profile.yaml"
    text = path.read_text()
    for found, wanted in (("my-account", ACCOUNT), ("my-partition", PARTITION)):
        assert text.count(found) == 1
        text = text.replace(found, wanted)
    path.write_text(text)


class Job(NamedTuple):
    """A line of squeue. The comment, ``what``, names the rule; ``memory`` is the request."""

    number: int
    what: str
    memory: str
    node: str
    state: str


def jobs(states: str = "all", since: int = 0) -> dict[int, Job]:
    """Return the jobs in these states with numbers above ``since``, in order."""
    listed = ran(["squeue", "--noheader", f"--states={states}", "--format=%A|%k|%m|%N|%T"]).stdout
    found = (line.split("|") for line in listed.splitlines())
    by_number = {int(first): Job(int(first), *rest) for first, *rest in found}
    return {number: by_number[number] for number in sorted(by_number) if number > since}


@contextmanager
def local_slurm() -> Iterator[None]:
    """Run Slurm, or end all tests with the reason why it cannot run here.

    A second call on the machine waits for the end of the first.
    """
    if os.getuid() != 0:
        pytest.exit("a local Slurm needs root, which runs its daemons", 1)
    with ExitStack() as stack:
        lock = stack.enter_context(FOLDER.with_suffix(".lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A Slurm that was killed leaves these.
        remove()
        stack.callback(remove)
        ETC.mkdir(exist_ok=True)
        for name in FILES:
            if os.path.lexists(ETC / name):
                pytest.exit(f"a local Slurm needs {ETC / name}: found another Slurm's", 1)
        for name in (*NODES, "state"):
            (FOLDER / name).mkdir(parents=True)
        GPU.touch()
        for name, content in FILES.items():
            (FOLDER / name).write_text(content)
            (ETC / name).symlink_to(FOLDER / name)

        def daemon(*command: str) -> subprocess.Popen[bytes]:
            with (FOLDER / "daemons.out").open("ab") as output:
                started = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "TERM", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C in the terminal must not reach it.
                    start_new_session=True,
                )
            stack.callback(end, started)
            return started

        ran(["mungekey", "--create", f"--keyfile={KEY}"])
        told = (f"--{name}-file={FOLDER}/munged.{name}" for name in ("pid", "seed", "log"))
        daemon("munged", "--foreground", "--force", f"--key-file={KEY}", *told, f"--socket={MUNGE}")
        wait_until("munge", "-S", str(MUNGE), "-n")
        within = lay_cable(daemon("unshare", "--net", "sleep", "infinity").pid)
        daemon(*within, "slurmctld", "-D", "-i")
        wait_until("scontrol", "ping")
        for name in NODES:
            daemon(*within, "slurmd", "-D", "-N", name)
        wait_until(*within, "srun", "--immediate=2", f"--nodes={len(NODES)}", "true")
        stack.callback(cancel)
        yield


def remove() -> None:
    """Remove the files of a local Slurm, the links to them, and its cable."""
    for name in FILES:
        if (ETC / name).is_symlink() and (ETC / name).readlink() == FOLDER / name:
            (ETC / name).unlink()
    shutil.rmtree(FOLDER, ignore_errors=True)
    # Jobs that outlive a killed Slurm hold its cable.
    subprocess.run(["ip", "link", "delete", OUTER], capture_output=True, check=False)


def lay_cable(pid: int) -> list[str]:
    """Connect the namespace of a process; return the prefix of a command that runs in it.

    The namespace lasts as long as a process in it, and the cable as long as the namespace.
    """
    namespace, own = Path(f"/proc/{pid}/ns/net"), Path("/proc/self/ns/net").readlink()
    wait_for(lambda: namespace.readlink() != own, 10, "a network namespace, which Slurm needs")
    within = ["nsenter", f"--net={namespace}"]
    ends = ["type", "veth", "peer", "name", INNER, "netns", str(pid)]
    ran(["ip", "link", "add", OUTER, *ends])
    ran(["ip", "address", "add", f"{OUTER_ADDRESS}/30", "dev", OUTER])
    ran(["ip", "link", "set", OUTER, "up"])
    ran([*within, "ip", "address", "add", f"{INNER_ADDRESS}/30", "dev", INNER])
    ran([*within, "ip", "link", "set", INNER, "up"])
    ran([*within, "ip", "link", "set", "lo", "up"])
    return within


def wait_until(*command: str) -> None:
    """Wait until a command succeeds, or say what the daemons say."""
    with suppress(AssertionError):
        return wait_for(lambda: ran(command, None).returncode == 0, 30, "")
    told = "\n".join(
        f"{path.name}: {line}"
        for path in sorted([*FOLDER.glob("*.log"), FOLDER / "daemons.out"])
        for line in path.read_text(errors="replace").splitlines()[-3:]
    )
    pytest.exit(f"{' '.join(command)} failed for 30 s\n{told}", 1)


def cancel() -> None:
    """Cancel the jobs of a Slurm that is about to end."""
    with suppress(AssertionError):
        ran(["scancel", "--user=root"])
        wait_for(lambda: not jobs("RUNNING,COMPLETING"), 10, "the end of all jobs")


def end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
