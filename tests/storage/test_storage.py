"""Results in a bucket: a real S3 server on this machine and Snakemake's plugin."""

import io
import shutil
from collections.abc import Iterator

import boto3
import pandas as pd
import pytest
import requests
from moto.server import ThreadedMotoServer
from projects import new_project

BUCKET, PREFIX = "studies", "first"
KEYS = {"ACCESS_KEY": "some", "SECRET_KEY": "thing"}


@pytest.fixture
def server() -> Iterator[str]:
    """Return the address of a server with an empty bucket."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    address = "http://{}:{}".format(*moto.get_host_and_port())
    # A process has one store for all servers.
    requests.post(f"{address}/moto-api/reset", timeout=60)
    client(address).create_bucket(Bucket=BUCKET)
    yield address
    moto.stop()


def client(address):
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id=KEYS["ACCESS_KEY"],
        aws_secret_access_key=KEYS["SECRET_KEY"],
    )


def stored(address):
    """Return the results in the bucket by path, as Project.results does."""
    s3 = client(address)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    keys = [item["Key"] for page in pages for item in page["Contents"]]
    results = f"{PREFIX}/results/"
    return {
        key.removeprefix(results): s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        for key in keys
        if key.startswith(results)
    }


def in_bucket(project, address):
    """Return a function that runs Snakemake with all results in the bucket; it returns the log."""
    options = (
        *("--default-storage-provider", "s3", "--default-storage-prefix"),
        *(f"s3://{BUCKET}/{PREFIX}", "--storage-s3-endpoint-url", address),
    )
    environment = {f"SNAKEMAKE_STORAGE_S3_{name}": key for name, key in KEYS.items()}

    def run(*arguments):
        result = project.snakemake("--cores", "2", *arguments, *options, environment=environment)
        assert result.returncode == 0, result.stdout
        return result.stdout

    return run


def test_results_in_a_bucket_equal_those_on_disk(gpt2, tmp_path, server):
    """The whole chain runs over two shards. Then nothing is left to do until a change."""
    project = new_project(tmp_path / "project", gpt2)
    corpus = {**project.config["corpora"]["small"], "shards": 2}
    project.write_config(corpora={"small": corpus}, figures={"formats": ["svg"]})
    local = project.copy(tmp_path / "local")
    local.run()
    run = in_bucket(project, server)

    assert f"s3://{BUCKET}/{PREFIX}/results/answers.txt\n" in run()
    made = local.results()
    del made["provenance.json"]
    assert stored(server) == made
    assert not project.results()

    assert "Nothing to be done" in run("-n")
    project.write_config(inference={"alpha": 0.1})
    planned = run("-n")
    assert "fit_regression" in planned
    assert "build_design" not in planned


def test_comparison_and_paper_in_a_bucket_read_what_they_read_on_disk(
    gpt2, llama, tmp_path, server
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
    run = in_bucket(project, server)
    run()
    claims = pd.read_csv(io.BytesIO(stored(server)["comparison/claims.csv"]))
    assert claims["claim"].str.contains("every scale drawn").any()

    project.write_config(inference={"alpha": 0.1})
    local.write_config(inference={"alpha": 0.1})
    run("paper")
    run()
    local.run("paper")
    local.run()
    made = local.results()
    del made["provenance.json"]
    assert stored(server) == made
    changed = pd.read_csv(io.BytesIO(stored(server)["comparison/claims.csv"]))
    assert changed["claim"].tolist() == claims["claim"].tolist()
