import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities import columns
from attnlag.quantities.catalogue import OUTCOMES
from attnlag.quantities.outcomes import in_batches, outcome_values


def test_norms_need_a_stream_to_stand_in_if_it_is_given(tmp_path):
    """Any batches give the same tokens, for plain numbers and those relative to the stream."""
    own = np.array([2.0, 3.0, 0.0, 5.0, 6.0], np.float32)
    stream = np.array([4.0, 0.0, 1.0, np.inf, 3.0], np.float32)
    documents = {"document": pa.array(list("abbbc")).dictionary_encode()}
    for name, values, rows in (("own", own, 2), ("stream", stream, 5)):
        keys = {key: range(5) for key in columns.KEYS} | documents
        table = pa.table({**keys, "layer_00": values})
        pq.write_table(table, tmp_path / name, row_group_size=rows)
    angles = table.drop(["layer_00"]).append_column("layer_00.angle", pa.array(own))
    pq.write_table(angles, tmp_path / "angles", row_group_size=2)
    found = {}
    for name, path in (("norm", "own"), ("relative", "own"), ("angle", "angles")):
        batches = in_batches(OUTCOMES[name], tmp_path / path, tmp_path / "stream", 3, "norms")
        found[name] = np.concatenate([batch["layer_00"].to_numpy() for batch in batches])
    np.testing.assert_array_equal(found["norm"], [2, np.nan, 0, np.nan, 6])
    np.testing.assert_array_equal(found["relative"], [0.5, np.nan, 0, np.nan, 2])
    np.testing.assert_array_equal(found["angle"], found["norm"])


def test_sizes_enter_as_logarithms_and_signed_quantities_unchanged():
    numbers = np.array([2.0, 0.0, -1.0, np.inf, np.nan], np.float32)
    for name, outcome in OUTCOMES.items():
        logarithm = name in ("norm", "relative", "orthogonal", "from_itself", "from_earlier")
        own = [np.log(2), np.nan, np.nan] if logarithm else [2, 0, -1]
        np.testing.assert_allclose(outcome_values(outcome, numbers), [*own, np.nan, np.nan])
