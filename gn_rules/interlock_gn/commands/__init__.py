"""The sub-commands of `interlock gn`: each parses its arguments and prints; the modules beside do the work."""
