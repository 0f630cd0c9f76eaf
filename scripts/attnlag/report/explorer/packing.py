"""Compression of numbers and texts that are stored inside a page.

A block is compressed with gzip and encoded in base64: no text of a corpus can become markup.
"""

import base64
import gzip
import json
from typing import Any

import numpy as np

# Codes of numbers; a larger one stands for a value that is not finite.
MAX_CODE = 254
NOT_FINITE = 255


def quantised(values: np.ndarray) -> tuple[bytes, dict[str, list[float]]]:
    """Return (rows, n) numbers as bytes, and the scale of each row.

    A byte stands for ``low + step * byte``, at most half a step from the number, and 255 for one
    that is not finite.
    """
    finite = np.isfinite(values)
    low = np.min(values, axis=1, initial=np.inf, where=finite)
    high = np.max(values, axis=1, initial=-np.inf, where=finite)
    known = finite.any(axis=1)
    low = np.where(known, low, 0.0)
    high = np.where(known, high, 0.0)
    step = (high - low) / MAX_CODE
    divisor = np.where(step > 0, step, 1.0)
    steps = (np.where(finite, values, 0.0) - low[:, None]) / divisor[:, None]
    codes = np.where(finite, np.clip(np.rint(steps), 0, MAX_CODE), NOT_FINITE)
    return codes.astype(np.uint8).tobytes(), {"low": low.tolist(), "step": step.tolist()}


def block(content: bytes) -> str:
    """Return bytes compressed, in base64; equal bytes give equal text."""
    return base64.b64encode(gzip.compress(content, compresslevel=9, mtime=0)).decode()


def json_block(content: Any) -> str:
    """Return a JSON value compressed, in base64; NaN becomes null."""
    without_nan = json.loads(json.dumps(content), parse_constant=lambda _: None)
    return block(json.dumps(without_nan, ensure_ascii=False, separators=(",", ":")).encode())
