"""The standalone verifier. Of the writer's code it uses `usher.ledger.record` (the format) and nothing else."""

from usher.ledger.verify.run import verify, verify_file, verify_opened
from usher.ledger.verify.verdict import Means, Trust, Verdict

__all__ = ["Means", "Trust", "Verdict", "verify", "verify_file", "verify_opened"]
