"""Every state that a crash may leave, worked out from recorded operations without touching a disk.

The model. A file system is inodes and directory entries. A crash may come after any prefix of the operations. Then

* an operation on entries (create, rename, exchange, unlink, mkdir, rmdir, symlink) has happened or has not: each is atomic, as
  on any journaling file system. It is certain once the directory that it touches (of a rename or an exchange, that of the
  destination) was synced after it. Every other one may be lost or kept, in every combination, whatever the order they were
  done in: that is more than ext4, xfs, btrfs or APFS ever do, which keep a prefix of their metadata operations.
* Is only the directory synced that something was renamed out of, then it is certain to be gone from there, and its arrival may
  be lost: nobody finds it any more.
* A kept operation is replayed by inode: where a creation was lost and the rename after it kept, the file exists under the new
  name. What lies in a directory whose own creation was lost, cannot be reached.
* The content of a file that was not synced since it was last written is what it was at the last sync, or nothing, or a part of
  what was written, or all of it.

One file system for all; times and owners are not part of the model.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from recorded_os import Event

Entry = tuple[str, bytes, int]
"""("directory", b"", mode), ("file", content, mode) or ("link", target, 0)."""
Tree = dict[str, Entry]
"""What can be reached from a root, by path relative to it ("/" between the parts)."""
Place = tuple[int, str]  # the number of a directory and a name in it
Entries = dict[Place, int]

# Made and removed at once by a probe of the file system, each in a place where nobody looks.
PASSED_OVER = (".exchange-one", ".exchange-other", ".interlock-clock-")
# Lock files are no part of the protocol, and are made without the recorded module.
LOCKS = (".lock", "gate.lock")


def read_tree(root: str) -> Tree:
    """Return what is below a directory; lock files are left out."""
    tree: Tree = {}
    for top, directories, names in os.walk(root):
        for name in [*directories, *names]:
            if name in LOCKS or name.endswith(".interlock.lock"):
                continue
            path = os.path.join(top, name)
            status = os.lstat(path)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                entry = ("link", os.fsencode(os.readlink(path)), 0)
            elif stat.S_ISDIR(status.st_mode):
                entry = ("directory", b"", mode)
            else:
                with open(path, "rb") as reader:
                    entry = ("file", reader.read(), mode)
            tree[os.path.relpath(path, root).replace(os.sep, "/")] = entry
    return tree


def write_tree(root: str, tree: Mapping[str, Entry], times: Mapping[str, int] | None = None) -> None:
    """Make a directory be exactly a tree; `times` (ns) are the modification times of files that need one."""
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    for path in sorted(tree):
        kind, content, mode = tree[path]
        place = os.path.join(root, path)
        if kind == "directory":
            os.mkdir(place)
            os.chmod(place, mode)
        elif kind == "link":
            os.symlink(content, place)
        else:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            os.write(descriptor, content)
            os.fchmod(descriptor, mode)
            os.close(descriptor)
            if times and path in times:
                os.utime(place, ns=(times[path], times[path]))


@dataclass(slots=True)
class Node:
    """An inode; `contents` are a file's contents after each of its writes, with the step of each."""

    kind: str
    mode: int
    contents: list[tuple[int, bytes]]
    syncs: list[int] = field(default_factory=list)


