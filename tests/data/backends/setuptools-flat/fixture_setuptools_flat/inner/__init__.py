def main():
    print("hello from setuptools-flat")
