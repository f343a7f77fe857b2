"""The words of a question, and what kind of English word each is: what the rule for follow-ups looks at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

NAMED = "\u0001"
"""Stands before a word that its capital shows to be a name ("IT", "Change" within a sentence), so that it equals no
word of the lists."""
BREAKS = frozenset(",;:.?!\n()")
"""Marks that `split` keeps, as words of their own."""
_TOKEN = re.compile(r"\d+(?:[:.,/]\d+)+|[^\W_]+(?:[-&][^\W_]+)*|[,;:.?!\n()]")
_SHORT_FORMS = (
    (re.compile("[\u2018\u2019]"), "'"),
    (re.compile(r"(?i)\b(what|who|where|when|why|how|that|there|it|he|she|here)'s\b"), r"\1 is"),
    (re.compile(r"(?i)\bcan't\b"), "can not"),
    (re.compile(r"(?i)\bwon't\b"), "will not"),
    (re.compile(r"(?i)n't\b"), " not"),
    (re.compile(r"(?i)'(?:re|ll|d|ve|m|s)\b"), ""),
)


def listed(text: str) -> frozenset[str]:
    """The words of a list."""
    return frozenset(text.split())


BE = listed("is are was were am")
AUXILIARIES = BE | listed(
    "be been being do does did done have has had can could will would shall should may might must cannot"
)
ASKING = listed("what who whom whose which when where why how")
PREPOSITIONS = listed(
    "for in at from with without since until till by per on during after before within under to outside inside via"
    " between among about of as into onto over up than through toward towards against upon except like"
)
JOINING = listed(
    "if when while because before after until unless since whether and or but so though although once where who which"
)
"""Words that begin another clause."""
POSSESSIVES = listed("its their his her")
DETERMINERS = listed("the a an my our your any each every some")
PERSONAL = listed("i you we me us mine yours ours myself yourself ourselves")
PRONOUNS = listed("it they them he she him hers theirs itself themselves himself herself oneself")
_SMALL = listed(
    "this that these those there here no not all both either neither same else other others another one ones such too"
    " also then just only even very quite still yet already again ever never now today usually normally exactly"
    " actually really please much many more less most least few fewer lot long often soon far well instead otherwise"
    " enough s t"
)
FUNCTION = AUXILIARIES | ASKING | PREPOSITIONS | JOINING | POSSESSIVES | DETERMINERS | PERSONAL | PRONOUNS | _SMALL
"""Words that say nothing of what is asked about."""
_SPELT_ALIKE = listed(
    "in so an on as am was i me no a do he her at to has for or want we here may over per via his once s t such all"
    " one of will had die man even same like most about till not my us"
)
"""Those that other languages spell alike."""

VERBS = listed(
    "apply applies ask asks approve approves approved agree agrees decide decides decided sign signs happen happens"
    " happened need needs needed get gets got go goes work works last lasts start starts end ends take takes taken use"
    " uses used expire expires change changes changed contact confirm confirms count counts qualify qualifies matter"
    " matters mean means cost costs pay pays request requests requested submit submits submitted explain elaborate"
    " continue repeat clarify summarise summarize shorten tell tells give gives show shows say says said know knows"
    " find finds look see seen make makes made allowed allow allows required require requires possible mandatory"
    " optional permitted forbidden included include includes eligible entitled supposed available true fill send handle"
    " handles exist exists want wants wait keep keeps extend extended let become becomes differ differs spend claim"
)
"""Verbs, and what stands with "to be", that fit any subject."""
ENGLISH = (FUNCTION | VERBS) - _SPELT_ALIKE
"""Words that show a question to be English."""
TIMES = listed(
    "day days week weeks month months year years hour hours minute minutes quarter quarters time times date dates"
)
RELATIONAL = TIMES | listed(
    "limit limits deadline deadlines exception exceptions minimum maximum cap difference differences alternative"
    " alternatives form forms process steps step fee fees price reason reasons example examples list lists link links"
    " approval penalty consequence consequences rest requirement requirements rule rules condition conditions detail"
    " details case cases thing things part parts kind kinds type types way ways amount number duration length frequency"
    " notice source sources answer answers question information info purpose point person people someone somebody"
    " anyone anybody everyone everybody nobody something anything everything nothing team percent percentage advance"
    " average first second third fourth fifth next previous former latter above below shorter longer earlier later"
    " sooner higher lower bigger larger smaller cheaper bit further english german french spanish general total"
)
"""Nouns that are of something else: "the limit" of what?"""


def split(question: str) -> list[str]:
    """Words in lower case, names marked, and the marks between them."""
    for found, instead in _SHORT_FORMS:
        question = found.sub(instead, question)
    shouted = question.isupper()
    tokens: list[str] = _TOKEN.findall(question)
    return [
        NAMED + token.lower() if not shouted and _is_name(before, token) else token.lower()
        for before, token in pairwise([".", *tokens])
    ]


def _is_name(before: str, token: str) -> bool:
    """Capitals, or a capital that does not begin a sentence."""
    return len(token) > 1 and token[0].isupper() and (token.isupper() or before not in BREAKS)


def topics(words: Sequence[str]) -> int:
    """How many of `words` (no marks) say what is asked about."""
    return sum(
        word not in FUNCTION and word not in VERBS and word not in RELATIONAL and not word.isdigit() for word in words
    )
