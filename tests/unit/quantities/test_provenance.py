"""The records of files that passes give."""

from attnlag.quantities import provenance
from attnlag.quantities.settings import ExtractionSettings
from attnlag.storage.tables import Record

UPSTREAM = Record(
    {"model": {"name": "tiny"}, "corpus": {"name": "small"}, "stages": {"tokens": {}}}
)


def test_the_record_of_a_shard_does_not_name_the_quantities_and_sites_beside_it():
    settings = ExtractionSettings(sites=["attention", "mlp"], quantities=["geometry"])
    norms = provenance.record_of_shard(UPSTREAM, settings, None, "norms", "attention")
    stage = norms["stages"]["activations"]
    assert {"sites", "quantities"}.isdisjoint(stage)
    others = settings.model_dump(exclude={"sites", "quantities"})
    assert stage == others | {"site": "attention", "used": {}}
    assert norms["stages"]["norms"] == {}
    stream = provenance.record_of_shard(UPSTREAM, settings, None, "stream", "")
    assert stream["stages"]["activations"]["site"] == "stream"
