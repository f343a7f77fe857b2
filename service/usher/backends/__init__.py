"""All I/O, one technology per file, each behind a port of `usher.ports`."""
