"""Requirements that a target does not declare: an error, whatever happens to be installed; the message is the line to add."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from prepared_trees import listing, make_prepared

from interlock.create import create_environment
from interlock.declared import read_declared, short_label, stamps_behind
from interlock.durable import Disk
from interlock.environment import Environment
from interlock.errors import ConfigurationError
from interlock.transaction import commit
from interlock_runner import interlock

# As GN writes it: name, directory, label, declared labels, stamp. A group has neither name nor directory.
NAMES = """\
My.Core\t../core\t//core:my-core\t\tcore.stamp
other\t../other\t//libs:other\t//core:my-core\tother.stamp
third\t../third\t//libs:third\t\tthird.stamp
leaf\t../leaf\t//leaf:leaf\t//core:my-core\tleaf.stamp
\t\t//libs:libs\t//libs:other //libs:more\t
\t\t//libs:more\t//libs:third //libs:libs\t
"""


@pytest.fixture
def names(tmp_path: Path) -> Path:
    file = tmp_path / "gen" / "labels.txt"
    file.parent.mkdir()
    file.write_text(NAMES, encoding="utf-8")
    return file


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return create_environment(str(tmp_path / "env"), python=None, disk=Disk("fast"))[0]


def install(environment: Environment, prepared: Path, names: Path, *words: str) -> tuple[int, str]:
    command = ["install", prepared, "--venv", environment.path, "--labels", names, "--label", "//leaf:leaf", *words]
    done = interlock(*command)
    return done.returncode, done.stderr


def test_labels_lead_to_names_through_groups(names: Path) -> None:
    declared = read_declared(str(names), "//leaf:leaf", ["//libs:libs", "//elsewhere:x"])
    assert declared.labels == {
        "my-core": "//core:my-core",
        "other": "//libs:other",
        "third": "//libs:third",
        "leaf": "//leaf:leaf",
    }
    assert declared.names == {"other", "third"}
    assert read_declared(str(names), "//leaf:leaf", []).names == set()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"labels\.txt"):
        read_declared(str(tmp_path / "labels.txt"), "//a:a", [])


def test_the_stamps_are_those_of_what_is_waited_for(names: Path) -> None:
    assert read_declared(str(names), "//leaf:leaf", ["//libs:libs"]).stamps == ("other.stamp", "third.stamp")
    assert stamps_behind(str(names), ["//libs:libs"]) == ["core.stamp", "other.stamp", "third.stamp"]
    assert stamps_behind(str(names), ["//elsewhere:x"]) == []
    assert stamps_behind(str(names)) == ["core.stamp", "leaf.stamp", "other.stamp", "third.stamp"]


@pytest.mark.parametrize(("label", "short"), [("//a/b:b", "//a/b"), ("//a/b:c", "//a/b:c"), ("//:b", "//:b")])
def test_labels_are_shown_short(label: str, short: str) -> None:
    assert short_label(label) == short


def test_an_undeclared_requirement_is_an_error_though_it_is_installed(
    environment: Environment, names: Path, tmp_path: Path
) -> None:
    commit(make_prepared(tmp_path / "c", environment, "my-core"), environment.path, disk=Disk("fast"))
    make_prepared(tmp_path / "p", environment, "leaf", requires=("my-core>=1", "other", "leaf"))
    before = listing(environment)
    code, error = install(environment, tmp_path / "p", names)
    assert code == 62
    assert "leaf requires projects that //leaf:leaf does not declare:\n  my-core>=1\n  other\n" in error
    assert 'Add to //leaf:leaf: python_deps = [ "//core:my-core", "//libs:other" ]' in error
    assert listing(environment) == before


def test_what_is_declared_is_installed(environment: Environment, names: Path, tmp_path: Path) -> None:
    for name in ("my-core", "other"):
        commit(make_prepared(tmp_path / name, environment, name), environment.path, disk=Disk("fast"))
    make_prepared(tmp_path / "p", environment, "leaf", requires=("my-core>=1", "other", "leaf"))
    assert install(environment, tmp_path / "p", names, "--declared", "//core:my-core", "--declared", "//libs:libs") == (
        0,
        "",
    )


def test_what_extras_of_others_require_has_to_be_declared_too(
    environment: Environment, names: Path, tmp_path: Path
) -> None:
    core = make_prepared(tmp_path / "c", environment, "my-core", requires=('third; extra == "x"',))
    # The marker does not hold: without the extra it requires nothing.
    core = replace(core, requires=())
    for prepared in (make_prepared(tmp_path / "t", environment, "third"), core):
        commit(prepared, environment.path, disk=Disk("fast"))
    make_prepared(tmp_path / "p", environment, "leaf", requires=("my-core[x]",))
    code, error = install(environment, tmp_path / "p", names, "--declared", "//core:my-core")
    assert (code, 'python_deps += [ "//libs:third" ]' in error) == (62, True)
    plain = make_prepared(tmp_path / "q", environment, "leaf", requires=("my-core",))
    assert install(environment, Path(plain.path), names, "--declared", "//core:my-core") == (0, "")


def test_those_of_a_cycle_are_deferred(environment: Environment, names: Path, tmp_path: Path) -> None:
    make_prepared(tmp_path / "p", environment, "leaf", requires=("other",))
    assert install(environment, tmp_path / "p", names, "--defer", "other") == (0, "")


def test_what_deferred_ones_require_is_not_looked_at_whether_they_are_installed_or_not(
    environment: Environment, names: Path, tmp_path: Path
) -> None:
    # A build that starts with an empty environment and one that finds everything there have to say the same.
    make_prepared(tmp_path / "p", environment, "leaf", requires=("other[x]",))
    assert install(environment, tmp_path / "p", names, "--defer", "other") == (0, "")
    other = make_prepared(tmp_path / "o", environment, "other", requires=('third; extra == "x"',))
    commit(replace(other, requires=()), environment.path, disk=Disk("fast"))
    assert install(environment, tmp_path / "p", names, "--defer", "other") == (0, "")


def test_the_file_is_an_input_where_it_decides(environment: Environment, names: Path, tmp_path: Path) -> None:
    commit(make_prepared(tmp_path / "o", environment, "other"), environment.path, disk=Disk("fast"))
    make_prepared(tmp_path / "p", environment, "leaf", requires=("other",))
    depfile = tmp_path / "d"
    edge = ["--stamp", str(tmp_path / "s"), "--depfile", str(depfile)]
    assert install(environment, tmp_path / "p", names, *edge, "--declared", "//libs:other") == (0, "")
    assert "labels.txt" not in depfile.read_text(encoding="utf-8"), "another project does not run this again"
    assert install(environment, tmp_path / "p", names, *edge, "--declared", "//libs:libs") == (0, "")
    assert "labels.txt" in depfile.read_text(encoding="utf-8"), "the members of a group are there alone"


def test_a_requirement_of_somebody_else_is_not_declared(environment: Environment, names: Path, tmp_path: Path) -> None:
    make_prepared(tmp_path / "p", environment, "leaf", requires=("requests",))
    code, error = install(environment, tmp_path / "p", names)
    assert (code, "requests is not installed" in error) == (60, True)


def test_a_label_needs_the_file(environment: Environment, tmp_path: Path) -> None:
    make_prepared(tmp_path / "p", environment, "leaf")
    done = interlock("install", tmp_path / "p", "--venv", environment.path, "--label", "//leaf:leaf")
    assert (done.returncode, "--labels" in done.stderr) == (2, True)
