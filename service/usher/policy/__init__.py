"""Policies that people change: drafts, what they would do, who approves, and what is in force."""
