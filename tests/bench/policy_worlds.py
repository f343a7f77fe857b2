"""Companies for the policy's bench: so many rules, roles and people, the same at each run."""

from __future__ import annotations

import random
from dataclasses import dataclass

from usher_policy.catalog import Catalog
from usher_policy.impact import Person
from usher_policy.rules import Permission, RoleLink, Rules
from usher_policy.vocabulary import Action, Effect

DENIED = 50
"""One rule of so many denies."""


@dataclass(frozen=True, slots=True)
class Company:
    """Roles in a tree ten wide, each person with one of them, rights on collections three levels deep at random."""

    rules: Rules
    catalog: Catalog
    people: tuple[Person, ...]

    @property
    def text(self) -> str:
        """As a rule file."""
        return self.rules.to_csv()

    def without(self, share: float) -> tuple[Rules, Rules]:
        """The rules less some share of the permissions, taken from all over; and those."""
        chance = random.Random(2)  # noqa: S311  # a load, no secret
        gone = set(chance.sample(range(len(self.rules.permissions)), int(len(self.rules.permissions) * share)))
        kept = tuple(rule for n, rule in enumerate(self.rules.permissions) if n not in gone)
        taken = tuple(rule for n, rule in enumerate(self.rules.permissions) if n in gone)
        return Rules(kept, self.rules.links), Rules(taken)


def company(rules: int, roles: int, people: int, collections: int) -> Company:
    """So many rules in all, links counted."""
    chance = random.Random(1)  # noqa: S311  # a load, no secret
    names = [f"role:r{n}" for n in range(roles)]
    places = [f"coll:d{n % 100}/s{n % 3000}/t{n}" for n in range(collections)]
    links = [RoleLink(f"user:u{n}", chance.choice(names)) for n in range(people)]
    links += [RoleLink(names[n], names[n // 10]) for n in range(min(100, roles // 10), roles)]
    pairs: dict[tuple[int, int], None] = {}
    while len(pairs) < rules - len(links):
        pairs[len(pairs) % roles, chance.randrange(collections)] = None
    permissions = tuple(
        Permission(
            names[role], places[place], Action.DOCUMENT_READ, Effect.ALLOW if n % DENIED else Effect.DENY, "always"
        )
        for n, (role, place) in enumerate(pairs)
    )
    catalog = Catalog(1, {n: frozenset({place}) for n, place in enumerate(places, 1)}, {})
    everybody = tuple(Person(f"user:u{n}") for n in range(people))
    return Company(Rules(permissions, tuple(links)), catalog, everybody)
