"""What a client sent as messages: one question, and what goes beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from usher.core.prompt import ClientTurn

MAX_MESSAGES = 2_000
MAX_QUESTION = 8_000
"""Characters of a question."""

CLIENT_ROLES = frozenset({"system", "developer", "tool", "function"})
TALK_ROLES = frozenset({"user", "assistant"})


class InvalidMessages(ValueError):
    """The messages cannot be answered. `field` names the value (`messages[3].content`), `problem` what is wrong with
    it, `remedy` what to send instead; none of them quotes a text."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field}: {problem}; {remedy}")
        self.field = field
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Resent:
    """An assistant turn that a client sent again, with the user turn right before it (empty if there is none): claims,
    until the answer is found in the record. `turns`: how many of the client's turns it stands for."""

    question: str
    answer: str
    turns: int


@dataclass(frozen=True, slots=True)
class Asked:
    """`question`: the last user turn. `client_turns`: system, developer and tool turns, in order. `resent`: earlier
    answers, oldest first. `unanswered`: earlier user turns that no assistant turn follows."""

    question: str
    client_turns: tuple[ClientTurn, ...] = ()
    resent: tuple[Resent, ...] = ()
    unanswered: int = 0


def split(messages: Sequence[object]) -> Asked:
    """The question and the client's turns out of `messages` (parsed JSON: objects with `role` and `content`).

    The question must be the last of the user and assistant turns: an answer that a client has begun itself is not
    continued. Client turns may follow it. Every turn is validated, those left out too. Raises `InvalidMessages`.
    """
    if not messages:
        raise InvalidMessages("messages", "is empty", "send at least one message with role user")
    if len(messages) > MAX_MESSAGES:
        raise InvalidMessages(
            "messages", f"has {len(messages)} entries, more than {MAX_MESSAGES}", "send the latest turns only"
        )
    turns = [_turn(f"messages[{index}]", message) for index, message in enumerate(messages)]
    talk = [index for index, turn in enumerate(turns) if turn.role in TALK_ROLES]
    last = _last_question(turns, talk)
    return Asked(
        question=_question(f"messages[{last}].content", turns[last].text),
        client_turns=tuple(turn for turn in turns if turn.role in CLIENT_ROLES and turn.text.strip()),
        resent=(resent := _resent([turns[index] for index in talk[:-1]])),
        unanswered=len(talk) - 1 - sum(pair.turns for pair in resent),
    )


def _resent(talk: Sequence[ClientTurn]) -> tuple[Resent, ...]:
    """Each assistant turn with the user turn right before it."""
    found: list[Resent] = []
    for before, turn in zip((None, *talk), talk, strict=False):
        if turn.role == "assistant":
            asked = before.text if before is not None and before.role == "user" else None
            found.append(Resent(asked or "", turn.text, 1 if asked is None else 2))
    return tuple(found)


def _last_question(turns: Sequence[ClientTurn], talk: Sequence[int]) -> int:
    if not any(turns[index].role == "user" for index in talk):
        raise InvalidMessages("messages", "has no message with role user", "add the question as the last user message")
    last = talk[-1]
    if turns[last].role != "user":
        raise InvalidMessages(
            f"messages[{last}].role",
            "the last turn is the assistant's",
            "end with a user message; answers are not continued",
        )
    return last


def _question(field: str, text: str) -> str:
    if not text.strip():
        raise InvalidMessages(field, "the question is empty", "write the question into the last user message")
    if len(text) > MAX_QUESTION:
        raise InvalidMessages(
            field, f"the question has {len(text)} characters, more than {MAX_QUESTION}", "shorten the question"
        )
    return text.strip()


def _turn(field: str, message: object) -> ClientTurn:
    if not isinstance(message, Mapping):
        raise InvalidMessages(field, "is not an object", 'send {"role": "user", "content": "..."}')
    role = message.get("role")
    if not isinstance(role, str) or role not in CLIENT_ROLES | TALK_ROLES:
        raise InvalidMessages(
            f"{field}.role", "is not a known role", "use one of " + ", ".join(sorted(CLIENT_ROLES | TALK_ROLES))
        )
    return ClientTurn(role, _text(f"{field}.content", role, message.get("content")))


def _text(field: str, role: str, content: object) -> str:
    if content is None and role == "assistant":  # an assistant turn that only called tools has no content
        return ""
    if isinstance(content, str):
        return _unicode(field, content)
    if isinstance(content, Sequence) and not isinstance(content, bytes | bytearray):
        return "\n".join(_part(f"{field}[{index}]", role, part) for index, part in enumerate(content))
    raise InvalidMessages(field, "is neither a text nor a list of parts", "send the text as a string")


def _part(field: str, role: str, part: object) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if isinstance(part, Mapping) and (kind == "text" or (kind == "refusal" and role == "assistant")):
        text = part.get(str(kind))
        if isinstance(text, str):
            return _unicode(f"{field}.{kind}", text)
        raise InvalidMessages(f"{field}.{kind}", "is not a string", "send the text as a string")
    raise InvalidMessages(
        f"{field}.type", "is not a text part", "send parts of type text only; images, audio and files are not read"
    )


def _unicode(field: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidMessages(field, "holds half of a surrogate pair", "send valid Unicode") from None
    return text
