"""A real Slurm on this machine: a controller and two virtual nodes, without systemd, as root.

Every daemon is a child of this process and ends with it, however it ends. There is no accounting
database, so `sacct` knows nothing; set `slurm-status-command: squeue`.

The nodes have no network. They and the controller are in a network namespace of their own, which
has its own loopback interface and no route. A cable, a pair of virtual interfaces, connects it to
this machine, so that jobs can be submitted.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

# The folder that daemons and commands read. A variable would not do, because jobs drop SLURM_*.
ETC = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
PREFIX = "attnlag-slurm-"
# The ends of the cable, and their addresses, from a network reserved for documentation (RFC 5737).
OUTER, INNER = "attnlag-slurm", "eth0"
OUTER_ADDRESS, INNER_ADDRESS = "198.51.100.1", "198.51.100.2"
ACCOUNT, PARTITION = "lab", "main"

CONFIGURATION = """\
ClusterName=attnlag
SlurmctldHost={host}({address})
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
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
"""
PARTITIONS = (
    f"PartitionName={PARTITION} Nodes=ALL Default=YES DefaultTime=10 MaxTime=INFINITE State=UP\n"
)
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr={address} Port={port} CPUs={cpus} "
    "RealMemory={memory} Gres=gpu:1 State=UNKNOWN\n"
)


class SlurmError(RuntimeError):
    """Slurm cannot run here; the message says why, in one sentence."""


class Job(NamedTuple):
    """A line of squeue. The comment, ``what``, names the rule; ``memory`` is the request."""

    number: int
    what: str
    memory: str
    node: str
    state: str


def remove(folder: Path) -> None:
    """Remove the folder of a local Slurm and the links to it."""
    for name in FILES:
        if (ETC / name).is_symlink() and (ETC / name).readlink() == folder / name:
            (ETC / name).unlink()
    shutil.rmtree(folder, ignore_errors=True)


def remove_left_behind() -> None:
    """Remove the folders of local Slurms that were killed."""
    for folder in Path("/tmp").glob(f"{PREFIX}*"):
        try:
            os.kill(int((folder / "owner.pid").read_text()), 0)
        except (OSError, ValueError):
            remove(folder)


class LocalSlurm:
    """A controller and its virtual nodes, between ``start`` and ``stop``.

    The processors and MB that each node claims may exceed those of the machine. The nodes have the
    ports after that of the controller.
    """

    nodes, cpus, memory, port = 2, 2, 8000, 26817

    def __init__(self) -> None:
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.names = [f"node{place}" for place in range(1, self.nodes + 1)]

    def __enter__(self) -> "LocalSlurm":
        if os.getuid() != 0:
            raise SlurmError("a local Slurm needs root, which runs its daemons")
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything; return once jobs can be submitted."""
        remove_left_behind()
        # It contains sockets, whose paths must be short.
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
        self.folder.chmod(0o755)
        (self.folder / "owner.pid").write_text(str(os.getpid()))
        self._configure()
        munge = self.folder / "munge.socket"
        key = self.folder / "munge.key"
        self.run("mungekey", "--create", f"--keyfile={key}")
        self._daemon(
            *("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge}"),
            *(f"--{name}-file={self.folder}/munged.{name}" for name in ("pid", "seed", "log")),
        )
        self._wait("munge", "munge", "-S", str(munge), "-n")
        within = self._lay_cable()
        self._daemon(*within, "slurmctld", "-D", "-i")
        self._wait("the controller", "scontrol", "ping")
        for name in self.names:
            self._daemon(*within, "slurmd", "-D", "-N", name)
        self._wait("the nodes", *within, "srun", "--immediate=2", f"--nodes={self.nodes}", "true")

    def stop(self) -> None:
        """Cancel the jobs, end the daemons, and remove all files."""
        try:
            if len(self.daemons) > self.nodes:
                subprocess.run(["scancel", "--user=root"], timeout=20, check=False)
                deadline = time.monotonic() + 10
                while self.jobs("RUNNING,COMPLETING") and time.monotonic() < deadline:
                    time.sleep(0.2)
        except subprocess.SubprocessError:
            pass  # the controller has ended
        # A second signal would leave links that only the next start removes.
        before = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)}
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in reversed(self.daemons):
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self.daemons = []
        remove(self.folder)
        for number, handler in before.items():
            signal.signal(number, handler)

    def jobs(self, states: str = "all", since: int = 0) -> dict[int, "Job"]:
        """Return the jobs in these states with numbers above ``since``, in order."""
        listed = self.run("squeue", "--noheader", f"--states={states}", "--format=%A|%k|%m|%N|%T")
        jobs = [
            Job(int(first), *rest)
            for first, *rest in (line.split("|") for line in listed.splitlines())
        ]
        return {job.number: job for job in sorted(jobs) if job.number > since}

    def _configure(self) -> None:
        host = socket.gethostname().split(".")[0]
        (self.folder / "state").mkdir()
        # Slurm accepts any file as a GPU.
        (self.folder / "gpu").touch()
        told = {"host": host, "address": INNER_ADDRESS, "folder": self.folder}
        text = CONFIGURATION.format(**told, port=self.port)
        for place, name in enumerate(self.names, 1):
            (self.folder / name).mkdir()
            text += NODE.format(
                **told, name=name, port=self.port + place, cpus=self.cpus, memory=self.memory
            )
        files = {
            "slurm.conf": f"{text}{PARTITIONS}",
            "gres.conf": f"AutoDetect=off\nName=gpu File={self.folder}/gpu\n",
            "cgroup.conf": "CgroupPlugin=disabled\n",
        }
        ETC.mkdir(exist_ok=True)
        for name, content in files.items():
            (self.folder / name).write_text(content)
            link = ETC / name
            if link.exists() or link.is_symlink():
                raise SlurmError(
                    f"a local Slurm needs {link}: found another Slurm's, which it will not replace"
                )
            link.symlink_to(self.folder / name)

    def _lay_cable(self) -> list[str]:
        """Make the namespace of the nodes; return the prefix of a command that runs in it.

        The namespace lasts as long as a process in it, and the cable as long as the namespace.
        """
        # A Slurm that was killed leaves its cable while its jobs live on.
        subprocess.run(["ip", "link", "delete", OUTER], capture_output=True, check=False)
        self._daemon("unshare", "--net", "sleep", "infinity")
        namespace = Path(f"/proc/{self.daemons[-1].pid}/ns/net")
        within = ["nsenter", f"--net={namespace}"]
        needs = "a local Slurm needs a network namespace: "
        deadline = time.monotonic() + 10
        while namespace.readlink() == Path("/proc/self/ns/net").readlink():
            if self.daemons[-1].poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "1-unshare.out").read_text().strip()
                raise SlurmError(f"{needs}unshare failed with: {said}")
            time.sleep(0.02)
        ends = ["type", "veth", "peer", "name", INNER, "netns", str(self.daemons[-1].pid)]
        for command in (
            ["ip", "link", "add", OUTER, *ends],
            ["ip", "address", "add", f"{OUTER_ADDRESS}/30", "dev", OUTER],
            ["ip", "link", "set", OUTER, "up"],
            [*within, "ip", "address", "add", f"{INNER_ADDRESS}/30", "dev", INNER],
            [*within, "ip", "link", "set", INNER, "up"],
            [*within, "ip", "link", "set", "lo", "up"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                said = done.stderr.strip()
                raise SlurmError(f"{needs}{' '.join(command)} failed with: {said}")
        return within

    def _daemon(self, *command: str) -> None:
        with (self.folder / f"{len(self.daemons)}-{command[0]}.out").open("wb") as output:
            self.daemons.append(
                subprocess.Popen(
                    ["setpriv", "--pdeathsig", "TERM", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C in the terminal must not reach them.
                    start_new_session=True,
                )
            )

    def _wait(self, what: str, *command: str) -> None:
        """Wait until a command succeeds."""
        deadline = time.monotonic() + 30
        while subprocess.run(command, capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                tails = [
                    f"{path.name}: {line}"
                    for path in sorted(self.folder.glob("*.log"))
                    + sorted(self.folder.glob("*.out"))
                    for line in path.read_text(errors="replace").splitlines()[-3:]
                ]
                raise SlurmError("\n".join([f"{what} did not come up within 30 s", *tails]))
            time.sleep(0.1)

    def run(self, *command: str) -> str:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=True
        ).stdout
