"""What the projects of an environment require of each other, compared with what their targets declare."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from interlock.distribution import normalize
from interlock_gn.cycles import Member, Plan, complete, plan_cycle
from interlock_ninja import pep508
from interlock_ninja.cycles import components
from interlock_ninja.project import Project
from interlock_ninja.requires import Requires

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from interlock_gn.targets import ProjectTarget, Targets, VenvTarget
    from interlock_ninja.requires import Internal

__all__ = ["Finding", "Missing", "compare", "stub"]


@dataclass(frozen=True, slots=True)
class Missing:
    """A requirement that a target does not declare: `requirement` as `file` has it, and the label that it is about.

    `project` is the one that requires it: another one, where an extra is asked of that.
    """

    requirement: str
    file: str
    project: str
    label: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one target lacks, or has too much; `kind` says which of the fields count.

    "undeclared": `missing`; "cycle": also `cycle`, the labels of projects that require each other; "incomplete": `lasts`, which
    "undeclared" can have too: members of cycles that it depends on, each with the last of the cycle; "absent": `missing`, whose
    labels are targets of other environments, "" for none; "unused": `unused`, the labels that no requirement asks for.
    `additions` are the labels or names to add to each variable of the target.
    """

    kind: str
    target: ProjectTarget
    missing: tuple[Missing, ...] = ()
    cycle: tuple[str, ...] = ()
    lasts: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()
    additions: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(slots=True)
class _Comparison:
    """One environment: `known` has the metadata of its targets by label; what its requirements mean to each."""

    targets: Targets
    known: Mapping[str, Project]
    requires: Requires
    owners: dict[str, list[str]] = field(default_factory=dict)  # normalized name -> labels in this environment

    def needed(self, label: str) -> Sequence[Internal]:
        """Return what a project requires of others, with its own chosen extras and those that it asks of others."""
        project = self.known[label]
        extras = [normalize(extra) for extra in self.targets.projects[label].extras]
        chosen = self.requires.with_own_extras(project.normalized, extras)
        found = self.requires.everything(project.normalized, ("", *chosen)).internal
        return [each for each in dict.fromkeys(found) if each.target != project.normalized]

    def declared(self, label: str) -> frozenset[str]:
        """Return the labels of this environment's projects that a target declares, itself or by a group."""
        return self.targets.led_to(self.targets.projects[label].declared) & self.known.keys()

    def open(self, label: str) -> tuple[list[tuple[Internal, str]], list[Internal]]:
        """Return the requirements that a target does not declare, with the label to name, and those without any."""
        target = self.targets.projects[label]
        settled = {self.known[each].normalized for each in self.declared(label)} | set(map(normalize, target.deferred))
        unnamed: dict[str, Internal] = {}
        # Of several lines about one project, one of its own file tells more: the last to be kept.
        for each in sorted(self.needed(label), key=lambda each: each.source == self.known[label].normalized):
            if each.target not in settled:
                unnamed[each.target] = each
        found = [(each, self.owners[each.target][0]) for each in unnamed.values() if each.target in self.owners]
        return found, [each for each in unnamed.values() if each.target not in self.owners]

    def verified(self) -> set[str]:
        """Return the names of the projects that some target of this environment verifies."""
        named = (name for label in self.known for name in self.targets.projects[label].verify)
        return {normalize(name.partition("[")[0]) for name in named}

    def missing(self, each: Internal, label: str) -> Missing:
        return Missing(each.line, each.file, self.requires.projects[each.source].name, label)


def compare(
    targets: Targets, venv: VenvTarget, known: Mapping[str, Project], markers: Mapping[str, str]
) -> list[Finding]:
    """Compare the targets of one environment with the metadata of their projects, in the order of their labels.

    `known` has the metadata by label, `markers` are the environment's of PEP 508.
    """
    by_name: dict[str, Project] = {}
    for each in targets.projects.values():
        if each.venv != venv.label:
            by_name.setdefault(normalize(each.name), stub(each.name))
    owners: dict[str, list[str]] = {}
    for label, project in sorted(known.items()):
        if project.normalized not in owners:
            by_name[project.normalized] = project
        owners.setdefault(project.normalized, []).append(label)
    comparison = _Comparison(targets, known, Requires(by_name, markers), owners)
    findings = [*_undeclared(comparison), *_absent(comparison), *_unused(comparison)]
    return sorted(findings, key=lambda finding: finding.target.label)


def stub(name: str, directory: str = ".") -> Project:
    """Return a project of which no more than its name counts."""
    return Project(name, normalize(name), "0", directory, "", (), {}, {}, (), "", "", "", (), ())


