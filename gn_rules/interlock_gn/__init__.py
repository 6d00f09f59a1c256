"""The GN side of interlock: templates (`*.gni`) for BUILD.gn files, and the command `interlock gn` around them.

It stands on the other two: interlock_gn -> interlock_ninja -> interlock.
"""

from __future__ import annotations

__all__: list[str] = []
