"""An independent verifier of environments: standard library only, shares no code with the product.

Run as a program by the environment's own python: `python verifier.py MODULE...` imports each module, checks every RECORD
against the disk, and prints what is wrong, a line each; exit code 1 if anything is.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib
import os
import sys
import sysconfig


def record_problems(site_packages: str) -> list[str]:
    """Compare each RECORD with the disk."""
    problems = []
    for entry in sorted(os.listdir(site_packages)):
        if not entry.endswith(".dist-info"):
            continue
        record = os.path.join(site_packages, entry, "RECORD")
        needed = ("METADATA", "RECORD", "INSTALLER")
        problems += [
            f"{entry}: no {name}" for name in needed if not os.path.isfile(os.path.join(site_packages, entry, name))
        ]
        if not os.path.isfile(record):
            continue
        with open(record, encoding="utf-8", newline="") as reader:
            rows = [row for row in csv.reader(reader) if row]
        if f"{entry}/RECORD" not in [row[0] for row in rows]:
            problems.append(f"{entry}: RECORD does not list itself")
        for path, digest, size in rows:
            target = os.path.normpath(os.path.join(site_packages, path))
            if not os.path.exists(target):
                problems.append(f"{entry}: {path} is missing")
            elif digest:
                name, _, expected = digest.partition("=")
                with open(target, "rb") as reader:
                    data = reader.read()
                actual = base64.urlsafe_b64encode(hashlib.new(name, data).digest()).rstrip(b"=").decode()
                if actual != expected or len(data) != int(size):
                    problems.append(f"{entry}: {path} is not what RECORD says")
    return problems


def duplicate_problems(site_packages: str) -> list[str]:
    """Find names with more than one dist-info directory, and what an interrupted change left behind."""
    names = [entry.rsplit("-", 1)[0].lower() for entry in os.listdir(site_packages) if entry.endswith(".dist-info")]
    problems = [f"{name} is installed more than once" for name in sorted(set(names)) if names.count(name) > 1]
    if os.path.exists(os.path.join(sys.prefix, ".interlock", "journal.json")):
        problems.append("a journal was left behind")
    return problems


def import_problems(modules: list[str]) -> list[str]:
    """Import each module and, where it has one, call its main()."""
    problems = []
    for name in modules:
        try:
            module = importlib.import_module(name)
            if hasattr(module, "main"):
                module.main()
        except Exception as error:  # noqa: BLE001  whatever an import raises is what is reported
            problems.append(f"{name}: {type(error).__name__}: {error}")
    return problems


if __name__ == "__main__":
    site = sysconfig.get_path("purelib")
    found = record_problems(site) + duplicate_problems(site) + import_problems(sys.argv[1:])
    sys.stderr.write("".join(f"{line}\n" for line in found))
    sys.exit(1 if found else 0)
