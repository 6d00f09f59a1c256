def main():
    print("hello from hatchling")
