"""How the use cases of adapters are wired: a part of the composition root."""

from __future__ import annotations

from typing import Final

from usher.adapters.acts import Acts
from usher.adapters.deciders import Deciders
from usher.adapters.registering import Registering
from usher.adapters.registry import Registry
from usher.adapters.upkeep import Upkeep
from usher.authority import Authority, utc_now
from usher.backends.adapter_folder import AdapterWeights, BaseModel
from usher.backends.keyring import KeyRing
from usher.backends.sql import Database
from usher.backends.sql_adapters import SqlAdapters
from usher.ledger.sequencer import Ledger
from usher.outbox import Courier
from usher.services import AdapterServices
from usher.settings import Settings
from usher_lora.peft_config import ServerLimits

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
    return AdapterServices(Registry(acts, Registering(acts), upkeep), upkeep, store, weights)
