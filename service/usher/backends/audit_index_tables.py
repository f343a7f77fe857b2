"""The tables of the reviewers' index."""

from __future__ import annotations

FORMAT = 5
"""The file's `user_version`. One of another is emptied, and built anew."""

SCHEMA = f"""
BEGIN IMMEDIATE;
DROP TABLE IF EXISTS entries;
DROP TABLE IF EXISTS shown;
DROP TABLE IF EXISTS inherits;
DROP TABLE IF EXISTS about;
DROP TABLE IF EXISTS learned;
DROP TABLE IF EXISTS denials;
DROP TABLE IF EXISTS steps;
DROP TABLE IF EXISTS acts;
DROP TABLE IF EXISTS progress;
CREATE TABLE entries (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, audit_id TEXT UNIQUE, time TEXT NOT NULL,
  pseudonym TEXT, roles TEXT NOT NULL, policy_version INTEGER,
  route TEXT, model TEXT, adapter TEXT, effect TEXT, reason TEXT, outcome TEXT);
CREATE INDEX entries_by_time ON entries (time);
CREATE INDEX entries_by_pseudonym ON entries (pseudonym, number);
CREATE INDEX entries_by_policy ON entries (policy_version, number);
CREATE INDEX entries_by_adapter ON entries (adapter, number) WHERE adapter IS NOT NULL;
CREATE TABLE shown (document TEXT NOT NULL, node INTEGER NOT NULL, number INTEGER NOT NULL, position INTEGER NOT NULL,
  version INTEGER, chunk TEXT, access_class INTEGER, rank INTEGER, in_prompt INTEGER, cited INTEGER NOT NULL,
  PRIMARY KEY (document, node, number, position)) WITHOUT ROWID;
CREATE INDEX shown_by_node ON shown (node);
CREATE TABLE inherits (earlier INTEGER NOT NULL, node INTEGER NOT NULL, PRIMARY KEY (earlier, node)) WITHOUT ROWID;
CREATE INDEX inherits_by_node ON inherits (node);
CREATE TABLE about (access_class INTEGER NOT NULL, node INTEGER NOT NULL, PRIMARY KEY (access_class, node))
  WITHOUT ROWID;
CREATE INDEX about_by_node ON about (node);
CREATE TABLE learned (document TEXT NOT NULL, part TEXT NOT NULL, version INTEGER NOT NULL,
  PRIMARY KEY (document, part, version)) WITHOUT ROWID;
CREATE TABLE denials (number INTEGER PRIMARY KEY, node INTEGER NOT NULL UNIQUE, reason TEXT NOT NULL, action TEXT,
  object TEXT);
CREATE TABLE steps (number INTEGER PRIMARY KEY, node INTEGER NOT NULL);
CREATE INDEX steps_by_node ON steps (node);
CREATE TABLE acts (number INTEGER PRIMARY KEY, type TEXT NOT NULL, pseudonym TEXT, subject TEXT, document TEXT,
  access_class INTEGER, break_glass INTEGER NOT NULL, node INTEGER);
CREATE INDEX acts_by_type ON acts (type);
CREATE INDEX acts_by_pseudonym ON acts (pseudonym) WHERE pseudonym IS NOT NULL;
CREATE INDEX acts_by_subject ON acts (subject) WHERE subject IS NOT NULL;
CREATE INDEX acts_by_document ON acts (document) WHERE document IS NOT NULL;
CREATE INDEX acts_by_class ON acts (access_class) WHERE access_class IS NOT NULL;
CREATE INDEX acts_by_glass ON acts (break_glass) WHERE break_glass;
CREATE TABLE progress (origin TEXT NOT NULL, number INTEGER NOT NULL, leaf BLOB NOT NULL);
PRAGMA user_version = {FORMAT};
COMMIT;
"""
"""A node is an entry's number: that of the request of an exchange, or of a view; `inherits.earlier` is one as well.
`number` in `shown` and `denials` is that of the event that says so. `about` has the access classes of all that an entry
found or inherited: whoever may know of none of them may not know of the entry. `steps` are the events of entries,
`acts` all others, with the `node` of an exchange that they name. `learned` has, once for each adapter, of which parts
of it (`core/learned.py`) a document is: `shown` then has the parts."""
