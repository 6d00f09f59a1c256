def main():
    print("hello from poetry-core")
