"""The errors that interlock raises, each with the exit code that a build sees.

    InterlockError                      1
    ├── UsageError                      2
    ├── ConfigurationError             10   interlock.toml, [tool.interlock]
    ├── MetadataError                  11   a project's pyproject.toml, setup.cfg, setup.py
    ├── GraphError                     12   projects that cannot share an environment
    ├── InterpreterNotFound            20
    ├── NotAnEnvironment               21
    ├── EnvironmentMismatch            22   made by another interpreter, or replaced meanwhile
    ├── LockTimeout                    30
    ├── LockUnavailable                31
    ├── LockOrderError                 32   a bug in interlock, never the user's
    ├── BackendError                   40   the build backend failed
    │   └── BackendUnavailable         41   there is none, or it cannot be imported
    ├── WheelError                     50   what the backend built breaks the wheel specification
    │   ├── RecordMismatch             51
    │   └── UnsafePath                 52
    ├── DependencyMissing              60
    ├── FileConflict                   61
    ├── UndeclaredDependency           62   the build file names no order for it
    ├── ChangedMeanwhile               63   by a tool that takes no lock
    ├── EngineError                    70   uv or pip failed
    │   └── EngineUnavailable          71
    └── DiskError                      74   full, read-only, not permitted

docs/reference/exit-codes.md documents the same table; a test keeps the two equal.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BackendError",
    "BackendUnavailable",
    "ChangedMeanwhile",
    "ConfigurationError",
    "DependencyMissing",
    "DiskError",
    "EngineError",
    "EngineUnavailable",
    "EnvironmentMismatch",
    "FileConflict",
    "GraphError",
    "InterlockError",
    "InterpreterNotFound",
    "LockOrderError",
    "LockTimeout",
    "LockUnavailable",
    "MetadataError",
    "NotAnEnvironment",
    "RecordMismatch",
    "UndeclaredDependency",
    "UnsafePath",
    "UsageError",
    "WheelError",
]


class InterlockError(Exception):
    """Say what happened, where, and what to do next.

    `message` is the what and the where; `advice` is the next step, printed on a line of its own.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}\n  {self.advice}" if self.advice else self.message


class UsageError(InterlockError):
    """The command line makes no sense."""

    exit_code = 2


class ConfigurationError(InterlockError):
    """The workspace's configuration has an unknown key, a wrong type or a value that cannot work."""

    exit_code = 10


class MetadataError(InterlockError):
    """A project's own metadata cannot be read."""

    exit_code = 11


class GraphError(InterlockError):
    """The projects of an environment cannot be installed together."""

    exit_code = 12


class InterpreterNotFound(InterlockError):
    """No Python interpreter answers the request."""

    exit_code = 20


class NotAnEnvironment(InterlockError):
    """The path is not a virtual environment, or no longer one."""

    exit_code = 21


class EnvironmentMismatch(InterlockError):
    """The environment is not the one that the work was prepared for."""

    exit_code = 22


class LockTimeout(InterlockError):
    """Another process held the lock for longer than the caller would wait."""

    exit_code = 30


class LockUnavailable(InterlockError):
    """The lock cannot be had at all: no such support, no permission, a read-only file system."""

    exit_code = 31


class LockOrderError(InterlockError):
    """Locks were asked for in an order that can deadlock; a bug in interlock."""

    exit_code = 32


class BackendError(InterlockError):
    """The build backend of a project failed."""

    exit_code = 40


class BackendUnavailable(BackendError):
    """The project names no build backend, or the backend cannot be imported or lacks the hook."""

    exit_code = 41


class WheelError(InterlockError):
    """The wheel that a backend built cannot be installed."""

    exit_code = 50


class RecordMismatch(WheelError):
    """A file of the wheel is not what its RECORD says."""

    exit_code = 51


class UnsafePath(WheelError):
    """A path in an archive or a RECORD leads outside of the environment."""

    exit_code = 52


class DependencyMissing(InterlockError):
    """A requirement of the distribution is not satisfied by what is installed."""

    exit_code = 60


class FileConflict(InterlockError):
    """Another distribution owns a path with other content."""

    exit_code = 61


class UndeclaredDependency(InterlockError):
    """The distribution requires a project of the workspace that its target in the build does not declare."""

    exit_code = 62


class ChangedMeanwhile(InterlockError):
    """A tool that takes no lock changed what a commit was putting into place."""

    exit_code = 63


class EngineError(InterlockError):
    """uv or pip failed to install requirements."""

    exit_code = 70


class EngineUnavailable(EngineError):
    """Neither uv nor pip can be run, or not the one that was asked for."""

    exit_code = 71


class DiskError(InterlockError):
    """The file system refused: full, read-only or not permitted."""

    exit_code = 74
