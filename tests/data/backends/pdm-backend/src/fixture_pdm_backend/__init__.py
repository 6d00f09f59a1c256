def main():
    print("hello from pdm-backend")
