"""The hashes that Ninja keeps of command lines, so that both see alike whether a command has changed.

Ninja 1.13 (log version 7): rapidhash (github.com/Nicoshev/rapidhash, its first version). Ninja 1.8 to 1.12 (5 and 6):
MurmurHash64A, with a seed of Ninja's own (ninja, src/build_log.cc).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["hash_function", "murmur", "rapidhash"]

_MASK = 0xFFFFFFFFFFFFFFFF
_SEED = 0xBDD89AA982704029
_SECRET_0 = 0x2D358DCCAA6C78A5
_SECRET_1 = 0x8BB84B93962EACC9
_SECRET_2 = 0x4B33A62ED433D4A3
_MURMUR_SEED = 0xDECAFBADDECAFBAD
_MURMUR_FACTOR = 0xC6A4A7935BD1E995


def hash_function(version: int) -> Callable[[bytes], int]:
    """Return the hash that a version of the log has."""
    return rapidhash if version >= 7 else murmur


def rapidhash(data: bytes) -> int:
    """Return the 64-bit rapidhash of a command line."""
    length = len(data)
    seed = (_SEED ^ _mix(_SEED ^ _SECRET_0, _SECRET_1)) ^ length
    if length <= 16:
        a, b = _short(data)
    else:
        seed = _long(data, seed)
        a, b = struct.unpack_from("<QQ", data, length - 16)
    product = (a ^ _SECRET_1) * (b ^ seed)
    return _mix((product & _MASK) ^ _SECRET_0 ^ length, (product >> 64) ^ _SECRET_1)


def _short(data: bytes) -> tuple[int, int]:
    """Return the two words that up to 16 bytes are mixed as."""
    length = len(data)
    if length >= 4:
        first, last = _word(data, 0), _word(data, length - 4)
        delta = (length & 24) >> (length >> 3)
        return first << 32 | last, _word(data, delta) << 32 | _word(data, length - 4 - delta)
    if length:
        return data[0] << 56 | data[length >> 1] << 32 | data[-1], 0
    return 0, 0


def _long(data: bytes, seed: int) -> int:
    """Mix all but the last 16 of more than 16 bytes into the seed."""
    at, left = 0, len(data)
    if left > 48:
        one = two = seed
        while left >= 48:
            a, b, c, d, e, f = struct.unpack_from("<6Q", data, at)
            seed = _mix(a ^ _SECRET_0, b ^ seed)
            one = _mix(c ^ _SECRET_1, d ^ one)
            two = _mix(e ^ _SECRET_2, f ^ two)
            at += 48
            left -= 48
        seed ^= one ^ two
    if left > 16:
        a, b = struct.unpack_from("<QQ", data, at)
        seed = _mix(a ^ _SECRET_2, b ^ seed ^ _SECRET_1)
        if left > 32:
            a, b = struct.unpack_from("<QQ", data, at + 16)
            seed = _mix(a ^ _SECRET_2, b ^ seed)
    return seed


def _mix(a: int, b: int) -> int:
    product = a * b
    return (product & _MASK) ^ (product >> 64)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def murmur(data: bytes) -> int:
    """Return the 64-bit MurmurHash2 of a command line."""
    factor = _MURMUR_FACTOR
    whole = len(data) & ~7
    result = _MURMUR_SEED ^ (len(data) * factor & _MASK)
    for (word,) in struct.iter_unpack("<Q", data[:whole]):
        mixed = word * factor & _MASK
        mixed ^= mixed >> 47
        result = (result ^ (mixed * factor & _MASK)) * factor & _MASK
    if rest := data[whole:]:
        result = (result ^ int.from_bytes(rest, "little")) * factor & _MASK
    result ^= result >> 47
    result = result * factor & _MASK
    return result ^ (result >> 47)
