def main():
    print("hello from uv_build")
