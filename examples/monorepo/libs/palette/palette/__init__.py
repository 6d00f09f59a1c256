from colorama import Fore, Style


def green(text: str) -> str:
    return f"{Fore.GREEN}{text}{Style.RESET_ALL}"
