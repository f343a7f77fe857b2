"""What leaves is clean, and innocent text leaves as it is."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.attacks import ALLOWED, ATTACKS, escapes

from usher.core.clean import LONGEST_TAG, LONGEST_TARGET, LONGEST_WORD, REMOVED, Cleaner, clean


def streamed(pieces: list[str]) -> str:
    cleaner = Cleaner(ALLOWED)
    return "".join(cleaner.feed(piece) for piece in pieces) + cleaner.finish()


def test_the_check_itself_sees_what_the_filter_must_stop() -> None:
    """Most attacks, unfiltered, are links or addresses to the independent check."""
    assert sum(bool(escapes(attack)) for attack in ATTACKS) > len(ATTACKS) * 0.75


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_no_attack_leaves_however_it_is_cut(attack: str) -> None:
    """Split at every character, and character by character, the output is that of the whole, and it is clean."""
    whole = clean(attack, ALLOWED)
    assert escapes(whole) == []
    assert streamed(list(attack)) == whole
    step = max(1, len(attack) // 200)
    for cut in range(0, len(attack) + 1, step):
        assert streamed([attack[:cut], attack[cut:]]) == whole


@pytest.mark.parametrize(
    "address",
    [
        "evil.bank/{}",
        "evil.email/q?x={}",
        "evil.xxx/a?d={}",
        "evil.dog?{}",
        "evil.zz:80#{}",
        "evil.xn--p1ai/a?d={}",
        "evil.\u0440\u0444/a?d={}",
        "\u0437\u043b\u043e.\u0440\u0444:8080?{}",
        "evil.\u092d\u093e\u0930\u0924/{}",
        "\u0437\u043b\u043e\uff0e\u0440\u0444\uff0f{}",
        "\u4f8b.bank/{}",
        "1.2.3.4/{}",
        "1.2.3.4:80/{}",
        "1.2.3.4/24/{}",
        "tel:{}",
        "sms:1?body={}",
        "magnet:?xt={}",
        "xmpp:{}",
        "https://allowed.example/go?to=evil.bank/{}",
        "[t](https://allowed.example/go?to=evil.bank/{})",
        "<https://allowed.example/go?to=evil.bank/{}>",
    ],
)
def test_no_address_carries_anything_out(address: str) -> None:
    """Neither under an unusual or foreign top-level domain, nor by a scheme that opens another program."""
    for text in (address, f"see ({address}).", f"\u4f60{address}"):
        assert "secret" not in clean(text.format("secret"), ALLOWED)
    for host in ("allowed.example", "docs.allowed.example"):
        assert clean(f"{host}/secret?x=1", ALLOWED) == f"{host}/secret?x=1"


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_cleaning_twice_is_cleaning_once(attack: str) -> None:
    """The output holds nothing that the filter would take out."""
    once = clean(attack, ALLOWED)
    assert clean(once, ALLOWED) == once


_SHARDS = (
    "[ ] ( ) < > ! ]: ]( ][ [a]( [x]: </ <!-- --> & &lt; &amp; amp; lt; &#60; #60; &#x3c &colon; &#104; \\ ' ` ``` ~~~"
    " * _ | / // : . ; = ? # @ - evil.com/p www.evil.com https:// http: http ttps ht javascript: data:text/html, .."
    " %2e { } mailto:a@b.c @evil.example allowed.example //evil.example <a href= <img src= img b> <b> <br> <b script"
    " svg a b https://evil.example/x https://allowed.example/p <https://allowed.example/x>"
    " [t](https://allowed.example/x) https:\\\\evil.com"
    " evil.bank/p .\u0440\u0444 \u0440\u0444/x 1.2.3.4/x /24 tel:1 node.js/x"
    " \u00e9 \u4e2d \u200b \u200d \ufeff \u3002 \uff0e \uff48 \u2028 \x00 \x01"
)
SHARDS = (*_SHARDS.split(" "), " ", "\n", "\n\n", "\t", "\r", '"t"', "- ", "> ", "1. ", "\ud800", "(link removed)")


def attack_of(source: random.Random) -> str:
    base = source.choice(ATTACKS)[:200] if source.random() < 0.3 else ""
    shards = [source.choice(SHARDS) for _ in range(source.randint(1, 14))]
    cut = source.randint(0, len(base))
    return base[:cut] + "".join(shards) + base[cut:]


def check(attack: str, source: random.Random) -> None:
    whole = clean(attack, ALLOWED)
    assert escapes(whole) == [], (attack, whole)
    assert clean(whole, ALLOWED) == whole, attack
    cuts = sorted(source.randint(0, len(attack)) for _ in range(source.randint(1, 8)))
    assert streamed([attack[a:b] for a, b in zip([0, *cuts], [*cuts, len(attack)], strict=True)]) == whole, attack
    assert streamed(list(attack)) == whole, attack


def test_generated_attacks_do_not_leave() -> None:
    """Random compositions of everything that builds an address."""
    source = random.Random(11)  # noqa: S311 - repeatable, no secret
    for _ in range(400):
        check(attack_of(source), source)


@pytest.mark.slow
@pytest.mark.parametrize("many", [1_000, pytest.param(20_000, marks=pytest.mark.crash)])
def test_many_generated_attacks_do_not_leave(many: int) -> None:
    """The same, by the thousand, with another seed."""
    source = random.Random(12)  # noqa: S311 - repeatable, no secret
    for _ in range(many):
        check(attack_of(source), source)


@given(st.text(max_size=80))
def test_any_text_is_cut_safely(text: str) -> None:
    """Also text that is no Markdown at all."""
    whole = clean(text, ALLOWED)
    assert streamed(list(text)) == whole == clean(whole, ALLOWED)


INNOCENT = (
    "You get 16 weeks, i.e. four months (see the policy, section 3.2), at 100% of your salary.",
    "Prices: $5.00, 1.000,50 EUR, 3/4 of them; 10:30-11:00, 24/7, and/or, 1//2, a:b, C:\\Users\\me, key: value",
    "if a < b and c <= d or e <- f or x << 2: pass  # 5 > 3 <3",
    "a[0] = b[i][j]; d['k']: 1; x = list(y)",
    "| Name | Days |\n|:---|---:|\n| A | **5** |\n",
    "# Head\n\n- *one* [1]\n- __two__ [2, 3]\n\n> quote [4]\n\n1. `code`\n\n---\n",
    "[sic] and [x] done, [ ] open, [1][2], (a) [b] (c)",
    "See handbook/travel.md, and/or, km/h, node.js/express, a.m./p.m., i.e./e.g., policy.pdf/annex.docx, (README.md?)",
    'Is it in travel.md? Or example.com? "Or company.example?" Tel: 1, Hotel:x, motel: none, 10.0.0.0/8, (1.2.3.4/32).',
    "\u6c34\u3002\u662f/\u5426 \u5b89\u88c5Python\u3002Email/\u7535\u8bdd",
    "\u0442.\u0435./\u0442.\u0434. \u043f.\u0430/\u0431 \u0438/\u0438\u043b\u0438",
    "Write to hr@company.example or see README.md, node.js, company.example, v1.2.3, Ph.D., U.S., 10.0.0.1/24.",
    "// a comment\n/* another */ std::vector, s/a/b/, ~/x, ../y, src/app/main.py:12, 2026-11-01T10:00:00Z",
    "R&D, Q&A, AT&T; a && b; 'quoted' \"twice\" \u2013 \u201csmart\u201d \u2026 caf\u00e9",
    "\u4f60\u597d\u3002\u5929\u6c14\uff1a\u597d \U0001f469\u200d\U0001f4bb",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "```python\ndef f(x):\n    return {'a': x[1:], 'b': x[0]}\n```\n",
    "Read https://allowed.example/a?b=1#c, [it](https://docs.allowed.example/x) or <https://allowed.example/y>.",
    "The data: none. The file: none. See javascript or http headers, www and FTP.",
)


@pytest.mark.parametrize("text", INNOCENT, ids=range(len(INNOCENT)))
def test_innocent_text_leaves_unchanged(text: str) -> None:
    """Prose, code, tables, citations and links to allowed hosts."""
    cleaner = Cleaner(ALLOWED)
    assert cleaner.feed(text) + cleaner.finish() == text
    assert cleaner.removed == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a [text](https://evil.example) b", f"a [text] {REMOVED} b"),
        ("![alt](https://evil.example/i.png)", f"![alt] {REMOVED}"),
        ("see https://evil.example/x, then", f"see {REMOVED}, then"),
        ("(https://evil.example/x)", f"({REMOVED})"),
        ("a<br>b <b>bold</b>", "a b bold "),
        ("x <y, List<String>, <your-name>", "x < y, List< String>, < your-name>"),
        ("[ref]: value", "[ref] : value"),
        ("call[0](x)", "call[0] (x)"),
        ("Tom &amp; Jerry&nbsp;&quot;x&quot; &eacute;", 'Tom &  Jerry\u00a0"x" \u00e9'),
        ("https://ALLOWED.example.", "https://ALLOWED.example/."),
        ("https://allowed.example:8443?x=1", "https://allowed.example:8443/?x=1"),
        ("[t](https://allowed.example/go?to=https://evil.example)", f"[t] {REMOVED}"),
        ("https://allowed.example/go?to=https://evil.example", f"https://allowed.example/go?to={REMOVED}"),
        ('[t](https://allowed.example/x "title")', "[t](https://allowed.example/x)"),
        ("[t]( <https://allowed.example/x> )", "[t](https://allowed.example/x)"),
        ("half \ud800 pair\r\n", "half \ufffd pair\n"),
    ],
)
def test_what_is_changed_stays_readable(text: str, expected: str) -> None:
    """A link's text stays, the rest says that something went, and code stays recognisable."""
    assert clean(text, ALLOWED) == expected


