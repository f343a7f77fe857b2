"""Usher: the backend of an enterprise chatbot that knows who is asking."""

__version__ = "0.1.0"
