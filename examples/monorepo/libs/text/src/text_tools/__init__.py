import idna


def ascii_domain(domain: str) -> str:
    return idna.encode(domain, uts46=True).decode("ascii")