def test_what_was_taken_out_is_counted_by_kind() -> None:
    """For metrics and the record; no text of it is kept."""
    cleaner = Cleaner(ALLOWED)
    cleaner.feed("[a](https://evil.example) https://evil.example <b>x</b>\n[r]: //evil.example\n" + "x" * 5_000)
    cleaner.finish()
    assert cleaner.removed == {"link": 1, "address": 2, "tag": 2, "definition": 1, "word": 1}


def test_prose_is_released_to_the_last_word() -> None:
    """A reader waits for one word at most."""
    cleaner = Cleaner(ALLOWED)
    assert cleaner.feed("The limit is five da") == "The limit is five "
    assert cleaner.feed("ys. ") == "days. "
    assert cleaner.feed("\u4f60\u597d\u5417") == "\u4f60\u597d\u5417"


@pytest.mark.parametrize("opening", ["x", "[a](", "<a b='", "<https://allowed.example/", "&#"])
def test_what_is_held_back_is_bounded(opening: str) -> None:
    """An opening that is never closed is let go, broken or dropped, within the limits."""
    cleaner = Cleaner(ALLOWED)
    cleaner.feed("go " + opening)
    fed = "".join(cleaner.feed("y") for _ in range(LONGEST_WORD + LONGEST_TARGET + LONGEST_TAG + 3))
    assert fed
    assert len(cleaner.feed(" ") + cleaner.finish()) <= LONGEST_WORD


def test_a_long_answer_in_one_delta_takes_linear_time() -> None:
    """Hostile repetition does not make the filter slow (about 0.05 s for each of these)."""
    for shard in (
        "[a](",
        "<a b=c ",
        "&amp;",
        "a.",
        "](x",
        "<http://",
        "[",
        "https:",
        "\\",
        "-a",
        "a-.",
        "//",
        "a.b?",
        "\u00e9.",
        "1.1",
        "tel:",
        "?*",
    ):
        clean(shard * (20_000 // len(shard)), ALLOWED)


def test_no_host_is_allowed_by_default() -> None:
    """An empty set lets no address out."""
    assert clean("https://allowed.example/x", frozenset()) == REMOVED
