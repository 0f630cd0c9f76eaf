"""GGUF files, converted to safetensors."""

import json
import math
import os
import re
import struct
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from attnlag.errors import UserError, as_user_error, counted
from attnlag.model.checks import FLOATS
from attnlag.model.folder import WEIGHTS
from attnlag.model.gguf_config import ARCHITECTURES, FACTORS, config_of
from attnlag.model.language_models import hollow_model, quiet_transformers

# The key that says whether a text is read as if a space were before it, as it is by default.
SPACE_PREFIX = "tokenizer.ggml.add_space_prefix"


def convert_gguf(path: Path, folder: Path) -> dict[str, Any]:
    """Convert a GGUF file to a Hugging Face folder with float32 safetensors, without a network.

    It takes no more memory than the largest tensor. Return ``quantization`` and ``bits`` of most
    weights, or nothing if they are not quantised. What transformers has no place for is refused.

    Raise UserError if the file is damaged, or holds what the model of transformers has no place
    for.
    """
    import gguf
    import torch
    from transformers import TOKENIZER_MAPPING, PreTrainedTokenizerFast
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor

    file = path.name
    with as_user_error(f"transformers cannot convert {file}"):
        header = _header(path)
        _check(header, file)
        architecture = header.fields["general.architecture"].contents()
    if architecture not in ARCHITECTURES:
        raise UserError(
            f"{file}: found the architecture '{architecture}', expected one of "
            f"{', '.join(ARCHITECTURES)} in GGUF; others run from safetensors"
        )
    with (
        quiet_transformers(),
        as_user_error(f"transformers cannot convert {file}"),
        tempfile.TemporaryDirectory() as alone,
    ):
        config = config_of(header, architecture, file)
        model = hollow_model(config, torch.float32)
        # transformers would also read other files in the same folder, and AutoTokenizer would parse
        # the vocabulary for the config.
        os.symlink(path.resolve(), Path(alone, file))
        kind: Any = TOKENIZER_MAPPING.get(type(config), PreTrainedTokenizerFast)
        tokenizer = kind.from_pretrained(alone, gguf_file=file, trust_remote_code=False)
    stated = header.fields.get(SPACE_PREFIX)
    prefixed = tokenizer.tokenize("a")[0].startswith("▁")
    if stated is not None and not stated.contents() and prefixed:
        raise UserError(
            f"{file} states {SPACE_PREFIX} (False), for which transformers' "
            f"{type(tokenizer).__name__} has no place; expected the model in safetensors"
        )
    tensors = _places(model, header, architecture, file)
    model.config.architectures = [type(model).__name__]
    # A GGUF file does not state it: transformers would write its default as if it were the model's.
    del model.config.initializer_range
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    # transformers would save the setting that forbids the network in this process.
    tokenizer.init_kwargs["local_files_only"] = False
    with quiet_transformers():
        tokenizer.save_pretrained(folder)
    # llama.cpp orders queries and keys otherwise, and adds one to the gains of some norms.
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config.to_dict())
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}

    def values_of(name: str) -> np.ndarray:
        tensor = tensors[name]
        if tensor is None:
            return np.zeros(shapes[name])
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        return processor.process(values, tensor.name).weights

    bar = tqdm(sorted(tensors), desc=f"{file}: tensors", unit="tensor", mininterval=1)
    _write_safetensors(folder / WEIGHTS, shapes, map(values_of, bar))
    weights: Counter[str] = Counter()
    for tensor in header.tensors:
        weights[tensor.tensor_type.name] += int(tensor.n_elements)
    (stored, _), *_ = weights.most_common(1)
    if stored in FLOATS:
        return {}
    # The first number in a name such as Q4_1, IQ2_XS or MXFP4.
    return {"quantization": stored, "bits": int(re.findall(r"\d+", stored)[0])}


