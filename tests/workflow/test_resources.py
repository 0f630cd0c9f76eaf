"""What jobs ask for: threads, memory, time and GPUs, and what the profiles say of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from planning import Job, plan
from projects import ROOT
from snakemake.cli import parse_args

# Jobs that load a model, and those of them that run it in several threads.
ON_GPUS = {
    *("extract_activations", "extract_untrained", "extract_revision"),
    *("estimate_effects", "trace_sources"),
}


def by_rule(jobs: list[Job]) -> dict[str, Job]:
    """Return one job of each rule that has a program."""
    return {job.rule: job for job in jobs if "scripts/" in (job.command or "")}


def minutes(job: Job) -> int:
    return int(job.resources["runtime"])


def test_a_job_that_is_tried_again_asks_for_more_memory_and_time(to_plan, subtests):
    first = by_rule(plan(to_plan.folder, everything=True))
    third = by_rule(plan(to_plan.folder, everything=True, attempt=3))
    assert len(first) > 20
    for rule, job in first.items():
        with subtests.test(rule=rule):
            assert third[rule].resources["mem_mb"] == 3 * job.resources["mem_mb"], rule
            assert minutes(third[rule]) == 3 * minutes(job), rule
            # The program knows this number, and stays below it.
            assert f"--memory {job.resources['mem_mb']} " in job.command


# MB and minutes of jobs that run no model, and what each MB and GB of input adds to them.
DRAWING = ("adjustments", "classes", "effects", "heads", "regression", "sources")
ASKED = {
    **dict.fromkeys([f"plot_{name}" for name in DRAWING], (1500, 30, 0, 0.05)),
    "build_explorer": (2000, 30, 0, 0),
    "compute_centred_cosines": (2000, 120, 0, 0),
    "decompose_lags": (2000, 60, 0, 0),
    "describe_tokens": (2000, 120, 4, 0),
    "fetch_model": (4000, 120, 0, 0),
    "fit_classes": (2500, 60, 4, 8),
    "fit_effects": (1000, 60, 4, 0),
    "fit_regression": (2000, 60, 0.1, 1),
    "permute_documents": (2000, 240, 0, 0),
    "prepare_corpus": (1000, 30, 8, 0),
    "summarize_heads": (2500, 60, 0, 0),
    "summarize_sources": (1000, 30, 20, 0),
    "summarize_tokens": (1000, 30, 12, 0),
    "tokenize_corpus": (1500, 60, 4, 0),
    # As all rules that ask for nothing of their own.
    **dict.fromkeys(
        (
            *("accumulate_classes", "build_design", "check_fits", "compute_norms"),
            *("merge_vector_sums", "summarize_geometry", "write_claims", "write_findings"),
        ),
        (1000, 60, 0, 0),
    ),
}
# Minutes of jobs that run a model, whose memory depends on it.
MINUTES = {
    "estimate_effects": 240,
    "extract_activations": 240,
    "extract_untrained": 120,
    "trace_sources": 60,
}
MEGABYTE = 1024**2


def test_each_job_asks_for_memory_and_time_by_the_size_of_its_inputs(to_plan, subtests):
    """What rules ask for is stated once more here, so that no number changes unseen."""
    for path in (to_plan.folder / "results").rglob("*.parquet"):
        path.unlink()
        with path.open("wb") as file:
            file.truncate(2000 * MEGABYTE)
    jobs = by_rule(plan(to_plan.folder, everything=True))
    assert jobs.keys() == ASKED.keys() | MINUTES.keys()
    for rule, (mb, time, per_mb, per_gb) in ASKED.items():
        with subtests.test(rule=rule):
            job = jobs[rule]
            files = [to_plan.folder / path for path in job.given]
            size = sum(path.stat().st_size for path in files if path.is_file()) / MEGABYTE
            assert job.resources["mem_mb"] == round(mb + per_mb * size), rule
            assert minutes(job) == round(time + per_gb * size / 1000), rule
    assert {rule: minutes(jobs[rule]) for rule in MINUTES} == MINUTES


def test_jobs_of_the_rules_that_are_asked_for_by_name_have_their_memory_and_time(fresh):
    """A data set, earlier checkpoints, a comparison, and what is drawn of them."""
    model = fresh.config["models"]["tiny"]
    reviews = {"dataset": "small/reviews", "split": "train", "revision": 40 * "0", "documents": 20}
    fresh.write_config(
        models={"other": model | {"revisions": ["mine"]}},
        corpora={"reviews": reviews},
        extraction={"sites": ["attention", "mlp"]},
    )
    jobs = by_rule(plan(fresh.folder, ("all", "paper")))
    expected = {
        "compare_models": (4000, 60),
        "fetch_dataset": (4000, 120),
        "fetch_revision": (4000, 120),
        "fit_training": (1000, 60),
        "write_comparison": (1000, 60),
        "write_paper": (1000, 60),
    }
    found = {rule: (jobs[rule].resources["mem_mb"], minutes(jobs[rule])) for rule in expected}
    assert found == expected
    assert minutes(jobs["extract_revision"]) == 60


def test_passes_of_a_model_come_first_and_figures_last(to_plan):
    """Jobs that many others wait for come before those for which nothing waits."""
    jobs = by_rule(plan(to_plan.folder, everything=True))
    early = {"extract_activations": 3, "compute_norms": 2, "estimate_effects": 2}
    late = {rule: 0 for rule in jobs if rule.startswith("plot_")}
    assert len(late) > 4
    found = {rule: job.priority for rule, job in jobs.items()}
    assert found == {**dict.fromkeys(jobs, 1), **early, **late}


def test_a_model_needs_three_times_its_files_and_half_of_that_on_a_gpu(to_plan):
    path = next((to_plan.folder / "data/models/tiny").glob("*.safetensors"))
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1_000_000_000)
    batch = 4096 / 4

    def memory(rule: str) -> int:
        # As on a cluster, whose GPUs this machine need not have.
        jobs = by_rule(plan(to_plan.folder, everything=True, nodes=1))
        return jobs[rule].resources["mem_mb"]

    assert memory("extract_activations") == 2500 + 3 * 1000 + batch
    to_plan.write_config(extraction={"batch_tokens": 8192})
    assert memory("trace_sources") == 2500 + 3 * 1000 + 2 * batch
    to_plan.write_config(extraction={"device": "cuda"})
    assert memory("extract_activations") == 2500 + 1.5 * 1000 + 2 * batch
    # A backward pass keeps more of its batch.
    effects = memory("estimate_effects")
    to_plan.write_config(causal={"batch_tokens": 1000})
    more = effects - memory("estimate_effects")
    to_plan.write_config(causal={"batch_tokens": 500})
    assert memory("estimate_effects") == 2500 + 1.5 * 1000 + 2 * batch + 2 * 500
    assert more != 0


@pytest.mark.parametrize(("device", "gpus"), [("cpu", 0), ("cuda", 1)])
def test_jobs_of_a_model_ask_for_a_gpu_if_the_device_is_one(to_plan, device, gpus, subtests):
    model = to_plan.config["models"]["tiny"] | {"revisions": ["mine"]}
    to_plan.write_config(extraction={"device": device}, models={"tiny": model})
    jobs = by_rule(plan(to_plan.folder, everything=True, nodes=1))
    for rule, job in jobs.items():
        with subtests.test(rule=rule):
            assert job.resources.get("gpu", 0) == (gpus if rule in ON_GPUS else 0), rule


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (6, 3), (64, 8)])
def test_two_jobs_of_a_model_share_the_cores(to_plan, cores, threads):
    jobs = by_rule(plan(to_plan.folder, everything=True, cores=cores))
    several = {rule: job.threads for rule, job in jobs.items() if job.threads != 1}
    if threads > 1:
        assert several.keys() >= ON_GPUS - {"extract_revision"}
    assert set(several.values()) <= {threads}


def entries_of(profile: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "profiles" / profile / "profile.yaml").read_text("utf-8"))


def parsed(name: str, folder: Path) -> Mapping[str, object]:
    """Return what Snakemake reads from a profile, without lines of a plugin that is not here."""
    entries = entries_of(name)
    plugin = str(entries.pop("executor", "none"))
    for key in list(entries):
        if key.startswith(f"{plugin}-"):
            del entries[key]
    (folder / "profile.yaml").write_text(yaml.safe_dump(entries))
    _, arguments = parse_args(["--workflow-profile", "none", "--profile", str(folder)])
    return vars(arguments)


@pytest.mark.parametrize("name", ["default", "slurm", "generic"])
def test_every_profile_resumes_compares_files_by_content_and_shows_our_progress(name, tmp_path):
    found = parsed(name, tmp_path)
    assert found["rerun_incomplete"] is True
    # Files of up to 100 MB.
    assert found["max_checksum_file_size"] == 100_000_000
    assert found["logger"] == ["attnlag"]
    assert {str(each) for each in found["quiet"]} == {"host", "reason", "rules"}


def test_one_machine_runs_one_job_on_its_gpu_and_uses_all_cores(tmp_path):
    found = parsed("default", tmp_path)
    assert {name: each.value for name, each in found["resources"].items()} == {"gpu": 1}
    assert found["cores"] > 0
    assert found["retries"] == 0


@pytest.mark.parametrize("name", ["slurm", "generic"])
def test_a_cluster_tries_a_job_three_times_and_waits_for_its_files(name, tmp_path):
    found = parsed(name, tmp_path)
    assert found["retries"] == 2
    assert found["latency_wait"] == 60
    assert found["jobs"] == 100
    assert found["local_cores"] == 2
    assert found["show_failed_logs"] is True
    # A job without a rule of ours gets more when it is tried again, too.
    assert entries_of(name)["default-resources"]["mem_mb"] == "1000 * attempt"
    assert entries_of(name)["default-resources"]["runtime"] == "30m"
