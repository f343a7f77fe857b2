"""A published adapter as it is kept in memory: what it learned, and what has become of that since."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self
from uuid import UUID

from usher.core.learned import part_of
from usher.core.routing import UsableAdapter
from usher.ports.adapters import Served
from usher.ports.learned import Labelled
from usher_lora.lineage import Lineage
from usher_policy.catalog import Catalog

_GONE = Labelled((), None)
_COLLECTION = "coll:"


@dataclass(frozen=True, slots=True)
class Speaker:
    """The adapter that answers: its served name, the policy's name for it, the digest of all that it is, and what it
    has learned, as parts (`core/learned.py`), each with an access class that any of its documents has now."""

    served_name: str
    name: str
    digest: str
    learned: tuple[tuple[UUID, int], ...]

    @property
    def parts(self) -> tuple[UUID, ...]:
        return tuple(dict.fromkeys(part for part, _ in self.learned))


@dataclass(slots=True)
class Published:
    """`learned` has for each document the newest version that was learned and the access classes that it had then;
    `now`, by each of these, how many of its documents have which class now; `changed` counts the documents whose
    version is another now. `since` is when it was registered."""

    served: Served
    since: datetime
    learned: Mapping[UUID, tuple[int, tuple[int, ...]]]
    now: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    changed: int = 0

    @classmethod
    def of(cls, served: Served, lineage: Lineage, since: datetime) -> Self:
        learned: dict[UUID, tuple[int, tuple[int, ...]]] = {}
        kept = {(one.document, one.version): one for one in lineage.documents}  # each once, as the registry has them
        for one in kept.values():  # sorted, so that a document's newest version comes last
            before = learned.get(one.document, (0, ()))[1]
            classes = before if one.access_class in before else (*before, one.access_class)
            learned[one.document] = (one.version, classes)
        return cls(served, since, learned)

    def begin(self, labels: Mapping[UUID, Labelled]) -> None:
        """Count its documents as they are now."""
        for document, (version, trained) in self.learned.items():
            label = labels.get(document, _GONE)
            self.changed += label.version != version
            for number in trained:
                self.now[number].update(label.classes)

    def moved(self, before: Mapping[UUID, Labelled], after: Mapping[UUID, Labelled]) -> None:
        """Count those of the documents `after` anew that it learned."""
        for document in after.keys() & self.learned.keys():
            version, trained = self.learned[document]
            old, new = before[document], after[document]
            self.changed += (new.version != version) - (old.version != version)
            for number in trained:
                self.now[number].subtract(old.classes)
                self.now[number].update(new.classes)

    def speaker(self) -> Speaker:
        served = self.served
        learned = sorted(
            (part_of(served.id, trained), number)
            for trained, counted in self.now.items()
            for number, count in counted.items()
            if count > 0
        )
        return Speaker(served.name, served.policy_object.partition(":")[2], served.id, tuple(learned))

    def usable(self, catalog: Catalog, now: datetime, *, served: bool) -> UsableAdapter:
        """As routing looks at it."""
        classes = {number for counted in self.now.values() for number, count in counted.items() if count > 0}
        collections = {_collection(catalog.classes.get(number, frozenset())) for number in classes}
        return UsableAdapter(
            name=self.served.name,
            policy_object=self.served.policy_object,
            collections=frozenset(collections),
            age_days=(now - self.since).total_seconds() / 86_400,
            changed_percent=100 * self.changed / len(self.learned),
            served=served,
        )


def _collection(requirements: Collection[str]) -> str | None:
    return next((name for name in requirements if name.startswith(_COLLECTION)), None)
