from my_core import greeting


def loud_greeting(name: str) -> str:
    return greeting(name).upper()
