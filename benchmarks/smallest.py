"""The smallest case of each benchmark, which shows that it runs, and what these cases share.

    python benchmarks/smallest.py

All run in this process, as the imports of most take longer than their smallest case.
"""

import argparse
import runpy
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

# The options of each, by its program.
CASES = {
    "extraction": "--models gpt2 --sequences 1 --rounds 1 --peers",
    "storage": "--rows 64 --rounds 1",
    "regression": "--rows 2000 --peers",
    "coverage": "--replications 2 --draws 19",
    "derivative": "--smallest",
    "sources": "--smallest",
    "quantization": "--smallest",
    "initial_scale": "--smallest",
    "scaling": "--smallest",
}


def asked(description: str) -> bool:
    """Return whether the command line asks for the smallest case, of a program without others."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smallest", action="store_true", help="whether the program runs at all")
    return parser.parse_args().smallest


def save_model(folder: Path, **config: Any) -> None:
    """Write a random GPT-2 of 2 layers and width 32, with a tokenizer of 2,000 tokens.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    **config
        Further values of its config.
    """
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers import GPT2TokenizerFast  # type: ignore[attr-defined] # isort: skip

    folder.mkdir(exist_ok=True)
    trained = ByteLevelBPETokenizer()
    trained.train(str(ROOT / "data" / "prompts.jsonl"), 2000, special_tokens=["<|endoftext|>"])
    trained.save_model(str(folder))
    GPT2TokenizerFast.from_pretrained(folder).save_pretrained(folder)
    sizes: dict[str, Any] = {
        "n_layer": 2,
        "n_embd": 32,
        "n_head": 2,
        "n_positions": 256,
        "vocab_size": 2000,
    }
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, **config))
    model.save_pretrained(folder)


if __name__ == "__main__":
    for program, options in CASES.items():
        print(f"\n{program} {options}", flush=True)
        sys.argv = [program, *options.split()]
        runpy.run_path(str(Path(__file__).with_name(f"{program}.py")), run_name="__main__")
