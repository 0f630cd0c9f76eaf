"""The workflow on a real Slurm, as a user of a cluster sees it.

A controller and two virtual nodes run on this machine, without systemd, as root. Every daemon is a
child of this process and ends with it, however it ends. There is no accounting database, so `sacct`
knows nothing; set `slurm-status-command: squeue`.

The nodes have no network. They and the controller are in a network namespace of their own, which
has its own loopback interface and no route. A cable, a pair of virtual interfaces, connects it to
this machine, so that jobs can be submitted.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from projects import Project, new_project, ran, wait_for
from warm_python import python

# The first test waits for the whole chain.
pytestmark = pytest.mark.timeout(1200)

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
    "extract_untrained=2",
)
# One more than the nodes, so that one waits where a job takes a whole node.
SHARDS = len(NODES) + 1
# Few tokens and one target: what is asked is whether the jobs run.
EFFECTS = {"targets": 1, "documents": 2, "document_tokens": 12, "batch_tokens": 64}
CORPUS = "results/corpora/small.parquet"
# At first too little for Python itself.
LITTLE_MEMORY = ("--set-resources", "prepare_corpus:mem_mb=60 * attempt ** 4")
# Jobs run the interpreter of the process that submits them. This one can be killed; theirs starts
# at once, and spares each job the seconds that imports take.
SUBMITTER = """\
#!{python}
import os, runpy, sys
sys.executable = {jobs!r}
sys.path[0] = os.getcwd()
sys.argv = sys.argv[2:]
runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
"""


def adapt_profile(project: Project, name: str) -> None:
    """Write the account and the partition into a profile of a project."""
    path = project.folder / "profiles" / name / "profile.yaml"
    text = path.read_text()
    for found, wanted in (("my-account", ACCOUNT), ("my-partition", PARTITION)):
        assert text.count(found) == 1
        text = text.replace(found, wanted)
    path.write_text(text)


def submitter(folder: Path) -> str:
    """Return a program to call in place of ``python -m snakemake``, written to a folder."""
    path = folder / "submitter"
    path.write_text(SUBMITTER.format(python=sys.executable, jobs=python()))
    path.chmod(0o755)
    return str(path)


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


@pytest.fixture(scope="session", autouse=True)
def slurm() -> Iterator[None]:
    """Run Slurm, or end all tests with the reason why it cannot run here.

    A second run of the tests on the machine waits for the end of the first.
    """
    # The end that a scheduler or `timeout` sends takes the daemons down too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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


class Chain(NamedTuple):
    """A run of the whole chain on Slurm, and what is to be known of it afterwards."""

    project: Project
    local: Project
    locked: bool
    printed: str
    jobs: list[Job]


@pytest.fixture(scope="session")
def chain(slurm: None, gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Return the whole chain after a run that was killed half-way, and one that ended it.

    The second was asked for interventions too. Beside it, the same without Slurm.
    """
    project = new_project(tmp_path_factory.mktemp("chain") / "project", gpt2)
    adapt_profile(project, "slurm")
    project.write_config(
        corpora={"small": {**project.config["corpora"]["small"], "shards": SHARDS}},
        # The analyses of the default run, without a comparison of kernels in each job.
        extraction={"keep": "vectors", "quantities": ["geometry", "heads"], "fast": False},
        regressions={"notebook": {"lags": [1, 2], "slopes_by": {"surprisal": "lag"}}},
        controls={"permutation": {"draws": 19}, "random_weights": {"documents": 4}},
        figures={"formats": ["svg"]},
    )
    local = project.copy(project.folder.parent / "local")
    local.write_config(causal=EFFECTS)

    before = max(jobs(), default=0)
    running = local.start("--cores", "1", interpreter=python())
    # What Slurm is to kill are the processes of this job itself.
    begun = project.start(CORPUS, *COMMAND, *LITTLE_MEMORY)
    assert begun.wait(300) == 0, project.printed.read_text()
    killed = project.start(*COMMAND, interpreter=submitter(project.folder.parent))
    try:
        wait_for(
            lambda: (
                killed.poll() is not None
                or any("rule_fit_regression" in job.what for job in jobs("RUNNING").values())
            ),
            *(600, "the job that fits the regression"),
        )
        assert killed.poll() is None, project.printed.read_text()
        killed.kill()
        killed.wait()
        locked = any((project.folder / ".snakemake" / "locks").iterdir())
        # The job goes on without who submitted it.
        wait_for(lambda: not jobs("PENDING,RUNNING,COMPLETING"), 600, "the end of the jobs")
        project.write_config(causal=EFFECTS)
        project.snakemake(*COMMAND)
        submitted = list(jobs(since=before).values())
        assert running.wait(600) == 0, local.printed.read_text()
    finally:
        # The interpreter that started at once hands this on; it could not hand on a kill.
        running.terminate()
        killed.kill()
    return Chain(project, local, locked, project.printed.read_text(), submitted)


@pytest.fixture
def finished(chain: Chain, tmp_path: Path) -> Project:
    """Return a copy of the finished project, to be changed."""
    return chain.project.copy(tmp_path / "project")


RESTING = ("RUNNING", "PENDING", "COMPLETING")


def rule_of(job):
    # A job without wildcards has none in its name.
    return re.match(r"rule_(\w+?)(_wildcards|$)", job.what)[1]


def test_a_run_on_slurm_gives_the_results_of_a_local_run(chain, subtests):
    """The whole chain over several shards gives equal bytes."""
    of_vectors = ("attention/activations", "attention/centred_cosines")
    for folder in (*of_vectors, "attention/norms", "causal/effects"):
        with subtests.test(folder=folder):
            assert len(chain.project.results(f"tiny/small/{folder}/0*.parquet")) == SHARDS
    assert chain.project.results() == chain.local.results()


