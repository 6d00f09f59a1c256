import importlib.util
import sys

from legacy import measure
from my_leaf import lines
from text_tools import ascii_domain


def main() -> None:
    for domain in sys.argv[1:] or ["example.com"]:
        print(*lines(domain), f"{ascii_domain(domain)}, {measure(domain)}", sep="\n")
    if sys.stdout.isatty() and importlib.util.find_spec("palette"):
        from palette import green

        print(green("done"))
