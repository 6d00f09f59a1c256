from setuptools import setup

setup(
    name="legacy",
    version="7.1",
    py_modules=["legacy"],
    install_requires=["units"],
    entry_points={"console_scripts": ["legacy = legacy:main"]},
)
