"""Write tables for cyclic redundancy checks as C: leaf TABLES.ini OUTPUT.h OUTPUT.c"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from iniconfig import IniConfig
from my_core import table
from my_other import array, write_if_changed


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    source, header, implementation = sys.argv[1:]
    polynomials = {section.name: int(section["polynomial"], 16) for section in IniConfig(source)}
    write_if_changed(header, declarations(polynomials))
    write_if_changed(implementation, definitions(polynomials, Path(header).name))


def declarations(polynomials: dict[str, int]) -> str:
    tables = "".join(f"extern const uint32_t {name}_table[256];\n" for name in polynomials)
    return f"#pragma once\n\n#include <stdint.h>\n\nextern const char tables_origin[];\n{tables}"


def definitions(polynomials: dict[str, int], header: str) -> str:
    origin = f"my.core-package {version('my.core-package')}"
    tables = "".join("\n" + array(f"{name}_table", table(polynomial)) for name, polynomial in polynomials.items())
    return f'#include "{header}"\n\nconst char tables_origin[] = "{origin}";\n{tables}'


if __name__ == "__main__":
    main()
