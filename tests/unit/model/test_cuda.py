"""A GPU gives the numbers of the processor."""

import numpy as np
import pytest
import torch
from models import MODELS, measured, small_model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_norms_on_a_gpu_equal_those_on_the_processor(name):
    model = small_model(*MODELS[name])
    _, on_cpu = measured(model, "norms")
    _, on_gpu = measured(model.to("cuda"), "norms")
    for site, norms in on_cpu.items():
        np.testing.assert_allclose(on_gpu[site], norms, rtol=1e-4)
