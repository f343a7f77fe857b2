"""How chat is wired: a part of the composition root."""

from __future__ import annotations

from collections.abc import Callable

from usher.adapters.eligible import Eligibles, Offer
from usher.adapters.serving import Serving
from usher.adapters.volume import Volume
from usher.backends.model_vllm import OpenAIModel
from usher.backends.sql import Database
from usher.backends.sql_adapters import SqlAdapters
from usher.backends.sql_learned import SqlLearned
from usher.chat_road import Roads
from usher.ports import Model, Policies
from usher.ports.audit_exchanges import Exchanges


def open_roads(database: Database, policies: Policies, model: Model, serving: Serving, index: Exchanges) -> Roads:
    """How questions are answered, and who may use which adapter."""
    offered = offered_by(model, serving)
    eligibles = Eligibles(SqlAdapters(database), SqlLearned(database), policies.revision, offered)
    return Roads(eligibles, Volume(index))


def offered_by(model: Model, serving: Serving) -> Callable[[], Offer]:
    """What a model offers: a server, what each of the servers that answer has loaded; what does not do as it is told,
    no adapter."""
    if isinstance(model, OpenAIModel):
        return lambda: Offer(model.up, serving.served())
    return lambda: Offer(names=None if model.generative else frozenset())