def _header(path: Path) -> Any:
    """Return a reader of a GGUF file that knows of an array of texts only its length.

    The library would parse the vocabulary token by token, which takes seconds, and an array that
    states more numbers than the file has without an end. It has no public way to prevent either.
    """
    from gguf import GGUFReader, GGUFValueType

    class Header(GGUFReader):
        def _get_field_parts(self, start: int, kind: int) -> Any:
            if kind != GGUFValueType.ARRAY:
                return super()._get_field_parts(start, kind)
            data: Any = self.data
            element, count = struct.unpack_from("<IQ", data, start)
            end = start + 12
            types = [kind, GGUFValueType(element)]
            if element in self.gguf_scalar_to_np:
                numbers = np.frombuffer(data, self.gguf_scalar_to_np[element], count, end)
                return 12 + numbers.nbytes, [numbers], [0], types
            if element != GGUFValueType.STRING:
                raise ValueError(f"an array of values of type {element}")
            for _ in range(count):
                end += 8 + struct.unpack_from("<Q", data, end)[0]
            return end - start, [np.array([count])], [], types

    return Header(path)


def _check(header: Any, file: str) -> None:
    """Check the number of layers and the places of tensors in a GGUF file.

    transformers creates as many layers as the file states, and no library checks that the data of a
    tensor are its own.
    """
    for name, field in header.fields.items():
        if name.endswith(".block_count") and field.contents() > len(header.tensors):
            raise UserError(
                f"{file} states {field.contents():,} layers ({name}), but its weights are "
                f"{counted(len(header.tensors), 'tensor')}"
            )
    expected = 0
    for tensor in header.tensors:
        offset = int(tensor.field.parts[-1][0])
        if offset != expected:
            raise UserError(
                f"{file}: the tensor {tensor.name} begins at byte {offset:,} of the weights, "
                f"expected {expected:,}, the end of the tensor before"
            )
        expected += -(-tensor.n_bytes // int(header.alignment)) * int(header.alignment)


def _places(model: Any, header: Any, architecture: str, file: str) -> dict[str, Any]:
    """Return the tensor in a GGUF file for each parameter of a model; None for a bias of zeros.

    Raise UserError if one is missing, has another shape, or has no parameter.
    """
    import gguf

    (number,) = (n for n, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, model.config.num_hidden_layers)
    stored = {tensor.name: tensor for tensor in header.tensors}
    kinds = {_without_layer(name) for name in stored}
    tensors: dict[str, Any] = {}
    missing = []
    # The first of tied weights.
    for name, parameter in model.named_parameters():
        module, _, suffix = name.rpartition(".")
        name_in_file = f"{names.get_name(module)}.{suffix}"
        tensors[name] = tensor = stored.pop(name_in_file, None)
        if tensor is None:
            # A bias that no layer has is zero.
            if suffix != "bias" or _without_layer(name_in_file) in kinds:
                missing.append(name)
        elif (shape := tuple(tensor.shape[::-1].tolist())) != tuple(parameter.shape):
            raise UserError(
                f"{file}: the tensor {tensor.name} has the shape {shape}, expected "
                f"{tuple(parameter.shape)} from its header"
            )
    if missing:
        raise UserError(
            f"{file} lacks {counted(len(missing), 'tensor')} of the model: {', '.join(missing[:3])}"
        )
    factors = {*FACTORS.get(architecture, ())}
    unused = sorted(stored.keys() - (factors if factors <= stored.keys() else ()))
    if unused:
        others = f" and {counted(len(unused) - 1, 'other tensor')}" if unused[1:] else ""
        raise UserError(
            f"{file} has the tensor {unused[0]}{others}, for which transformers' "
            f"{type(model).__name__} has no place; expected the model in safetensors"
        )
    return tensors


def _without_layer(name: str) -> str:
    """Return the name of a tensor in a GGUF file without the number of its layer."""
    return re.sub(r"^blk\.\d+\.", "", name)


def _write_safetensors(
    path: Path, shapes: Mapping[str, Iterable[int]], tensors: Iterable[np.ndarray]
) -> None:
    """Write float32 tensors, sorted by name, one by one, because they may not all fit in memory."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(shapes):
        start = end
        end = end + 4 * math.prod(shapes[name])
        header[name] = {"dtype": "F32", "shape": list(shapes[name]), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            file.write(np.ascontiguousarray(tensor, "<f4").data)
