"""A GPU gives the numbers of the processor."""

import numpy as np
import pytest
import torch
from models import MODELS, ragged, small_model

from attnlag.quantities import extraction
from attnlag.quantities.catalogue import SITES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_norms_on_a_gpu_equal_those_on_the_processor(name):
    found = []
    for device in ("cpu", "cuda"):
        options = {"sites": list(SITES), "batch_tokens": 64, "quantities": ["norms"]}
        model = small_model(*MODELS[name]).to(device)
        found.append(extraction.Extractor(model, **options).measure(ragged()))
    for site in SITES:
        on_cpu, on_gpu = (np.stack(values["norms", site]) for values in found)
        np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4)
