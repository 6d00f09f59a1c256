"""A prepared distribution: what its manifest says, its content, and what is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interlock.errors import InterlockError, RecordMismatch, UnsafePath
from interlock.prepared import File, Prepared, Requirement, _manifest, is_prepared, load_prepared, packed, seal

sys.path.insert(0, str(Path(__file__).parent))
from prepared_trees import contents_of, store

RECORD = "lib/python3.12/site-packages/core-1.0.dist-info/RECORD"


def example(path: Path, **changes: Any) -> Prepared:
    prepared = Prepared(
        path=str(path),
        name="Core",
        normalized="core",
        version="1.0",
        source="/src/core",
        dist_info="lib/python3.12/site-packages/core-1.0.dist-info",
        environment="/env",
        python="3.12",
        implementation="cpython",
        files=(File("bin/core", "ab" * 32, 3, True), File(RECORD, "cd" * 32, 4, False)),
        requires=(Requirement("leaf[x]>=1", "leaf", ">=1", ("x",), ""),),
        requires_python=">=3.8",
    )
    return seal(replace(prepared, **changes))


def with_files(path: Path, *contents: bytes) -> Prepared:
    files = [
        File(f"lib/{number}", hashlib.sha256(content).hexdigest(), len(content), False)
        for number, content in enumerate(contents)
    ]
    return store(example(path, files=tuple(files)), contents)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    prepared = store(example(tmp_path / "p"), [b"abc", b"abcd"])
    assert load_prepared(str(tmp_path / "p")) == prepared


@pytest.mark.parametrize(
    "contents",
    [
        (),
        (b"",),
        (b"", b"a", b"", b"\0" * 100),
        (b"0" * 65_536, b"1" * 65_515, b"2"),
        (b"a" * 200_000, b"", b"b" * 65_537),
        tuple(b"%d\n" % number for number in range(20_000)),
    ],
)
def test_the_content_of_each_file(contents: tuple[bytes, ...], tmp_path: Path) -> None:
    prepared = with_files(tmp_path / "p", *contents)
    assert load_prepared(prepared.path) == prepared
    assert list(contents_of(prepared).values()) == list(contents)


def test_what_is_large_is_read_and_written_in_parts(tmp_path: Path) -> None:
    written: list[int] = []

    def content() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(30_000)

    digest = hashlib.sha256(bytes(3_000_000)).hexdigest()
    prepared = example(tmp_path / "p", files=(File("lib/a", digest, 3_000_000, False),))
    with open(prepared.path, "wb") as writer:
        written += [writer.write(part) for part in packed(content(), lambda: prepared)]
    assert max(written) < 100_000
    (sizes,) = [[len(chunk) for chunk in chunks] for _, chunks in load_prepared(prepared.path).contents()]
    assert max(sizes) < 100_000
    assert sum(sizes) == 3_000_000


def test_a_small_one_is_written_at_once(tmp_path: Path) -> None:
    assert len(list(packed([b"abc", b"", b"abcd"], lambda: example(tmp_path / "p")))) == 1


@pytest.mark.parametrize("at", [0, 1, 2])
def test_damage_of_a_file_is_found_when_it_was_read(at: int, tmp_path: Path) -> None:
    prepared = with_files(tmp_path / "p", b"first", b"second" * 20_000, b"third")
    data = Path(prepared.path).read_bytes()
    Path(prepared.path).write_bytes(data.replace([b"first", b"second", b"third"][at], b"other", 1))
    sound = (len(b"".join(chunks)) for _, chunks in prepared.contents())
    assert len([next(sound) for _ in range(at)]) == at
    with pytest.raises(RecordMismatch, match=f"lib/{at} is not what its manifest says"):
        next(sound)


def test_content_that_is_missing_or_moved_is_found(tmp_path: Path) -> None:
    prepared = with_files(tmp_path / "p", b"first", b"second")
    data = Path(prepared.path).read_bytes()
    for other in (data.replace(b"first", b""), data.replace(b"first", b"first."), data[:30]):
        Path(prepared.path).write_bytes(other)
        with pytest.raises(RecordMismatch):
            contents_of(prepared)


def test_what_interlock_prepared_is_known(tmp_path: Path) -> None:
    prepared = with_files(tmp_path / "p", b"first")
    data = Path(prepared.path).read_bytes()
    assert is_prepared(prepared.path)
    for other, known in ((data[:-9], True), (b"interlock prepared 99\n", True), (b"", False), (b"x" + data, False)):
        Path(prepared.path).write_bytes(other)
        assert is_prepared(prepared.path) is known
    assert not is_prepared(str(tmp_path / "no"))
    assert not is_prepared(str(tmp_path))
    (tmp_path / "old" / "tree").mkdir(parents=True)
    assert is_prepared(str(tmp_path / "old"))
    (tmp_path / "old" / "mine").touch()
    assert not is_prepared(str(tmp_path / "old"))


def test_the_digest_is_of_the_content_and_of_nothing_else(tmp_path: Path) -> None:
    assert example(tmp_path).digest == example(tmp_path / "elsewhere").digest
    others = [
        example(tmp_path, version="1.1"),
        example(tmp_path, environment="/other"),
        example(tmp_path, requires=()),
        example(tmp_path, files=(File(RECORD, "cd" * 32, 4, True),)),
    ]
    assert len({example(tmp_path).digest, *(one.digest for one in others)}) == 5


def test_the_manifest_has_the_documented_keys(tmp_path: Path) -> None:
    store(example(tmp_path / "p"), [b"abc", b"abcd"])
    data = json.loads(_manifest(str(tmp_path / "p")))
    assert sorted(data) == [
        *(
            "digest",
            "dist_info",
            "environment",
            "files",
            "implementation",
            "links",
            "name",
            "normalized",
            "python",
            "requires",
        ),
        *("requires_python", "schema", "source", "version"),
    ]
    assert data["schema"] == 3


def test_nothing_prepared_says_which_edge_was_missed(tmp_path: Path) -> None:
    with pytest.raises(InterlockError, match="nothing is prepared in") as caught:
        load_prepared(str(tmp_path / "no"))
    assert "__editable_prepare" in caught.value.advice


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"digest": "x", "schema": 2}', "\x00\xff"])
def test_a_manifest_of_another_kind_is_refused(text: str, tmp_path: Path) -> None:
    data = text.encode("latin-1")
    (tmp_path / "manifest.json").write_bytes(data)
    (tmp_path / "p").write_bytes(b"interlock prepared 3\n" + data + b"%020d\n" % len(data))
    for path in (tmp_path, tmp_path / "p"):
        with pytest.raises(InterlockError, match="is nothing that this version of interlock prepares"):
            load_prepared(str(path))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    data = Path(with_files(tmp_path / "p", b"first").path).read_bytes()
    size = len(data) - 21
    wrong = [b"", b"x", data[:20], data[:21], data[1:], data.replace(b" 3\n", b" 2\n"), data[:-1], data + b"\n"]
    wrong += [
        data[:size] + length for length in (b"%020d\n" % size, b"%020d\n" % (size - 20), b"+%019d\n" % 9, b"9" * 21)
    ]
    for other in wrong:
        (tmp_path / "p").write_bytes(other)
        with pytest.raises(InterlockError, match="is nothing that this version of interlock prepares"):
            load_prepared(str(tmp_path / "p"))
    (tmp_path / "p").write_bytes(data)
    load_prepared(str(tmp_path / "p"))


def test_a_manifest_that_was_edited_is_refused(tmp_path: Path) -> None:
    store(example(tmp_path / "p"), [b"abc", b"abcd"])
    data = (tmp_path / "p").read_bytes()
    (tmp_path / "p").write_bytes(data.replace(b'"/env"', b'"/eve"'))
    with pytest.raises(InterlockError, match="was edited"):
        load_prepared(str(tmp_path / "p"))


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../outside", "lib/../../outside", "lib\\x", "C:/x", "", "./x", "a//b", "a/."]
)
def test_a_path_out_of_the_environment_is_refused(path: str, tmp_path: Path) -> None:
    store(example(tmp_path / "p", files=(File(path, "ab" * 32, 3, False),)), [b"abc"])
    with pytest.raises(UnsafePath, match="outside of the environment"):
        load_prepared(str(tmp_path / "p"))
    store(example(tmp_path / "p", dist_info=path), [b"abc", b"abcd"])
    with pytest.raises(UnsafePath, match="outside of the environment"):
        load_prepared(str(tmp_path / "p"))


@pytest.mark.parametrize(
    "changes",
    [
        *({"name": 1}, {"version": None}, {"source": ["/src"]}, {"environment": "a\0b"}, {"dist_info": {}}),
        *(
            {"files": (File("a", "", True, False),)},
            {"files": (File("a", "", 1, 0),)},
            {"files": (File([], "", 1, True),)},
            {"files": (File("a", "", -1, True),)},
        ),  # type: ignore[arg-type]
        {"requires": (Requirement("a", "a", "", (1,), ""),)},  # type: ignore[arg-type]
        {"requires": (Requirement("a", {}, "", (), ""),)},  # type: ignore[arg-type]
    ],
)
def test_a_manifest_whose_values_are_of_another_kind_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    """Its digest is right: somebody wrote it that way."""
    store(example(tmp_path / "p", **changes), [])
    with pytest.raises(InterlockError, match="is nothing that this version of interlock prepares"):
        load_prepared(str(tmp_path / "p"))


def test_loading_is_cheap() -> None:
    code = "import sys, interlock.prepared; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"packaging", "zipfile", "subprocess", "email", "interlock.hooks", "interlock.wheel"} & set(loaded)
