"""C source."""

from __future__ import annotations

from pathlib import Path


def array(name: str, numbers: list[int]) -> str:
    """Return the definition of an array of 32-bit numbers."""
    words = [f"0x{number:08x}u," for number in numbers]
    lines = [f"    {' '.join(words[start : start + 6])}\n" for start in range(0, len(words), 6)]
    return f"const uint32_t {name}[{len(numbers)}] = {{\n{''.join(lines)}}};\n"


def write_if_changed(file: str, text: str) -> None:
    """Leave a file alone that says the same already: what includes it need not be compiled again."""
    path = Path(file)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
