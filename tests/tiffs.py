"""Small TIFFs of any samples and layout."""

import struct
import zlib

import numpy as np

KINDS = {"u": 1, "i": 2, "f": 3}
VALUES_AT, STRIPS_AT = 400, 600


def tiff(samples, changes=(), *, order="<", planes=False, compressed=False, no_data="") -> bytes:
    """Build a TIFF of one strip, or of one for each plane.

    Parameters
    ----------
    samples : ndarray of shape (height, width) or (height, width, n), of any real type
    changes : sequence of (tag, kind, count, value)
        Entries as they are written, to change or add some.
    no_data : str
        As GDAL tells the value that stands for none.
    """
    height, width, n = samples.shape if samples.ndim == 3 else (*samples.shape, 1)
    strips = [
        np.ascontiguousarray(part, part.dtype.newbyteorder(order)).tobytes()
        for part in (np.moveaxis(samples, -1, 0) if planes else [samples])
    ]
    strips = [zlib.compress(strip) for strip in strips] if compressed else strips
    lengths = [len(strip) for strip in strips]
    starts = [STRIPS_AT + sum(lengths[:i]) for i in range(len(strips))]
    values = {
        256: ("H", [width]),
        257: ("H", [height]),
        258: ("H", [8 * samples.itemsize] * n),
        259: ("H", [8 if compressed else 1]),
        262: ("H", [2 if n in (3, 4) else 1]),
        273: ("I", starts),
        277: ("H", [n]),
        278: ("H", [height]),
        279: ("I", lengths),
        284: ("H", [2 if planes else 1]),
        339: ("H", [KINDS[samples.dtype.kind]] * n),
    }
    if n == 4:
        values[338] = ("H", [2])  # alpha
    if no_data:
        values[42113] = ("B", f"{no_data}\0".encode())
    entries, further = {}, b""
    for tag, (code, found) in values.items():
        packed = struct.pack(f"{order}{len(found)}{code}", *found)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", VALUES_AT + len(further))
            packed, further = place, further + packed
        head = struct.pack(f"{order}HHI", tag, {"B": 2, "H": 3, "I": 4}[code], len(found))
        entries[tag] = head + packed.ljust(4, b"\0")
    for tag, *rest in changes:
        entries[tag] = struct.pack(f"{order}HHII", tag, *rest)
    head = b"II*\0" if order == "<" else b"MM\0*"
    head += struct.pack(f"{order}IH", 8, len(entries))
    head += b"".join(entries[tag] for tag in sorted(entries))
    return (head.ljust(VALUES_AT, b"\0") + further).ljust(STRIPS_AT, b"\0") + b"".join(strips)
