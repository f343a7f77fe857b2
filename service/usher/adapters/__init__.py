"""Adapters in the service: who takes them on, which are served, and what stops them."""
