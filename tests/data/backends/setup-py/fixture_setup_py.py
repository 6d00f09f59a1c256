def main():
    print("hello from setup-py")
