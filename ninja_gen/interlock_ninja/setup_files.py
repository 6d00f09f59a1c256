"""What setup.cfg and setup.py say, as far as that is certain without running them."""

from __future__ import annotations

import ast
import configparser
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock_ninja.source import Source

__all__ = ["SetupCfg", "has_setup_script", "read_setup_cfg"]

# Keywords of setup() that leave name, version, requirements and requires-python to setup.cfg.
_HARMLESS = frozenset(
    str.split(
        "author author_email classifiers cmdclass data_files description entry_points ext_modules ext_package "
        "include_package_data keywords license license_files long_description long_description_content_type maintainer "
        "maintainer_email options package_data package_dir packages platforms project_urls py_modules scripts "
        "test_suite tests_require url zip_safe"
    )
)
_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True, slots=True)
class SetupCfg:
    """The metadata of a setup.cfg, all of it literal."""

    name: str
    version: str
    requires_python: str
    dependencies: tuple[str, ...]
    optional_dependencies: Mapping[str, tuple[str, ...]]


def has_setup_script(source: Source) -> bool:
    """Tell whether the setup.py there is a setup script; modules of that name exist that are none.

    One that does not parse (Python 2) counts if it mentions setup( at all: the backend will say what is wrong with it.
    """
    if "setup.py" not in source.files:
        return False
    code = source.bytes("setup.py")
    tree = _parse(code)
    if tree is None:
        return b"setup(" in code
    return any(_imports_setuptools(node) for node in ast.walk(tree)) and any(_is_setup(node) for node in ast.walk(tree))


def read_setup_cfg(source: Source) -> SetupCfg | None:
    """Read setup.cfg, None where it does not decide: no name or version, a directive (attr:, file:), a setup.py with a say."""
    if "setup.cfg" not in source.files or not _script_leaves_it(source):
        return None
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(source.bytes("setup.cfg").decode("utf-8"))
    except (configparser.Error, UnicodeDecodeError):
        return None
    name = parser.get("metadata", "name", fallback="").strip()
    version = parser.get("metadata", "version", fallback="").strip()
    wanted = parser.get("options", "install_requires", fallback="")
    extras = dict(parser.items("options.extras_require")) if parser.has_section("options.extras_require") else {}
    if not name or not version or any(_is_directive(text) for text in (version, wanted, *extras.values())):
        return None
    return SetupCfg(
        name=name,
        version=version,
        requires_python=parser.get("options", "python_requires", fallback="").strip(),
        dependencies=_lines(wanted),
        optional_dependencies={extra: _lines(text) for extra, text in extras.items()},
    )


def _script_leaves_it(source: Source) -> bool:
    """Tell whether setup.py is missing or adds nothing to what setup.cfg says of names, versions and requirements."""
    if "setup.py" not in source.files:
        return True
    tree = _parse(source.bytes("setup.py"))
    if tree is None:
        return False
    calls = [node for node in ast.walk(tree) if _is_setup(node)]
    return len(calls) == 1 and all(
        isinstance(call, ast.Call) and not call.args and all(word.arg in _HARMLESS for word in call.keywords)
        for call in calls
    )


def _parse(code: bytes) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old escapes in other people's strings
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError):
            pass
        try:
            return ast.parse(code.decode("latin-1"))  # old scripts without a coding line
        except (SyntaxError, ValueError, RecursionError):
            return None


def _imports_setuptools(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] in {"setuptools", "distutils", "skbuild"} for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").partition(".")[0] in {"setuptools", "distutils", "skbuild"}
    return False


def _is_setup(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    return (isinstance(function, ast.Name) and function.id == "setup") or (
        isinstance(function, ast.Attribute) and function.attr == "setup"
    )


def _is_directive(text: str) -> bool:
    return text.lstrip().startswith(("attr:", "file:"))


def _lines(text: str) -> tuple[str, ...]:
    """Split a list of setup.cfg as setuptools does: by lines, or by ";" where there is one line; comments dropped."""
    lines = text.splitlines() if "\n" in text.strip() else text.split(";") if _several(text) else [text]
    return tuple(line for line in (_COMMENT.sub("", line).strip() for line in lines) if line)


def _several(text: str) -> bool:
    """Tell whether a single line has several requirements: what follows its ";" is no marker."""
    return ";" in text and not re.search(r";\s*\(*\s*(python_|os_name|sys_|platform_|implementation_|extra)", text)
