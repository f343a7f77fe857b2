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

from collections.abc import Sequence

from usher.core import question_words as kinds
from usher.core.anaphora import points_back
from usher.core.history import MAX_QUESTION
from usher.core.question_words import listed, topics

MOST_WORDS = 40
"""A question of more words brings its own."""
MOST_EARLIER = 600
"""Characters of an earlier question that are searched for: more would drown the question itself."""

_COURTESY = listed(
    "ok okay thanks thank great good perfect cool nice sure yes yeah yep no nope hi hello hey hm hmm please right"
    " alright fine so well sorry understood ah oh"
)
_CONTINUING = (
    *(("and",), ("but",), ("or",), ("nor",), ("except",), ("what", "about"), ("how", "about"), ("what", "of")),
    *(("as", "for"), ("same", "for"), ("same", "with"), ("if", "so"), ("if", "not"), ("in", "that", "case")),
)
_CONTINUING_IF_SHORT = (
    *(("also",), ("then",), ("even",), ("only",), ("plus",), ("besides",), ("otherwise",), ("instead",)),
    ("what", "if"),
)
_ENDING_IF_SHORT = frozenset({"then", "instead", "otherwise", "too"})
_OPENING = kinds.PREPOSITIONS - {"about", "of", "than", "up"} | {"because", "if", "when", "only", "even", "not"}
_OPENING_UNMARKED = listed("for in with without from since until")
"""Those that open a fragment also where no question mark follows."""
_TO_THE_ASSISTANT = listed("who what how are can do you help work me with i ask am about")
_WITHOUT_OBJECT = listed(
    "approve approves agree agrees sign signs decide decides confirm confirms count counts qualify"
    " qualifies eligible included"
)


def stands_alone(question: str) -> bool:
    """Whether `question` can be understood without those before it."""
    words = _after_courtesy(kinds.split(question))
    plain = _plain(words)
    if not plain or len(plain) > MOST_WORDS or _asks_the_assistant(plain):
        return True
    if _fragment(plain, question):
        return False
    if kinds.ENGLISH.isdisjoint(plain):
        return True
    return not (_continues(plain) or points_back(words) or _lacks_a_topic(plain))


def in_full(question: str, earlier: Sequence[tuple[str, str]]) -> str:
    """The text to search for: `question` itself if it stands alone, else behind the question that it leans on.

    `earlier` are the permitted (question, answer) pairs before it, oldest first. A follow-up of a follow-up reaches
    back to the last question that stood alone; of those between, only the nearest comes along. Answers do not: what
    they say beside the point would be searched for too. At most `MAX_QUESTION` characters; `question` is never cut.
    """
    asked = [text for text, _ in earlier if text.strip()]
    if not asked or stands_alone(question):
        return question
    start = next((n for n in reversed(range(len(asked))) if stands_alone(asked[n])), 0)
    between = asked[max(start + 1, len(asked) - 1) :]
    if all(_is_fragment(text) for text in (question, *between)):
        between = []  # "And for interns?" after "And for contractors?" asks of interns only
    parts = [_shortened(" ".join(text.split())) for text in (asked[start], *between)]
    while len(text := " ".join((*parts, question))) > MAX_QUESTION:
        parts.pop()
    return text


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_EARLIER else text[:MOST_EARLIER].rsplit(" ", 1)[0]


def _plain(words: Sequence[str]) -> list[str]:
    return [word for word in words if word not in kinds.BREAKS]


def _after_courtesy(words: list[str]) -> list[str]:
    """Without "Thanks!" and "Ok, so" before the question."""
    start = 0
    while start < len(words) and (words[start].strip(kinds.NAMED) in _COURTESY or words[start] in kinds.BREAKS):
        greeted = words[start : start + 2] in (["hi", "there"], ["hello", "there"], ["hey", "there"], ["thank", "you"])
        start += 2 if greeted else 1
    return words[start:]


def _asks_the_assistant(plain: Sequence[str]) -> bool:
    """ "Who are you?", "What can you do?" """
    return "you" in plain and plain[0] in {"who", "what", "how"} and _TO_THE_ASSISTANT.issuperset(plain)


def _is_fragment(question: str) -> bool:
    return _fragment(_plain(_after_courtesy(kinds.split(question))), question)


def _fragment(plain: Sequence[str], question: str) -> bool:
    """No whole question: "For contractors?", "And contractors?", "Which countries?", "Do managers?" """
    plain, marked = _after_opening(plain), question.rstrip(" )\"'").endswith("?")
    if any(word in kinds.AUXILIARIES or word in kinds.VERBS for word in plain):
        subject = [word for word in plain[1:] if word not in kinds.DETERMINERS]
        return marked and plain[0] in kinds.AUXILIARIES and len(subject) == 1 == topics(subject)
    if kinds.ENGLISH.isdisjoint(plain) and len(plain) > (3 if plain[0] in _OPENING else 1):
        return False
    if plain[0] in (_OPENING if marked else _OPENING_UNMARKED):
        return kinds.ASKING.isdisjoint(plain[2:])
    spaced = all(word != word.upper() or word.isdigit() for word in plain)  # a script with cases is one with spaces
    return marked and spaced and topics(plain) <= 1


def _after_opening(plain: Sequence[str]) -> Sequence[str]:
    """Without "and" or "what about", unless nothing else is there."""
    opening = next((opening for opening in _CONTINUING if tuple(plain[: len(opening)]) == opening), ())
    return plain[len(opening) :] or plain


def _continues(plain: Sequence[str]) -> bool:
    if len(_after_opening(plain)) < len(plain):
        return True
    opens = any(tuple(plain[: len(opening)]) == opening for opening in _CONTINUING_IF_SHORT)
    ends = plain[-1] in _ENDING_IF_SHORT or plain[-2:] == ["as", "well"]
    return (opens or ends) and topics(plain) <= 1


def _lacks_a_topic(plain: Sequence[str]) -> bool:
    """Nothing in it to search for, or a verb at its end that lacks its object: "Does my manager decide?" """
    found = topics(plain)
    return not found or (found == 1 and plain[-1] in _WITHOUT_OBJECT and plain[0] not in {"what", "which", "who"})
