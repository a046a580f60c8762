"""Ids of rows: UUIDs of version 7, which sort by creation."""

import random
import time


def new_id() -> str:
    """Return a UUID version 7 (RFC 9562, 5.7).

    The 12 bits after the version hold a fraction of the millisecond (6.2, method 3).
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    # An id is not a secret. os.urandom() would release the GIL, and then wait to get it back.
    noise = random.getrandbits(62)
    text = f"{milliseconds:012x}7{fraction:03x}{1 << 63 | noise:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
