"""Follow-up questions: what to search for when a question leans on the one before it ("And for contractors?").

A fixed rule over English words. A question is a follow-up only where it shows one of three signs:

1. it opens as a continuation: "And ...", "What about ...";
2. it points at something that it does not name: "it", "those", "the same" (`anaphora.py`);
3. it is no whole question, or has no word to search for: "For contractors?", "Why?", "Who decides?".

In doubt a question stands alone. A sign that was missed costs an answer, which the person sees and asks again in full;
a question changed without need gets an answer to something else, which nobody sees. So a pronoun whose noun may stand
in the question itself is no sign, and nothing is in a text of many words or, short fragments apart, of no English ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from usher.core import question_words as kinds
from usher.core.anaphora import points_back
from usher.core.history import MAX_QUESTION
from usher.core.question_words import listed, topics

MOST_WORDS = 40
"""A question of more words brings its own."""
MOST_EARLIER = 600
"""Characters of an earlier question that are searched for: more would drown the question itself."""

_COURTESY = re.compile(
    r"(?i)^(?:(?:(?:hi|hello|hey)(?: there)?|thank you|thanks|thx|ok|okay|great|good|perfect|cool|nice|sure|yes|yeah|"
    r"yep|no|nope|hm+|please|right|alright|fine|so|well|sorry|understood|got it|i see|ah|oh)(?:[\s,.!;:\u2026-]+|$))+"
)
_CONTINUING = re.compile(
    r"(?i)^(?:and|but|or|nor|except|(?:what|how) about|what of|as for|same (?:for|with)|if (?:so|not)|"
    r"in that case)\b\W*"
)
_CONTINUING_IF_SHORT = re.compile(
    r"(?i)^(?:also|then|even|only|plus|besides|otherwise|instead|what if)\b|"
    r"\b(?:then|instead|otherwise|too|as well)\W*$"
)
_OPENING = kinds.PREPOSITIONS - {"about", "of", "than", "up"} | {"because", "if", "when", "only", "even", "not"}
_OPENING_UNMARKED = listed("for in with without from since until")
"""Those that open a fragment also where no question mark follows."""
_TO_THE_ASSISTANT = listed("who what how are can do you help work me with i ask am about")
_WITHOUT_OBJECT = listed(
    "approve approves agree agrees sign signs decide decides confirm confirms count counts qualify qualifies eligible"
    " included"
)


def stands_alone(question: str) -> bool:
    """Whether `question` can be understood without those before it."""
    text = _after_courtesy(question)
    words = kinds.split(text)
    plain = [word for word in words if word not in kinds.BREAKS]
    if not plain or len(plain) > MOST_WORDS or _asks_the_assistant(plain):
        return True
    if _fragment(text):
        return False
    if kinds.ENGLISH.isdisjoint(plain):
        return True
    return not (_continues(text, plain) or points_back(words) or _lacks_a_topic(plain))


def in_full(question: str, earlier: Sequence[tuple[str, str]]) -> str:
    """The text to search for: `question` itself if it stands alone, else together with the question that it leans on.

    `earlier` are the permitted (question, answer) pairs before it, oldest first. A follow-up of a follow-up reaches
    back to the last question that stood alone; of those between, only the nearest comes along. Answers do not: what
    they say beside the point would be searched for too. A question that only names something else ("And for interns?")
    stands before and behind the earlier one, so that it weighs as much, and not beside another such ("And for
    contractors?"). No word of either is lost, but an earlier question is cut after `MOST_EARLIER` characters. The
    result has at most `MAX_QUESTION` characters: where there is no room, the earlier questions are left out.
    """
    asked = [text for text, _ in earlier if text.strip()]
    if not asked or stands_alone(question):
        return question
    start = next((n for n in reversed(range(len(asked))) if stands_alone(asked[n])), 0)
    before = [asked[start], *asked[max(start + 1, len(asked) - 1) :]]
    if named := _names_another(question):
        before = [before[0], *(text for text in before[1:] if not _names_another(text))]
    shortened = (_shortened(" ".join(text.split())) for text in before)
    text = " ".join((named, *shortened, named) if named else (*shortened, question))
    return text if len(text) <= MAX_QUESTION else question


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_EARLIER else text[:MOST_EARLIER].rsplit(" ", 1)[0]


def _after_courtesy(question: str) -> str:
    """Without "Thanks!" and "Ok, so" before the question."""
    return _COURTESY.sub("", question.strip())


def _plain(text: str) -> list[str]:
    return [word for word in kinds.split(text) if word not in kinds.BREAKS]


def _asks_the_assistant(plain: Sequence[str]) -> bool:
    """ "Who are you?", "What can you do?" """
    return "you" in plain and plain[0] in {"who", "what", "how"} and _TO_THE_ASSISTANT.issuperset(plain)


def _names_another(question: str) -> str:
    """What a question names that only puts something in another's place ("for interns?"), or nothing."""
    text = _after_courtesy(question)
    named = _CONTINUING.sub("", text)
    sentence = kinds.AUXILIARIES | kinds.VERBS | kinds.ASKING | kinds.PRONOUNS
    words = _plain(named)
    names = topics(words) > 0 and sentence.isdisjoint(words)
    return named if names and (named != text or _fragment(text)) else ""


def _fragment(text: str) -> bool:
    """No whole question: "For contractors?", "And contractors?", "Which countries?", "Do managers?" """
    plain, marked = _plain(_CONTINUING.sub("", text)) or _plain(text), text.rstrip(" )\"'").endswith("?")
    if any(word in kinds.AUXILIARIES or word in kinds.VERBS for word in plain):
        subject = [word for word in plain[1:] if word not in kinds.DETERMINERS]
        return marked and plain[0] in kinds.AUXILIARIES and len(subject) == 1 == topics(subject)
    if kinds.ENGLISH.isdisjoint(plain) and len(plain) > (3 if plain[0] in _OPENING else 1):
        return False
    if plain[0] in (_OPENING if marked else _OPENING_UNMARKED):
        return kinds.ASKING.isdisjoint(plain[2:])
    spaced = all(word != word.upper() or word.isdigit() for word in plain)  # a script with cases is one with spaces
    return marked and spaced and topics(plain) <= 1


def _continues(text: str, plain: Sequence[str]) -> bool:
    return bool(_CONTINUING.match(text) or (_CONTINUING_IF_SHORT.search(text) and topics(plain) <= 1))


def _lacks_a_topic(plain: Sequence[str]) -> bool:
    """Nothing in it to search for, or a verb at its end that lacks its object: "Does my manager decide?" """
    found = topics(plain)
    return not found or (found == 1 and plain[-1] in _WITHOUT_OBJECT and plain[0] not in {"what", "which", "who"})
