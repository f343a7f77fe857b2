"""The audit log: an append-only Merkle log of events (RFC 6962)."""
