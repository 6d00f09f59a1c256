"""The sub-commands of `interlock gn`: each parses its arguments and prints; the work is done by the modules beside this package."""
