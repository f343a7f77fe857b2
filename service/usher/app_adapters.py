"""How the use cases of adapters are wired: a part of the composition root."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from usher.adapters.acts import Acts
from usher.adapters.asking import Asking
from usher.adapters.consented import Consented, Leaves
from usher.adapters.datasets import DataSets
from usher.adapters.deciders import Deciders
from usher.adapters.integrity import Integrity
from usher.adapters.material import Materials
from usher.adapters.planning import AskedByRole, Planning
from usher.adapters.registering import Registering
from usher.adapters.registry import Registry
from usher.adapters.serving import Serving
from usher.adapters.upkeep import Upkeep
from usher.authority import Authority, utc_now
from usher.backends.adapter_folder import AdapterWeights, BaseModel
from usher.backends.keyring import KeyRing
from usher.backends.sql import Database
from usher.backends.sql_adapters import SqlAdapters
from usher.backends.sql_conversations import SqlConversations
from usher.backends.sql_datasets import SqlTrainingDocuments
from usher.backends.sql_feedback import SqlFeedback
from usher.backends.sql_learned_texts import SqlLearnedTexts
from usher.backends.sql_people import SqlDirectory
from usher.feedback import Withdrew
from usher.ledger.sequencer import Ledger
from usher.outbox import Courier
from usher.ports import Model
from usher.ports.adapters import AdapterStore, Weights
from usher.services import AdapterServices, Learning
from usher.settings import Settings
from usher.threads import Threads
from usher_lora.lineage import Cause
from usher_lora.peft_config import ServerLimits

if TYPE_CHECKING:
    from pydantic import SecretStr

PACE: Final = 32 << 20
"""Bytes a second that the regular reading of every adapter takes of the disk."""
MODULES: Final = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"})
"""The linear layers of a block, as most models name them: what the model server lets adapters change."""


def server_limits(settings: Settings) -> ServerLimits | None:
    """What the model server takes of an adapter; None where there is no such server."""
    if settings.model is None:
        return None
    return ServerLimits(settings.model, MODULES, settings.adapter_max_rank)


def open_adapters(
    settings: Settings, database: Database, ring: KeyRing, ledger: Ledger, authority: Authority, courier: Courier
) -> AdapterServices:
    """All over one store and one folder of weights."""
    store, weights = SqlAdapters(database), AdapterWeights(settings.adapters_path)
    acts = Acts(
        store=store,
        weights=weights,
        base=BaseModel(settings.model_files),
        leaves=Leaves(SqlFeedback(database), ledger),
        limits=server_limits(settings),
        deciders=Deciders(authority, ledger),
        authority=authority,
        ledger=ledger,
        courier=courier,
        sign=ring.signing_key.sign,
        public_key=ring.public_key,
        clock=utc_now,
    )
    upkeep = Upkeep(acts)
    paced = Upkeep(replace(acts, weights=AdapterWeights(settings.adapters_path, PACE)))
    return AdapterServices(
        registry=Registry(acts, Registering(acts, SqlLearnedTexts(database, ring)), upkeep),
        upkeep=upkeep,
        store=store,
        weights=weights,
        serving=open_serving(settings, store, upkeep, weights),
        integrity=Integrity(store, weights, upkeep, paced),
    )


def took_back(adapters: AdapterServices) -> Withdrew:
    """Whoever takes back the leave to learn from an exchange makes what learned from theirs stale."""

    async def without(subject: str) -> None:
        await adapters.upkeep.without({subject: Cause.SUBJECT_WITHDREW})

    return without


def open_learning(
    database: Database,
    ring: KeyRing,
    ledger: Ledger,
    authority: Authority,
    threads: Threads,
    model: Model,
    asked: AskedByRole,
) -> Learning:
    """What an adapter learns from: documents, and exchanges that were given for it."""
    documents = SqlTrainingDocuments(database, ring)
    materials = Materials(authority, SqlDirectory(database), documents, utc_now)
    consented = Consented(SqlFeedback(database), SqlConversations(database), threads, ledger)
    deciders = Deciders(authority, ledger)
    return Learning(
        planning=Planning(authority, ledger, materials, documents, asked, utc_now),
        datasets=DataSets(deciders, ledger, materials, documents, consented, Asking(model)),
    )


def open_serving(settings: Settings, store: AdapterStore, upkeep: Upkeep, weights: Weights) -> Serving:
    """Over each model server that the settings name."""
    from usher.backends.adapter_server_vllm import VllmServer

    token, key = _secret(settings.model_load_token), _secret(settings.model_api_key)
    urls = settings.model_servers or ((settings.model_url,) if settings.model_url else ())
    servers = [VllmServer(url, token, key) for url in urls]
    return Serving(servers, settings.model, store, upkeep, weights, loads=token is not None)


def _secret(given: SecretStr | None) -> str | None:
    return None if given is None else given.get_secret_value()
