"""GGUF files, converted to safetensors."""

import contextlib
import io
import json
import math
import mmap
import os
import re
import struct
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from attnlag.errors import UserError, counted, told_as
from attnlag.model.folder import WEIGHTS

# Bytes of a value of each kind in a GGUF header; strings and arrays state their own lengths.
VALUE_BYTES = {0: 1, 1: 1, 7: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 10: 8, 11: 8, 12: 8}
UINT32, STRING, ARRAY = 4, 8, 9

FLOATS = ("F64", "F32", "F16", "BF16")

# Architectures in GGUF that can be converted; tests compare each with transformers' own loader.
ARCHITECTURES = ("llama", "qwen2", "qwen3", "phi3", "gemma2", "gemma3")


def convert_gguf(gguf: Path, folder: Path) -> dict[str, Any]:
    """Convert a GGUF file to a Hugging Face folder with float32 safetensors, without a network.

    Quantised weights are expanded, so the folder is several times as large as the file. It takes
    seconds and no more memory than the largest tensor.

    Returns
    -------
    dict
        ``quantization`` and ``bits`` of the weights; empty if they are not quantised.

    Raises
    ------
    UserError
        If the architecture is not in ``ARCHITECTURES``, transformers cannot read the file, or a
        part of the model is missing.
    """
    with tempfile.TemporaryDirectory() as temporary:
        # transformers would also read other files in the same folder.
        alone, short = Path(temporary) / "alone", Path(temporary) / "short"
        alone.mkdir()
        short.mkdir()
        os.symlink(gguf.resolve(), alone / gguf.name)
        with told_as(f"transformers cannot convert {gguf.name}"):
            data_moved = _leave_out_vocabulary(gguf, short / gguf.name)
            header = _checked_header(short / gguf.name)
        _convert(alone, short, header, data_moved, folder)
    share_weights(folder)
    return _precision(header)


def _precision(header: Any) -> dict[str, Any]:
    """Return the type that most weights are stored in, and its bits, if it is a quantised one."""
    weights: Counter[str] = Counter()
    for tensor in header.tensors:
        weights[tensor.tensor_type.name] += int(tensor.n_elements)
    (stored, _), *_ = weights.most_common(1)
    if stored in FLOATS:
        return {}
    # The first number in a name such as Q4_1, IQ2_XS or MXFP4.
    return {"quantization": stored, "bits": int(re.findall(r"\d+", stored)[0])}


