"""flit_core: a single module, version and description read from it, external data."""

__version__ = "4.0"


def main():
    print("hello from flit_core")
