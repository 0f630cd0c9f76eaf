"""Compression of numbers and texts that are stored inside a page.

Log norms take 8 bits, 254 steps of a layer's range. A block is compressed with gzip and encoded in
base64, so that no text of a corpus can become markup.
"""

import base64
import gzip
import json
from typing import Any

import numpy as np


def quantised(values: np.ndarray, bits: int = 8) -> tuple[bytes, dict[str, Any]]:
    """Return (rows, n) numbers as integers of 8 or 16 bits, and the scale of each row.

    An integer stands for ``low + step * integer``, at most half a step from the number, and the
    largest one for a value that is not finite. Whole numbers are stored exactly if their range
    fits.
    """
    finite = np.isfinite(values)
    levels = 2**bits - 2
    low = np.min(values, axis=1, initial=np.inf, where=finite)
    high = np.max(values, axis=1, initial=-np.inf, where=finite)
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)
    step = (high - low) / levels
    all_integers = np.all((values == np.rint(values)) | ~finite, axis=1) & (step <= 1)
    step = np.where(all_integers & (step > 0), 1.0, step)
    steps = (np.where(finite, values, 0.0) - low[:, None]) / np.where(step, step, 1)[:, None]
    codes = np.where(finite, np.clip(np.rint(steps), 0, levels), levels + 1)
    codes = codes.astype(f"<u{bits // 8}").ravel()
    return codes.tobytes(), {"bits": bits, "low": low.tolist(), "step": step.tolist()}


def block(content: bytes) -> str:
    """Return bytes compressed, in base64; equal bytes give equal text."""
    return base64.b64encode(gzip.compress(content, compresslevel=9, mtime=0)).decode()


def json_block(content: Any) -> str:
    """Return a JSON value compressed, in base64; NaN becomes null."""
    without_nan = json.loads(json.dumps(content), parse_constant=lambda _: None)
    return block(json.dumps(without_nan, ensure_ascii=False, separators=(",", ":")).encode())
