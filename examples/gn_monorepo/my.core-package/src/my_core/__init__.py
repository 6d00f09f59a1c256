"""Cyclic redundancy checks."""

from __future__ import annotations


def table(polynomial: int) -> list[int]:
    """Return the remainder of each byte."""
    return [remainder(byte, polynomial) for byte in range(256)]


def remainder(byte: int, polynomial: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ polynomial if byte & 1 else byte >> 1
    return byte


def checksum(data: bytes, remainders: list[int]) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ remainders[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
