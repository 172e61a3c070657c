"""Images as bytes of every file format, and the words with which bad ones are refused."""

import io
import struct

import numpy as np
import pytest

GREY = np.random.default_rng(7).integers(0, 256, (6, 5, 4), dtype=np.uint8)
COLOUR = np.random.default_rng(8).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


def idx(images, magic=0x00000803):
    return struct.pack(">4I", magic, *images.shape) + images.tobytes()


def cifar(images):
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    labels = np.arange(len(images), dtype=np.uint8)[:, np.newaxis] % 10
    return np.hstack([labels, planes]).tobytes()


def npy(array):
    np.save(stream := io.BytesIO(), array)
    return stream.getvalue()


def npz(**arrays):
    np.savez(stream := io.BytesIO(), **arrays)
    return stream.getvalue()


def damaged(content):
    """Flip one byte near the end of the pixels: the zip is whole, its checksum no longer fits."""
    spot = content.index(npy(GREY)) + len(npy(GREY)) - 3
    return content[:spot] + bytes([content[spot] ^ 0xFF]) + content[spot + 1 :]


def message(function, *args, **kwargs):
    """Return the words of the ValueError: one sentence, and no other exception shows through."""
    with pytest.raises(ValueError) as caught:
        function(*args, **kwargs)
    error, text = caught.value, str(caught.value)
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    assert text.endswith(".") and not text.endswith("..") and "\n" not in text and ". " not in text
    return text
