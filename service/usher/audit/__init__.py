"""What reviewers do with the log: read it, ask it, prove it. Each use is recorded before its answer."""
