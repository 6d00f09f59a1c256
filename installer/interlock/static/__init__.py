"""Static editables: what a build backend would write for an editable install, without running it.

Only for projects whose metadata is static and whose layout is one directory on the path; whatever is not certain is refused
with the reason. docs/explanation/static.md says what is covered, and how that is proved.
"""
