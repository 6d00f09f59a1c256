from fixture_meson_python._answer import answer


def main():
    print("hello from meson-python", answer())
