"""The GN side of interlock.

There is nothing to import yet: the templates (`*.gni`) and the writer of BUILD.gn come in a later version. The package
holds their place in the distribution and in the direction of imports: interlock_gn -> interlock_ninja -> interlock.
"""

from __future__ import annotations

__all__: list[str] = []
