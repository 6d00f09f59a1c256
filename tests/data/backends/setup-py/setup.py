from setuptools import setup

setup(
    name="fixture-setup-py",
    version="2.0",
    description="setuptools without a pyproject.toml: metadata, a module, an old-style script",
    py_modules=["fixture_setup_py"],
    scripts=["bin/fixture-setup-py-old"],
    entry_points={"console_scripts": ["fixture-setup-py = fixture_setup_py:main"]},
)
