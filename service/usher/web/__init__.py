"""The surfaces: parse, call a use case, render. One file per surface."""
