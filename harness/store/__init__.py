"""The store: versions, aliases, decisions, and the servers that are up on it."""

from harness.store.names import NAME, VERSION, default_home, require_alias, version_id
from harness.store.published import PUBLISHED, base_digest, read_manifest
from harness.store.replicas import Replica
from harness.store.store import ANY, ROLLBACK, Store

__all__ = [
    "ANY",
    "NAME",
    "PUBLISHED",
    "ROLLBACK",
    "VERSION",
    "Replica",
    "Store",
    "base_digest",
    "default_home",
    "read_manifest",
    "require_alias",
    "version_id",
]
