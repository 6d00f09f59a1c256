from importlib.resources import files


def main():
    print(files("fixture_setuptools").joinpath("greeting.txt").read_text(encoding="utf-8").strip())
