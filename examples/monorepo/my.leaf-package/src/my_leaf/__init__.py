from my_core import greeting
from my_other import loud_greeting


def lines(name: str) -> list[str]:
    return [greeting(name), loud_greeting(name)]


def main() -> None:
    print("\n".join(lines("leaf")))
