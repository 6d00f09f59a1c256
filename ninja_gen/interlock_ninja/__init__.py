"""Read a monorepo, plan its environments and write the plan as build.ninja."""

__all__: list[str] = []
