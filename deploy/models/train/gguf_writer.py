"""Writes and reads GGUF v3 files (little-endian): key-value pairs, then named tensors.

A key-value pair is a tuple (key, type, value); type is one of the names of SCALARS, `string`, or
either of them in brackets for an array, for example `[string]`. Tensors are numpy arrays in
PyTorch's order (slowest dimension first); the file's order is the reverse, so nothing is moved.
"""
import struct

import numpy as np

MAGIC = b"GGUF"
VERSION = 3
ALIGNMENT = 32
# Type name -> (number in the file, struct format).
SCALARS = {
    "u8": (0, "<B"), "i8": (1, "<b"), "u16": (2, "<H"), "i16": (3, "<h"), "u32": (4, "<I"),
    "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?"), "u64": (10, "<Q"), "i64": (11, "<q"),
    "f64": (12, "<d"),
}
STRING, ARRAY = 8, 9
NAMES = {number: name for name, (number, _) in SCALARS.items()}
NAMES[STRING] = "string"
TENSOR_TYPES = {"F32": (0, np.dtype("<f4")), "F16": (1, np.dtype("<f2"))}


def _string(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _type_number(name):
    return STRING if name == "string" else SCALARS[name][0]


def _value(name, value):
    return _string(value) if name == "string" else struct.pack(SCALARS[name][1], value)


def _pair(key, kind, value):
    """One key-value pair as bytes."""
    if not kind.startswith("["):
        return _string(key) + struct.pack("<I", _type_number(kind)) + _value(kind, value)
    inner = kind[1:-1]
    head = struct.pack("<IIQ", ARRAY, _type_number(inner), len(value))
    return _string(key) + head + b"".join(_value(inner, item) for item in value)


def _pad(size, alignment):
    return -size % alignment


def write(path, pairs, tensors, dtype="F32", alignment=ALIGNMENT):
    """Writes one file. `tensors` is an ordered dict name -> array; arrays of two and more
    dimensions are stored as `dtype`, those of one dimension always as F32."""
    if alignment != ALIGNMENT:
        pairs = list(pairs) + [("general.alignment", "u32", alignment)]
    infos, blobs, offset = [], [], 0
    for name, array in tensors.items():
        number, stored = TENSOR_TYPES["F32" if array.ndim < 2 else dtype]
        blob = np.ascontiguousarray(array, dtype=stored).tobytes()
        shape = array.shape[::-1]
        infos.append(_string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
                     + struct.pack("<IQ", number, offset))
        blobs.append(blob + b"\0" * _pad(len(blob), alignment))
        offset += len(blobs[-1])
    head = MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(pairs))
    head += b"".join(_pair(*pair) for pair in pairs) + b"".join(infos)
    with open(path, "wb") as file:
        file.write(head + b"\0" * _pad(len(head), alignment))
        file.writelines(blobs)


class _Reader:
    """A cursor over the bytes of a file."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def scalar(self, form):
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def string(self):
        size = self.scalar("<Q")
        text = bytes(self.data[self.at:self.at + size]).decode("utf-8")
        self.at += size
        return text

    def value(self, number):
        if number == STRING:
            return self.string()
        if number == ARRAY:
            inner, count = self.scalar("<I"), self.scalar("<Q")
            return [self.value(inner) for _ in range(count)]
        return self.scalar(SCALARS[NAMES[number]][1])


def read(path):
    """Returns (values, tensors): dicts key -> Python value and name -> numpy array in PyTorch's
    order, with the type it has in the file. Raises ValueError for anything but GGUF v3."""
    with open(path, "rb") as file:
        reader = _Reader(file.read())
    if reader.data[:4] != MAGIC:
        raise ValueError(f"{path}: not a GGUF file")
    reader.at = 4
    version, tensor_count, pair_count = (reader.scalar(form) for form in ("<I", "<Q", "<Q"))
    if version != VERSION:
        raise ValueError(f"{path}: GGUF version {version}, not {VERSION}")
    values = {}
    for _ in range(pair_count):
        key = reader.string()
        values[key] = reader.value(reader.scalar("<I"))
    infos = []
    for _ in range(tensor_count):
        name = reader.string()
        shape = [reader.scalar("<Q") for _ in range(reader.scalar("<I"))]
        infos.append((name, shape[::-1], reader.scalar("<I"), reader.scalar("<Q")))
    alignment = values.get("general.alignment", ALIGNMENT)
    base = reader.at + _pad(reader.at, alignment)
    stored = {number: dtype for number, dtype in TENSOR_TYPES.values()}
    tensors = {}
    for name, shape, number, offset in infos:
        if number not in stored:
            raise ValueError(f"{path}: tensor {name} has type {number}; only F32 and F16 are read")
        count = int(np.prod(shape))
        flat = np.frombuffer(reader.data, stored[number], count, base + offset)
        tensors[name] = flat.reshape(shape)
    return values, tensors