def _undeclared(comparison: _Comparison) -> Iterator[Finding]:
    """Yield what is missing in each target; where all of it would make GN's targets a cycle, what resolves that."""
    wanted = {label: comparison.open(label)[0] for label in comparison.known}
    edges = {
        label: sorted(comparison.declared(label) | {owner for _, owner in wanted[label]} - {label})
        for label in comparison.known
    }
    plans: dict[str, Plan] = {}
    cycle_of: dict[str, tuple[str, ...]] = {}
    for component in components(edges):
        if len(component) > 1:
            members = {label: _member(comparison, label, wanted[label]) for label in component}
            plans.update(plan_cycle(members))
            cycle_of.update(dict.fromkeys(component, component))
    for label, found in wanted.items():
        plans.setdefault(label, Plan(tuple(sorted({owner for _, owner in found})), (), ()))
    lasts = _incomplete(comparison, plans)
    for label, found in wanted.items():
        declare = tuple(sorted({*plans[label].declare, *(last for _, last in lasts.get(label, ()))}))
        plan = replace(plans[label], declare=declare)
        if additions := tuple((name, values) for name, values in plan.variables() if values):
            yield Finding(
                "cycle" if label in cycle_of else "undeclared" if found else "incomplete",
                comparison.targets.projects[label],
                missing=tuple(comparison.missing(each, owner) for each, owner in found),
                cycle=cycle_of.get(label, ()),
                lasts=tuple(lasts.get(label, ())),
                additions=additions,
            )


def _incomplete(comparison: _Comparison, plans: Mapping[str, Plan]) -> dict[str, list[tuple[str, str]]]:
    """Return what targets depend on without the last of its cycle, once the plans are carried out."""
    last_of = {}
    for label in comparison.known:
        verified = [*comparison.targets.projects[label].verify, *plans[label].verify]
        for name in verified:
            last_of.update(dict.fromkeys(comparison.owners.get(normalize(name.partition("[")[0]), ()), label))
    deferring = [each for each in last_of if comparison.targets.projects[each].deferred or plans[each].defer]
    edges = {label: comparison.declared(label) | set(plans[label].declare) for label in comparison.known}
    return complete(edges, {each: last_of[each] for each in deferring})


def _member(comparison: _Comparison, label: str, wanted: Sequence[tuple[Internal, str]]) -> Member:
    project = comparison.known[label]
    extras = comparison.targets.projects[label].extras
    return Member(
        name=project.name,
        asked=f"{project.name}[{','.join(sorted(extras))}]" if extras else project.name,
        declared=comparison.declared(label),
        wanted=tuple(owner for _, owner in wanted),
        deferred=frozenset(
            owner
            for name in comparison.targets.projects[label].deferred
            for owner in comparison.owners.get(normalize(name), [])[:1]
        ),
        verified=project.normalized in comparison.verified(),
    )


def _absent(comparison: _Comparison) -> Iterator[Finding]:
    """Yield what is required of projects that are installed into other environments alone."""
    elsewhere = {normalize(each.name): each.label for each in comparison.targets.projects.values()}
    for label in comparison.known:
        absent = comparison.open(label)[1]
        if absent:
            missing = tuple(comparison.missing(each, elsewhere.get(each.target, "")) for each in absent)
            yield Finding("absent", comparison.targets.projects[label], missing=missing)


def _unused(comparison: _Comparison) -> Iterator[Finding]:
    """Yield the declared labels that lead to nothing which any line of the project's metadata names."""
    for label, project in comparison.known.items():
        target = comparison.targets.projects[label]
        asked = {each.target for each in comparison.needed(label)} | set(_named(project))
        asked |= {normalize(name.partition("[")[0]) for name in target.verify}
        unused = tuple(
            declared
            for declared in target.declared
            if (led := comparison.targets.led_to([declared]))
            and not any(comparison.known[each].normalized in asked for each in led if each in comparison.known)
            and not _is_of_a_cycle(comparison, label, led, asked)
        )
        if unused:
            yield Finding("unused", target, unused=unused)


def _is_of_a_cycle(comparison: _Comparison, label: str, led: frozenset[str], asked: set[str]) -> bool:
    """Tell whether a declared project defers this one, which declares the order of their cycle, or completes another's."""
    name = comparison.known[label].normalized
    return any(
        name in map(normalize, comparison.targets.projects[each].deferred)
        or not asked.isdisjoint(normalize(one.partition("[")[0]) for one in comparison.targets.projects[each].verify)
        for each in led
    )


def _named(project: Project) -> Iterator[str]:
    """Yield the names that a project's metadata has anywhere: in an extra, a group, under any marker, for its build."""
    tables = [*project.optional_dependencies.values(), *project.groups.values()]
    for line in (*project.dependencies, *project.build_requires, *(line for lines in tables for line in lines)):
        yield normalize(pep508.requirement(line).name)
