"""Who may what: the words, the rule file and its lint, the compiled snapshot, and Casbin as its oracle.

Pure: no I/O but the time zone database, no clock, no await. Start at `rules.parse_rules`, `compile.compile_snapshot`
and `decide.may` or `decide.scope`.
"""
