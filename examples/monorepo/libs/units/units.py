"""Numbers with units, for people."""

__version__ = "0.2"


def characters(count: int) -> str:
    return f"{count} character{'' if count == 1 else 's'}"
