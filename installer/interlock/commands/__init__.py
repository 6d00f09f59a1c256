"""The sub-commands: each module parses its own arguments, calls the library and prints."""
