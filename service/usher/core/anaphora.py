"""Words that point at something a question does not name itself: "it", "those", "the same", "any longer"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from usher.core import question_words as kinds
from usher.core.question_words import listed, topics

_DEPARTMENT = listed("department support team security equipment policy help desk helpdesk staff ticket")
"""After "it": the IT department in small letters."""
_EXPECTED = listed(
    "possible allowed ok okay fine mandatory necessary required permitted acceptable legal better best hard easy"
    " difficult safe important normal common appropriate worth forbidden recommended useful true clear known expected"
    " harder easier unlikely likely essential take cost mean matter like sense good bad wise enough usual said assumed"
    " confirmed"
)
"""With "it", and a clause to come, these point at that clause: "is it possible to ..."."""
_TO_COME = listed("to if whether that until before")
_NOW_AND_HERE = kinds.TIMES | listed(
    "morning afternoon evening summer winter spring autumn company handbook organisation organization chat chatbot"
    " assistant bot system site website office country fiscal calendar"
)
_BEFORE_A_CLAUSE = listed(
    "so such all those true sure clear ensure know mean means say says said think find found hear heard believe prove"
    " proved show shows showed enough"
)
_PEOPLE = listed("someone somebody anyone anybody everyone everybody person people nobody")
_COUNTED = kinds.TIMES | listed("phase level tier stage zone number version no any some every")
_SUBJECTS_ONLY = listed("they he she")
_SUBJECTS = listed("i you we they he she it who to")


def points_back(words: Sequence[str]) -> bool:
    """Whether one of `words` (as `question_words.split` gives them) needs an earlier question to be understood."""
    return any(word in _POINTERS and _POINTERS[word](words, n) for n, word in enumerate(words))


def _at(words: Sequence[str], n: int) -> str:
    """The word at `n`; a mark beyond both ends."""
    return words[n] if 0 <= n < len(words) else "."


def _plain(words: Sequence[str]) -> list[str]:
    return [word for word in words if word not in kinds.BREAKS]


def _bare(words: Sequence[str], n: int) -> bool:
    """No noun follows the word at `n`."""
    after = _at(words, n + 1)
    return after in kinds.BREAKS or after in kinds.FUNCTION - kinds.POSSESSIVES - kinds.DETERMINERS


def _named(words: Sequence[str], n: int, same_clause: bool = False) -> bool:
    """Whether a noun before `n` may be what the word there stands for. Within one clause only a possessive has its
    noun ("Do managers approve their own expenses?", but not "Do managers approve it?")."""
    first = next((i for i in range(n) if _may_be_noun(words, i)), n)
    return (same_clause and first < n) or any(_begins_clause(words, at) for at in range(first + 1, n + 1))


def _begins_clause(words: Sequence[str], at: int) -> bool:
    """Also without a word of its own: "the price they pay", "what they learned"."""
    word, before = words[at], _at(words, at - 1)
    if word == "that":
        return before == "enough" or _may_be_noun(words, at - 1)
    if word in _SUBJECTS_ONLY:
        return before in kinds.ASKING or _may_be_noun(words, at - 1)
    if word == "it":
        return _may_be_noun(words, at - 1) and _at(words, at - 2) in kinds.DETERMINERS
    if word in kinds.ASKING and _at(words, at + 1) in kinds.AUXILIARIES:
        return True
    return word in kinds.BREAKS or word in kinds.JOINING


def _may_be_noun(words: Sequence[str], i: int) -> bool:
    word, before = _at(words, i), _at(words, i - 1)
    if word in _PEOPLE:
        return True
    if word in kinds.FUNCTION or word in kinds.BREAKS or word.isdigit():
        return False
    if before in kinds.DETERMINERS or before in kinds.POSSESSIVES:
        return True
    return before not in _SUBJECTS and word not in kinds.VERBS and word not in kinds.RELATIONAL


def _pronoun(words: Sequence[str], n: int) -> bool:
    """Not in "Who said that she will leave?": the one asked for is meant."""
    embedded = words[n] in _SUBJECTS_ONLY and _at(words, n - 1) not in kinds.AUXILIARIES and n > 1
    return not ((embedded and words[0] == "who") or _named(words, n))


def _possessive(words: Sequence[str], n: int) -> bool:
    """Not in "Who has lost their badge?", "How many of their days do contractors lose?": the subject is meant."""
    who = _at(words, 0) == "who" and n > 1 and words[1] not in kinds.BE
    acts = next((at for at in range(n) if words[at] in kinds.AUXILIARIES), None)
    if acts is None:
        acts = next((at for at in range(n, len(words)) if words[at] in kinds.AUXILIARIES), len(words))
        who |= any(_may_be_noun(words, at) for at in range(acts + 1, min(acts + 4, len(words))))
    return not (who or _named(words, n, same_clause=True))


def _it(words: Sequence[str], n: int) -> bool:
    if _at(words, n + 1) in _DEPARTMENT and _at(words, n - 1) not in kinds.AUXILIARIES:
        return False
    near = [at for at in range(n + 1, min(n + 5, len(words))) if words[at] in _EXPECTED]
    of_a_time = _at(words, n - 1) in kinds.BE and _at(words, n + 1) in _TO_COME
    if of_a_time or (near and not _TO_COME.isdisjoint(words[near[0] + 1 :])):
        return False
    return _pronoun(words, n)


def _that(words: Sequence[str], n: int) -> bool:
    """Not where it joins a clause to what stands before it: "a laptop that is broken", "so that ..."."""
    before, after = _at(words, n - 1), _at(words, n + 1)
    if after in kinds.DETERMINERS | kinds.PERSONAL | kinds.PRONOUNS | kinds.POSSESSIVES | {"there"}:
        return False
    content = before not in kinds.FUNCTION | kinds.BREAKS
    joins = before in _BEFORE_A_CLAUSE or (content and (_at(words, n - 2) not in _SUBJECTS or _sentence(words, n + 1)))
    if joins and after not in kinds.BREAKS | kinds.PREPOSITIONS | {"now", "too", "then"}:
        return False
    return _demonstrative(words, n)


def _sentence(words: Sequence[str], start: int) -> bool:
    """Whether what begins at `start` has a verb of its own: "Who said that prices will rise?"."""
    end = next((at for at in range(start, len(words)) if words[at] in kinds.BREAKS | kinds.JOINING), len(words))
    part = words[start:end]
    return not kinds.AUXILIARIES.isdisjoint(part) or topics(part) > 2


def _demonstrative(words: Sequence[str], n: int) -> bool:
    if not _NOW_AND_HERE.isdisjoint(words[n + 1 : n + 3]) or _at(words, n + 1) in {"who", "of", "with", "whose"}:
        return False
    return not (_at(words, n + 1).endswith("ing") or _named(words, n))


def _those(words: Sequence[str], n: int) -> bool:
    return _at(words, n + 1) != "that" and _demonstrative(words, n)


def _there(words: Sequence[str], n: int) -> bool:
    """A place, not "is there ...", "how many are there"."""
    before, after = _at(words, n - 2 if _at(words, n - 1) == "not" else n - 1), _at(words, n + 1)
    exists = kinds.AUXILIARIES | {"exist", "exists"}
    if before in kinds.AUXILIARIES - {"be", "been"} or (after in exists and after not in kinds.BREAKS):
        return False
    return not _named(words, n)


def _one(words: Sequence[str], n: int) -> bool:
    before, after = _at(words, n - 1), _at(words, n + 1)
    if before in _COUNTED or _at(words, n - 2) == "one" or after not in kinds.BREAKS | {"for", "if", "when"}:
        return False
    described = before not in kinds.FUNCTION  # "my laptop for a bigger one"
    return not _named(words, n, same_clause=described)


def _ones(words: Sequence[str], n: int) -> bool:
    return not _named(words, n, same_clause=True)


def _same(words: Sequence[str], n: int) -> bool:
    vague = _at(words, n + 1) in kinds.VERBS | kinds.RELATIONAL and topics(_plain(words)) <= 1
    alone = _bare(words, n) or vague
    compared = "as" in words[n + 1 :] or _at(words, n + 1) in kinds.TIMES
    return alone and not compared and _at(words, n - 1) == "the" and not _named(words, n)


def _else(words: Sequence[str], n: int) -> bool:
    return words[0] != "besides" and _at(words, n - 1) in kinds.ASKING | {
        "anything",
        "something",
        "nothing",
        "everything",
    }


def _other(words: Sequence[str], n: int) -> bool:
    """Without a noun of its own; not "each other", "with others"."""
    return _bare(words, n) and _at(words, n - 1) in {"the", "any", "what", "which", "some"}


def _another(words: Sequence[str], n: int) -> bool:
    return _bare(words, n) and _at(words, n - 1) != "one" and not _named(words, n)


def _such(words: Sequence[str], n: int) -> bool:
    return _at(words, n + 1) not in {"as", "that"} and not _named(words, n, same_clause=True)


def _compared(words: Sequence[str], n: int) -> bool:
    """A measure without what it is compared with, in a question that says hardly anything else."""
    if "than" in words[n:] or _at(words, n - 1) in {"no", "or", "any"} or _at(words, n + 1) in {"about", "on", "or"}:
        return False
    return _bare(words, n) and topics(_plain(words)) <= 1


def _mentioned(words: Sequence[str], n: int) -> bool:
    return _bare(words, n) and _at(words, n - 1) == "the"


def _told(words: Sequence[str], n: int) -> bool:
    return _at(words, n - 1) == "you"


def _answer(words: Sequence[str], n: int) -> bool:
    return _at(words, n - 1) in {"your", "previous", "last", "earlier"}


_POINTERS: Mapping[str, Callable[[Sequence[str], int], bool]] = MappingProxyType(
    {
        **dict.fromkeys(listed("they them he she him hers theirs"), _pronoun),
        **dict.fromkeys(kinds.POSSESSIVES, _possessive),
        **dict.fromkeys(listed("this these"), _demonstrative),
        **dict.fromkeys(listed("other others"), _other),
        **dict.fromkeys(listed("above former latter aforementioned two three"), _mentioned),
        **dict.fromkeys(listed("said mentioned wrote listed"), _told),
        **dict.fromkeys(listed("answer answers reply"), _answer),
        **dict.fromkeys(
            listed("longer shorter more less fewer earlier later sooner higher lower bigger larger smaller cheaper"),
            _compared,
        ),
        "it": _it,
        "that": _that,
        "those": _those,
        "there": _there,
        "one": _one,
        "ones": _ones,
        "same": _same,
        "else": _else,
        "another": _another,
        "such": _such,
    }
)