def _leave_out_vocabulary(gguf: Path, short: Path) -> int:
    """Write a copy of a GGUF file's header without the vocabulary, and without weights.

    Libraries parse the vocabulary token by token on every access, which takes seconds. The weights
    are replaced by a hole in the file.
    """
    with gguf.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def number(form: str, at: int) -> int:
        return int(struct.unpack_from(f"<{form}", data, at)[0])

    def end_of(kind: int, at: int) -> int:
        """Return the end of the value that begins at ``at``."""
        if kind == STRING:
            return at + 8 + number("Q", at)
        if kind != ARRAY:
            return at + VALUE_BYTES[kind]
        kind, count = number("I", at), number("Q", at + 4)
        at += 12
        if kind in VALUE_BYTES:
            return at + count * VALUE_BYTES[kind]
        for _ in range(count):
            at = end_of(kind, at)
        return at

    tensors, values = number("Q", 8), number("Q", 16)
    at = 24
    fields: dict[str, bytes] = {}
    architecture, alignment, tokens = "", 32, 0
    for _ in range(values):
        start, at = at, end_of(STRING, at)
        key, kind = data[start + 8 : at].decode(), number("I", at)
        value, at = at + 4, end_of(kind, at + 4)
        if key == "general.architecture":
            architecture = data[value + 8 : at].decode()
        elif key == "general.alignment":
            alignment = number("I", value)
        elif key == "tokenizer.ggml.tokens":
            tokens = number("Q", value + 4)
        if not (kind == ARRAY and key.startswith("tokenizer.")):
            fields[key] = data[start:at]
    # Most files do not state the size of the vocabulary.
    size = f"{architecture}.vocab_size"
    if tokens and size not in fields:
        name = size.encode()
        fields[size] = struct.pack(f"<Q{len(name)}sII", len(name), name, UINT32, tokens)
    start = at
    for _ in range(tensors):
        at = end_of(STRING, at)
        at += 4 + 8 * number("I", at) + 4 + 8
    counts = struct.pack("<QQ", tensors, len(fields))
    header = data[:8] + counts + b"".join(fields.values()) + data[start:at]
    here, there = (-(-end // alignment) * alignment for end in (at, len(header)))
    with short.open("wb") as written:
        written.write(header)
        written.truncate(there + len(data) - here)
    return here - there


def _checked_header(path: Path) -> Any:
    """Return a reader of a GGUF file whose number of layers and places of tensors are right.

    transformers creates as many layers as the file states, and neither library checks that the data
    of a tensor are its own.
    """
    from gguf import GGUFReader

    reader = GGUFReader(path)
    names = " ".join(tensor.name for tensor in reader.tensors)
    layers = max((int(number) + 1 for number in re.findall(r"\bblk\.(\d+)\.", names)), default=0)
    counts = {name: field for name, field in reader.fields.items() if name.endswith(".block_count")}
    problems = [
        f"{path.name} states {counted(field.contents(), 'layer')} ({name}), but its weights are "
        f"those of {counted(layers, 'layer')}"
        for name, field in counts.items()
        if field.contents() != layers
    ]
    if not (counts and layers):
        problems.append(f"{path.name} states no layers, expected a model with at least one")
    expected = 0
    for tensor in reader.tensors:
        offset = int(tensor.field.parts[-1][0])
        if offset != expected:
            problems.append(
                f"{path.name}: the tensor {tensor.name} begins at byte {offset:,} of the weights, "
                f"expected {expected:,}, the end of the tensor before"
            )
            break
        expected += -(-tensor.n_bytes // int(reader.alignment)) * int(reader.alignment)
    if problems:
        raise UserError(problems)
    return reader


def _convert(alone: Path, short: Path, header: Any, data_moved: int, folder: Path) -> None:
    """Convert a model tensor by tensor."""
    import gguf
    import torch
    from transformers import (
        TOKENIZER_MAPPING,
        AutoConfig,
        AutoModelForCausalLM,
        PreTrainedTokenizerFast,
    )
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor

    (file,) = (path.name for path in short.iterdir())
    architecture = header.fields["general.architecture"].contents()
    if architecture not in ARCHITECTURES:
        raise UserError(
            f"{file}: found the architecture '{architecture}', expected one of "
            f"{', '.join(ARCHITECTURES)} in GGUF; others run from safetensors"
        )
    source: dict[str, Any] = {"gguf_file": file, "trust_remote_code": False}
    # Only the text model of Gemma 3 is in GGUF.
    model_type = {"gemma3": "gemma3_text"}.get(architecture, architecture)
    with quiet_transformers(), told_as(f"transformers cannot convert {file}"):
        config = AutoConfig.from_pretrained(short, **source)
        if config.model_type != model_type:
            raise UserError(f"{file}: found a {config.model_type}, expected a {model_type}")
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                config, dtype=torch.float32, trust_remote_code=False
            )
        # The choice of AutoTokenizer, which itself would parse the vocabulary for the config.
        kind: Any = TOKENIZER_MAPPING.get(type(config), PreTrainedTokenizerFast)
        tokenizer = kind.from_pretrained(alone, **source)
    (number,) = (n for n, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, config.num_hidden_layers)
    stored = {tensor.name: tensor for tensor in header.tensors}
    tensors, missing = {}, []
    # The first of tied weights.
    for name, parameter in model.named_parameters():
        path, _, suffix = name.rpartition(".")
        tensor = stored.get(f"{names.get_name(path)}.{suffix}")
        if tensor is None:
            missing.append(name)
        elif (shape := tuple(tensor.shape[::-1].tolist())) != tuple(parameter.shape):
            raise UserError(
                f"{file}: the tensor {tensor.name} has the shape {shape}, expected "
                f"{tuple(parameter.shape)} from its header"
            )
        else:
            tensors[name] = tensor
    if missing:
        raise UserError(
            f"{file} lacks {counted(len(missing), 'tensor')} of the model: {', '.join(missing[:3])}"
        )
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    # transformers would save the setting that forbids the network in this process.
    tokenizer.init_kwargs["local_files_only"] = False
    with quiet_transformers():
        tokenizer.save_pretrained(folder)
    data = np.memmap(alone / file, mode="r")
    # llama.cpp orders queries and keys otherwise, and adds one to the gains of some norms.
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config.to_dict())

    def values_of(tensor: Any) -> np.ndarray:
        start = tensor.data_offset + data_moved
        bytes_of_tensor = data[start : start + tensor.n_bytes].view(tensor.data.dtype)
        values = gguf.dequantize(bytes_of_tensor.reshape(tensor.data.shape), tensor.tensor_type)
        return processor.process(values, tensor.name).weights

    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    bar = tqdm(sorted(tensors), desc=f"{file}: tensors", unit="tensor", mininterval=1)
    _write_safetensors(folder / WEIGHTS, shapes, (values_of(tensors[name]) for name in bar))


def _write_safetensors(
    path: Path, shapes: Mapping[str, Iterable[int]], tensors: Iterable[np.ndarray]
) -> None:
    """Write float32 tensors, sorted by name, one by one, because they may not all fit in memory."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(shapes):
        start, end = end, end + 4 * math.prod(shapes[name])
        header[name] = {"dtype": "F32", "shape": list(shapes[name]), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            file.write(np.ascontiguousarray(tensor, "<f4").data)


def share_weights(folder: Path) -> None:
    """Give saved weights, which only their owner can read, the permissions of the config."""
    rights = (folder / "config.json").stat().st_mode & 0o777
    for path in folder.glob("*.safetensors"):
        path.chmod(rights)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Suppress transformers' warnings and progress bars; errors are still raised."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        # One of its progress bars ignores the settings, but all of them use standard error.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