class Fate(Enum):
    """What a crash can do to an operation: nothing, take away both names of what was renamed, or undo it."""

    CERTAIN = 1
    GONE = 2
    PENDING = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One operation on entries: the sync of `directory` makes it certain, that of `source` that the old name is gone."""

    step: int
    directory: int
    removes: tuple[tuple[Place, int], ...]
    adds: tuple[tuple[Place, int], ...]
    moves: bool = False
    source: int = -1

    def without(self, entries: Entries) -> Entries:
        """Return the entries where the old name is gone, and the new one never came."""
        return {place: node for place, node in entries.items() if (place, node) not in self.removes}

    def on(self, entries: Entries) -> Entries:
        new = dict(entries)
        if self.moves:
            # By inode: wherever the lost operations before it have left the thing.
            moved = {node for _, node in self.adds}
            new = {place: node for place, node in new.items() if node not in moved}
        for place, node in self.removes:
            if new.get(place) == node:
                del new[place]
        new.update(self.adds)
        return new


@dataclass(slots=True)
class Count:
    """How many states there were: combinations looked at, different ones, those recovered.

    `sampled` are the moments with too many combinations to look at all, `most_pending` the most operations that were uncertain
    at one moment.
    """

    combinations: int = 0
    distinct: int = 0
    recovered: int = 0
    most_pending: int = 0
    sampled: int = 0

    def add(self, other: Count) -> None:
        self.combinations += other.combinations
        self.distinct += other.distinct
        self.recovered += other.recovered
        self.most_pending = max(self.most_pending, other.most_pending)
        self.sampled += other.sampled


class History:
    """A recorded sequence of operations on one directory, which was durable before it."""

    def __init__(self, root: str, before: Mapping[str, Entry], events: Sequence[Event]) -> None:
        self._root = os.path.realpath(root)
        self._nodes: list[Node] = [Node("directory", 0o775, [])]
        self._entries: Entries = {}
        self._handles: dict[int, int] = {}
        self._changes: list[Change] = []
        self._stops: set[int] = set()
        self.steps = len(events)
        for path in sorted(before):
            kind, content, mode = before[path]
            self._entries[self._find(path)] = self._new(kind, mode, content, -1)
        self._initial = dict(self._entries)
        for step, event in enumerate(events):
            self._take(step, event)

    # What happened

    def _new(self, kind: str, mode: int, content: bytes, step: int) -> int:
        self._nodes.append(Node(kind, mode, [(step, content)], [step]))
        return len(self._nodes) - 1

    def _find(self, path: str) -> Place:
        """Return the directory and the name of a path relative to the root, as things are at this point."""
        parent, _, name = path.rpartition("/")
        number = 0
        for part in filter(None, parent.split("/")):
            if (number, part) not in self._entries:
                raise LookupError(f"{path} is in a directory that nobody was seen to make")
            number = self._entries[number, part]
        return number, name

    def _at(self, path: str) -> tuple[Place, int] | None:
        """Return where an absolute path is and what is there; None for what is not ours."""
        if path == self._root:
            return (0, ""), 0
        if not path.startswith(self._root + os.sep):
            return None
        place = self._find(os.path.relpath(path, self._root).replace(os.sep, "/"))
        return place, self._entries.get(place, -1)

    def _take(self, step: int, event: Event) -> None:
        if event.kind in {"write", "sync", "sync-all"}:
            self._take_content(step, event)
            return
        if (found := self._at(event.path)) is None:
            return
        place, node = found
        made = {"create": "file", "mkdir": "directory", "symlink": "link"}.get(event.kind)
        if made:
            node = self._new(made, event.mode, event.data, step)
            self._change(step, place[0], (), ((place, node),))
        elif node < 0:
            if place[1] in LOCKS:
                return
            raise LookupError(f"nobody was seen to make what this is about: {event}")
        if event.kind in {"open", "create"}:
            self._handles[event.handle] = node
        elif event.kind == "truncate":
            self._nodes[node].contents.append((step, b""))
        elif event.kind in {"unlink", "rmdir"}:
            self._change(step, place[0], ((place, node),), ())
        elif event.kind == "attributes":
            self._nodes[node].mode = event.mode
        elif not made:
            self._take_move(step, event, place, node)

    def _take_content(self, step: int, event: Event) -> None:
        if event.kind == "sync-all":
            self._stops.add(step)
            for one in self._nodes:
                one.syncs.append(step)
            return
        if (node := self._handles.get(event.handle)) is None:
            return
        if event.kind == "sync":
            self._stops.add(step)
            self._nodes[node].syncs.append(step)
        else:
            contents = self._nodes[node].contents
            contents.append((step, contents[-1][1] + event.data))

    def _take_move(self, step: int, event: Event, place: Place, node: int) -> None:
        found = self._at(event.other)
        assert found is not None, f"{event} leads out of {self._root}"
        other, there = found
        if event.kind == "rename":
            self._change(step, other[0], ((place, node),), ((other, node),), moves=True, source=place[0])
        else:
            assert event.kind == "exchange"
            self._change(step, other[0], (), ((place, there), (other, node)), moves=True)

    def _change(
        self,
        step: int,
        directory: int,
        removes: tuple[tuple[Place, int], ...],
        adds: tuple[tuple[Place, int], ...],
        *,
        moves: bool = False,
        source: int = -1,
    ) -> None:
        change = Change(step, directory, removes, adds, moves, source)
        self._entries = change.on(self._entries)
        if not any(name.startswith(PASSED_OVER) for (_, name), _ in (*removes, *adds)):
            self._changes.append(change)

    # What a crash may leave

    def moments(self) -> list[int]:
        """Return the numbers of operations done that are worth a look: before a sync, and at the end.

        Whatever a crash may leave at another moment, it may leave at the next of these as well.
        """
        return sorted(self._stops | {self.steps})

    def whole(self, done: int) -> Tree:
        """Return the tree after so many operations with nothing lost: what SIGKILL leaves."""
        entries = self._initial
        for change in self._changes:
            if change.step < done:
                entries = change.on(entries)
        return next(self._trees(entries, done, keep=True))

    def states(
        self, done: int, count: Count, *, limit: int = 4096, sample: int = 1000, seed: int = 15335
    ) -> Iterator[Tree]:
        """Yield the trees that a crash after `done` operations may leave; some of them may be equal.

        All combinations where at most `limit` of them differ; otherwise those with at most two operations lost or at most
        two kept, and a sample.
        """
        changes = [(change, self._fate(change, done)) for change in self._changes if change.step < done]
        pending = sum(fate is not Fate.CERTAIN for _, fate in changes)
        count.most_pending = max(count.most_pending, pending)
        maps = self._all_of(changes, limit)
        if maps is None:
            count.sampled += 1
            chosen = _choices(pending, sample, seed + done)
            count.combinations += len(chosen)
            maps = [self._some_of(changes, lost) for lost in chosen]
        else:
            count.combinations += 2**pending
        for entries in maps:
            trees = 0
            for tree in self._trees(entries, done):
                yield tree
                trees += 1
            count.combinations += trees - 1

    def _fate(self, change: Change, done: int) -> Fate:
        def is_synced(directory: int) -> bool:
            return any(change.step < step < done for step in self._nodes[directory].syncs)

        if is_synced(change.directory):
            return Fate.CERTAIN
        return Fate.GONE if change.source >= 0 and is_synced(change.source) else Fate.PENDING

    def _all_of(self, changes: Iterable[tuple[Change, Fate]], limit: int) -> list[Entries] | None:
        maps = [self._initial]
        for change, fate in changes:
            either = [change.on(entries) for entries in maps]
            if fate is not Fate.CERTAIN:
                either += [_lost(change, fate, entries) for entries in maps]
                either = list({frozenset(entries.items()): entries for entries in either}.values())
            maps = either
            if len(maps) > limit:
                return None
        return maps

    def _some_of(self, changes: Iterable[tuple[Change, Fate]], lost: frozenset[int]) -> Entries:
        entries, number = self._initial, 0
        for change, fate in changes:
            is_lost = fate is not Fate.CERTAIN and number in lost
            entries = _lost(change, fate, entries) if is_lost else change.on(entries)
            number += fate is not Fate.CERTAIN
        return entries

    def _trees(self, entries: Entries, done: int, *, keep: bool = False) -> Iterator[Tree]:
        inside: dict[int, list[tuple[str, int]]] = {}
        for (directory, name), node in entries.items():
            inside.setdefault(directory, []).append((name, node))
        reached: list[tuple[str, int]] = []
        todo = [("", 0)]
        while todo:
            prefix, directory = todo.pop()
            for name, node in inside.get(directory, ()):
                reached.append((prefix + name, node))
                if self._nodes[node].kind == "directory":
                    assert len(reached) <= len(entries), "a directory below itself"
                    todo.append((f"{prefix}{name}/", node))
        choices = [self._contents(node, done, keep=keep) for _, node in reached]
        several = [number for number, contents in enumerate(choices) if len(contents) > 1]
        # Each file on its own where there are many: one torn file does not change what is made of another.
        if len(several) > 4:
            picks = [[choices[number][-1] for number in range(len(choices))]]
            for number in several:
                picks += [[*picks[0][:number], content, *picks[0][number + 1 :]] for content in choices[number][:-1]]
        else:
            picks = [list(pick) for pick in itertools.product(*choices)]
        for pick in picks:
            yield {
                path: (self._nodes[node].kind, content, self._nodes[node].mode)
                for (path, node), content in zip(reached, pick, strict=True)
            }

    def _contents(self, number: int, done: int, *, keep: bool) -> list[bytes]:
        """Return what a file may hold, the last of them what was written last."""
        node = self._nodes[number]
        if node.kind != "file":
            return [node.contents[0][1]]
        written = [(step, content) for step, content in node.contents if step < done]
        last_step, last = written[-1]
        # A creation is no sync: `syncs` begins with it, and a content of the same step is the empty one.
        synced = max((step for step in node.syncs if step < done), default=-1)
        if keep or last_step <= synced:
            return [last]
        old = [content for step, content in written if step <= synced][-1:]
        return list(dict.fromkeys([*old, b"", last[: len(last) // 2], last][::-1]))[::-1]


def _lost(change: Change, fate: Fate, entries: Entries) -> Entries:
    return change.without(entries) if fate is Fate.GONE else entries


def _choices(pending: int, sample: int, seed: int) -> list[frozenset[int]]:
    """Return sets of operations to lose: at most two, all but at most two, and a seeded sample."""
    everything = range(pending)
    few = [frozenset(lost) for size in range(3) for lost in itertools.combinations(everything, size)]
    chance = random.Random(seed)
    some = [frozenset(n for n in everything if chance.random() < 0.5) for _ in range(sample)]
    return list(dict.fromkeys([*few, *(frozenset(everything) - lost for lost in few), *some]))


def distinct(history: History, count: Count, canonical: Callable[[Tree], Tree], done: int, **limits: int) -> list[Tree]:
    """Return the different states that a crash after `done` operations may leave, as `canonical` makes them."""
    reduced = map(canonical, history.states(done, count, **limits))
    return list({frozenset(tree.items()): tree for tree in reduced}.values())
