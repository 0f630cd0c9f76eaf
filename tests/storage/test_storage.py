"""Results in a bucket: a real S3 server on this machine and Snakemake's plugin."""

import io
import shutil
from functools import partial

import boto3
import pandas as pd
import pytest
import requests
from moto.server import ThreadedMotoServer
from projects import SNAKEMAKES_OWN, new_project, without_figures

BUCKET, PREFIX = "studies", "first"
KEYS = {"ACCESS_KEY": "some", "SECRET_KEY": "thing"}


@pytest.fixture
def bucket():
    """Yield an empty bucket."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    address = "http://{}:{}".format(*moto.get_host_and_port())
    # A process has one store for all servers.
    requests.post(f"{address}/moto-api/reset", timeout=60)
    keys = {"aws_access_key_id": KEYS["ACCESS_KEY"], "aws_secret_access_key": KEYS["SECRET_KEY"]}
    s3 = boto3.resource("s3", endpoint_url=address, region_name="us-east-1", **keys)
    yield s3.create_bucket(Bucket=BUCKET)
    moto.stop()


def stored(bucket):
    """Return the results in the bucket by path, as Project.results does."""
    results = f"{PREFIX}/results/"
    found = bucket.objects.filter(Prefix=results)
    return {
        item.key.removeprefix(results): item.get()["Body"].read()
        for item in found
        if not item.key.endswith(SNAKEMAKES_OWN)
    }


def run_in(bucket, project, *arguments):
    """Run with all results in the bucket; return the printed text."""
    address = bucket.meta.client.meta.endpoint_url
    return project.run(
        *(*arguments, "--default-storage-provider", "s3", "--default-storage-prefix"),
        *(f"s3://{BUCKET}/{PREFIX}", "--storage-s3-endpoint-url", address),
        environment={f"SNAKEMAKE_STORAGE_S3_{name}": key for name, key in KEYS.items()},
    )


def test_results_in_a_bucket_equal_those_on_disk(gpt2, tmp_path, bucket):
    """The whole chain runs over two shards. Then nothing is left to do until a change."""
    project = new_project(tmp_path / "project", gpt2)
    corpus = {**project.config["corpora"]["small"], "shards": 2}
    project.write_config(corpora={"small": corpus}, figures={"formats": ["svg"]})
    local = project.copy(tmp_path / "local")
    local.run()
    run = partial(run_in, bucket, project)

    assert f"s3://{BUCKET}/{PREFIX}/results/answers.txt\n" in run()
    made = local.results()
    del made["provenance.json"]
    assert stored(bucket) == made
    assert not project.results()

    assert "Nothing to be done" in run("-n")
    project.write_config(inference={"alpha": 0.1})
    planned = run("-n")
    assert "fit_regression" in planned
    assert "build_design" not in planned


def test_comparison_and_paper_in_a_bucket_read_what_they_read_on_disk(
    gpt2, llama, tmp_path, bucket
):
    """Claims after a changed setting and the paper are equal, for two models with all controls."""
    project = new_project(tmp_path / "project", gpt2)
    shutil.copytree(llama, project.folder / "llama")
    project.write_config(
        models={"llama": {"source": "path", "path": "llama"}},
        controls={"permutation": {"draws": 20}, "random_weights": {"documents": 6}},
        figures={"formats": ["svg"]},
    )
    local = project.copy(tmp_path / "local")
    run = partial(run_in, bucket, project)
    run(*without_figures())
    claims = pd.read_csv(io.BytesIO(stored(bucket)["comparison/claims.csv"]))
    assert claims["claim"].eq("lag_1_below_untrained").any()

    project.write_config(inference={"alpha": 0.1})
    local.write_config(inference={"alpha": 0.1})
    run("default", "paper")
    local.run("default", "paper")
    made = local.results()
    del made["provenance.json"]
    assert stored(bucket) == made
    changed = pd.read_csv(io.BytesIO(stored(bucket)["comparison/claims.csv"]))
    assert changed["claim"].tolist() == claims["claim"].tolist()
