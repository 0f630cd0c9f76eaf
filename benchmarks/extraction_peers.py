"""Norms of attention outputs of a GPT-2 by other packages, as their users would write them.

    python benchmarks/extraction_peers.py transformer_lens ids.npy THREADS

Run by ``extraction.py``, in a process and an environment of its own. For every line on its
standard input it runs the model over all batches and answers with the seconds that this took, of
its processor with one thread, of the clock with more.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch

# GPT-2's size. Its weights are random, which does not affect speed.
LAYERS = 12


def transformer_lens() -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """Return ``run_with_cache``, with a filter on what is cached."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import GPT2Config, GPT2LMHeadModel

    # The folder has random weights, of the size of GPT-2.
    config = GPT2Config(architectures=["GPT2LMHeadModel"], attn_implementation="eager")
    with tempfile.TemporaryDirectory() as folder:
        GPT2LMHeadModel(config).save_pretrained(folder)
        model = TransformerBridge.boot_transformers(folder, device="cpu").eval()

    def run(ids: torch.Tensor) -> list[torch.Tensor]:
        _, cache = model.run_with_cache(ids, names_filter=lambda name: "hook_attn_out" in name)
        return [cache["attn_out", layer].norm(dim=-1) for layer in range(LAYERS)]

    return run


def nnsight() -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """Return a trace that saves the attention outputs of the language model."""
    from nnsight import NNsight
    from transformers import GPT2Config, GPT2LMHeadModel

    model = NNsight(GPT2LMHeadModel(GPT2Config()).eval())

    def run(ids: torch.Tensor) -> list[torch.Tensor]:
        with model.trace(ids):
            outputs = [].save()
            for block in model.transformer.h:
                outputs.append(block.attn.output[0])
        return [output.norm(dim=-1) for output in outputs]

    return run


PEERS = {"transformer_lens": transformer_lens, "nnsight": nnsight}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("ids", help="batches of sequences of one length (NumPy)")
    parser.add_argument("threads", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    batches = torch.from_numpy(np.load(arguments.ids))
    forward = PEERS[arguments.peer]()
    with torch.inference_mode():
        norms = forward(batches[0, :1])
        assert len(norms) == LAYERS
        assert norms[0].shape == batches[0, :1].shape
        print("ready", flush=True)
        for _ in sys.stdin:
            began = clock()
            for ids in batches:
                forward(ids)
            print(clock() - began, flush=True)
