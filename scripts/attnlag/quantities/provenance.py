"""The records of files with what passes gave: the model, the settings, and what was run."""

from collections.abc import Mapping
from typing import Any

from attnlag.model.decoder import Decoder
from attnlag.model.folder import digest_of_weights
from attnlag.section import Section
from attnlag.storage.tables import Record, provenance


def provenance_of(
    upstream: Record, stage: str, settings: Section | Mapping[str, Any], decoder: Decoder | None
) -> Record:
    """Return the provenance of what passes give; without a decoder there was no token to pass.

    It has the device and the precision, which may be "auto" in settings, and the layers without
    attention.
    """
    model = dict(upstream["model"])
    used = {}
    if decoder:
        run = decoder.model
        used = {"device": run.device.type, "dtype": str(run.dtype).removeprefix("torch.")}
        model |= {"mixers": decoder.mixers} if decoder.mixers else {}
    values = settings.model_dump() if isinstance(settings, Section) else settings
    recorded = {**values, "used": used}
    return provenance(upstream, stage, recorded, "torch", "transformers", model=model)


def record_of_shard(
    upstream: Record, settings: Section, decoder: Decoder, quantity: str, site: str
) -> Record:
    """Return the record of a quantity's file of a shard: of vectors, or as if made from theirs.

    ``settings`` are those of the pass. A file's bytes do not depend on the quantities and sites
    beside it.
    """
    recorded = settings.model_dump(exclude={"sites", "quantities"})
    recorded["site"] = site or quantity
    made = provenance_of(upstream, "activations", recorded, decoder)
    if quantity == "vectors":
        return made
    return provenance(made, quantity, {})


def record_of_revision(
    upstream: Record,
    settings: Section,
    decoder: Decoder,
    source: dict[str, Any],
    quantity: str,
    site: str,
) -> Record:
    """Return the record of a quantity's file of an earlier checkpoint.

    ``settings`` are those of the pass, and ``source`` is the record of the model's folder.
    """
    recorded = settings.model_dump() | {"site": site or quantity}
    made = provenance_of(upstream, "revision", recorded, decoder)
    checkpoint = {"step": source["step"], "revision": source["checkpoint"]}
    checkpoint["weights"] = digest_of_weights(source)
    return Record(made, checkpoint=checkpoint)


def record_of_draw(
    upstream: Record,
    settings: Section,
    facts: Mapping[str, Any],
    decoder: Decoder,
    quantity: str,
    site: str,
) -> Record:
    """Return the record of a quantity's file of a model with drawn weights.

    ``settings`` are those of the pass, and ``facts`` those of the draw.
    """
    recorded = settings.model_dump() | {"site": site or quantity}
    made = provenance_of(upstream, "untrained", recorded, decoder)
    return Record(made, draw=dict(facts))
