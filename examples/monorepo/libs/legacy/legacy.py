import sys

import units


def measure(text):
    return units.characters(len(text))


def main():
    print(measure(" ".join(sys.argv[1:])))
