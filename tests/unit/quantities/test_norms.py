import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from attnlag.quantities import norms


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(-(2.0**60), 2.0**60, width=32) | st.sampled_from([np.nan, np.inf]),
    )
)
def test_a_norm_is_the_root_of_the_sum_of_squares_also_if_it_is_not_finite(vectors):
    expected = [math.sqrt(math.fsum(float(x) ** 2 for x in row)) for row in vectors]
    # Below the normal numbers of float32, its digits become fewer.
    least = float(np.finfo(np.float32).smallest_subnormal)
    np.testing.assert_allclose(norms.l2_norms(vectors), expected, rtol=1e-6, atol=least)


def test_sums_of_many_terms_keep_their_digits():
    vectors = np.full((1, 100_000), 0.1, np.float32)
    vectors[0, 0] = 1e4
    exact = math.sqrt(math.fsum(float(x) ** 2 for x in vectors[0]))
    assert norms.l2_norms(vectors)[0] == np.float32(exact)
