"""GGUF files, converted to safetensors."""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attnlag.errors import UserError, counted, told_as


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Convert a GGUF file to a Hugging Face folder with float32 safetensors.

    Needs no network. The quantised weights are expanded, so the folder is several times the
    size of the file.

    Parameters
    ----------
    gguf : Path
        The file, with any name.
    folder : Path
        Where weights, config and tokenizer are written.

    Raises
    ------
    UserError
        transformers cannot read the file, or it lacks a part of the model.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"gguf_file": gguf.name, "trust_remote_code": False}
    with quiet_transformers(), tempfile.TemporaryDirectory() as alone:
        # transformers would also read other files that lie beside this one.
        os.symlink(gguf.resolve(), Path(alone) / gguf.name)
        with told_as(f"transformers cannot convert {gguf.name}"):
            _check_blocks(gguf)
            tokenizer = AutoTokenizer.from_pretrained(alone, **source)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                alone, dtype=torch.float32, output_loading_info=True, **source
            )
        quantised, loading = loaded
        # transformers fills what a file lacks with random numbers.
        if missing := sorted(loading["missing_keys"]):
            raise UserError(
                f"{gguf.name} lacks {counted(len(missing), 'tensor')} of the model: "
                f"{', '.join(missing[:3])}"
            )
        # transformers refuses to save a model that it loaded from GGUF. A new model of the same
        # config can be saved; it takes the tensors over without a second copy in memory.
        settings = quantised.config.to_dict()
        settings.pop("quantization_config", None)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                type(quantised.config).from_dict(settings), trust_remote_code=False
            )
        model.load_state_dict(quantised.state_dict(), strict=True, assign=True)
        model.tie_weights()
        model.generation_config = quantised.generation_config
        model.save_pretrained(folder)
        # transformers would save that this process does without a network.
        tokenizer.init_kwargs["local_files_only"] = False
        tokenizer.save_pretrained(folder)
    share_weights(folder)


def _check_blocks(path: Path) -> None:
    """Refuse a GGUF file that states more layers than it has tensors.

    transformers makes layers one by one, before there are weights to compare them with.
    """
    from gguf import GGUFReader

    reader = GGUFReader(path)
    tensors = len(reader.tensors)
    for name, field in reader.fields.items():
        stated = field.contents() if name.endswith(".block_count") else 0
        if stated > tensors:
            raise UserError(
                f"{path.name} states {stated:,} layers ({name}), but its weights are "
                f"{counted(tensors, 'tensor')}"
            )


def share_weights(folder: Path) -> None:
    """Give saved weights, which come out readable by their owner only, the rights of the config."""
    rights = (folder / "config.json").stat().st_mode & 0o777
    for path in folder.glob("*.safetensors"):
        path.chmod(rights)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and advice off the terminal; errors still raise."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        # One of its progress bars heeds no setting, but all of them go to standard error.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
