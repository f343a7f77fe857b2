"""The standalone verifier. Of the writer's code it uses `usher.ledger.record` (the format) and nothing else."""

from usher.ledger.verify.run import Verdict, verify

__all__ = ["Verdict", "verify"]
