"""Change a virtual environment so that parallel builds, readers and crashes all see a whole one."""

__all__ = ["__version__"]

__version__ = "0.1.0"