def test_jobs_run_on_both_nodes(chain):
    # Which of them meets which node is chance: a short job ends before the next is submitted.
    sharded = {"tokenize_corpus", "extract_activations", "build_design", "estimate_effects"}
    nodes = {job.node for job in chain.jobs if rule_of(job) in sharded}
    assert nodes == set(NODES)
    rules = set(map(rule_of, chain.jobs))
    # Nodes have no network, and what takes less than its submission is not submitted.
    assert not rules & {"fetch_model", "check_fits"}
    assert {"prepare_corpus", "extract_activations", "fit_regression", "plot_regression"} <= rules


def test_the_next_run_finishes_one_whose_submitting_process_was_killed(chain, subtests):
    """The killed run left a lock, and finished jobs are not run again.

    The exception is a job whose end no process recorded: it runs again.
    """
    assert chain.locked
    rules = [rule_of(job) for job in chain.jobs]
    for rule in ("tokenize_corpus", "extract_activations", "build_design"):
        with subtests.test(rule=rule):
            assert rules.count(rule) == SHARDS, rule
    assert rules.count("fit_regression") == 2
    # Only the second run was asked for these.
    assert rules.count("estimate_effects") == SHARDS
    assert rules.count("fit_effects") == 1
    assert "nothing to be done" in chain.project.snakemake("-n", *COMMAND).lower()


def test_a_job_killed_for_lack_of_memory_is_restarted_with_more(chain):
    assert "Trying to restart job" in chain.printed
    attempts = [job for job in chain.jobs if rule_of(job) == "prepare_corpus"]
    assert [job.memory for job in attempts] == ["60M", "960M"]
    assert attempts[0].state in ("FAILED", "OUT_OF_MEMORY")
    assert attempts[1].state == "COMPLETED"


def test_nodes_have_no_network(chain, tmp_path, subtests):
    """A job reaches neither a service of the machine nor any other address."""
    program = tmp_path / "connect.py"
    program.write_text(
        "import socket, sys\n"
        "for address, port in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    try:\n"
        "        socket.create_connection((address, int(port)), 5)\n"
        "        print('reached')\n"
        "    except OSError as error:\n"
        "        print(error.strerror)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        # An address of a network for documentation: no packet may even leave.
        connect = [sys.executable, str(program), "127.0.0.1", port, "203.0.113.1", "443"]
        assert ran(connect).stdout.startswith("reached\n")
        for node in NODES:
            with subtests.test(node=node):
                output = tmp_path / node
                options = ["--wait", f"--nodelist={node}", f"--output={output}"]
                ran(["sbatch", *options, f"--wrap={' '.join(connect)}"], timeout=30)
                assert output.read_text() == "Connection refused\nNetwork is unreachable\n"


def test_the_terminal_shows_the_error_of_a_failed_job(finished):
    """The job gets the GPU that this Slurm claims to have, which does not exist."""
    before = max(jobs())
    finished.write_config(extraction={"device": "cuda"})
    vectors = "results/tiny/small/attention/activations/0000.parquet"
    (finished.folder / vectors).unlink()
    printed = finished.snakemake(vectors, "--retries", "0", *COMMAND, status=1)
    assert re.search(r"^ *error: .*cuda.*$", printed, re.MULTILINE | re.IGNORECASE)
    (number,) = jobs("FAILED", before)
    assert "gpu" in ran(["scontrol", "show", "job", str(number)]).stdout


def test_ctrl_c_cancels_the_jobs(finished):
    """Both running and queued jobs are cancelled: each node has room for one."""
    before = max(jobs())
    tokens = sorted((finished.folder / "results" / "tiny" / "small" / "tokens").iterdir())
    for path in tokens:
        path.unlink()
    targets = [str(path.relative_to(finished.folder)) for path in tokens]
    run = finished.start(*targets, *COMMAND, "--set-threads", "tokenize_corpus=2")
    wait_for(
        lambda: jobs("RUNNING", before) and len(jobs(since=before)) == SHARDS,
        60,
        "a running job, and all others in the queue",
    )
    run.send_signal(signal.SIGINT)
    run.wait(30)
    assert run.returncode != 0
    wait_for(lambda: not jobs(",".join(RESTING), before), 15, "the end of all jobs")
    assert len(jobs("CANCELLED", before)) > SHARDS / 2


def test_the_profile_for_other_schedulers_works(finished):
    """It has commands to submit a job, to query its state and to cancel it."""
    before = max(jobs())
    adapt_profile(finished, "generic")
    finished.write_config(extraction={"device": "cuda"})
    results = "results/tiny/small/{}.parquet"
    names = "attention/activations/0000", "tokens/0001", "tokens/0002"
    vectors, *tokens = map(results.format, names)
    for path in (vectors, *tokens):
        (finished.folder / path).unlink()
    command = ("--workflow-profile", "profiles/generic", "--latency-wait", "10")
    printed = finished.snakemake(
        *(vectors, tokens[0], "--keep-going", "--retries", "0"),
        *("--set-threads", "extract_activations=2", "fit_regression=2"),
        *(*command, "--seconds-between-status-checks", "1"),
        status=1,
    )
    assert re.search(r"^ *error: .*cuda.*$", printed, re.MULTILINE | re.IGNORECASE)
    states = sorted(job.state for job in jobs(since=before).values())
    assert states == ["COMPLETED", "FAILED"]
    assert (finished.folder / tokens[0]).exists()

    before = max(jobs())
    run = finished.start(tokens[1], *command)
    wait_for(lambda: jobs("RUNNING", before), 60, "a running job")
    run.send_signal(signal.SIGINT)
    run.wait(30)
    wait_for(lambda: not jobs(",".join(RESTING), before), 15, "the end of the job")
    assert jobs("CANCELLED", before)
