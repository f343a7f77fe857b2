"""Words to term weights: one spelling, equal everywhere, BM25's saturation and length."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.core import lexical
from usher.core.fusion import SparseVector


def terms(text: str) -> set[int]:
    return set(lexical.query(text).indices)


def weight(vector: SparseVector, word: str) -> float:
    (term,) = terms(word)
    return dict(zip(vector.indices, vector.values, strict=True)).get(term, 0.0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("policies", "policy"),
        ("Traveling", "TRAVELED"),
        ("Straße", "STRASSE"),
        ("résumé", "re\u0301sume\u0301"),
        ("Größe", "GROSSE"),
        ("\ufb01le", "file"),
        ("\uff28\uff32", "hr"),
        ("the leave", "leave"),
        ("employee's", "employee"),
    ],
)
def test_spellings_of_a_word_are_one_term(one: str, other: str) -> None:
    """Endings, case, accents and compatibility forms do not matter, nor do stop words."""
    assert terms(one) == terms(other)
    assert terms(one)


def test_unspaced_scripts_are_found_by_parts() -> None:
    """A Chinese phrase is found inside a sentence without spaces."""
    assert terms("契約書") <= terms("この契約書の期限は")
    assert not terms("契約書") & terms("社員手帳")
    assert terms("字") == terms(" 字 ")
    assert terms("GPU契約書") == terms("gpu 契約書")


def test_indian_words_stay_whole() -> None:
    """Vowel signs do not cut a word."""
    assert len(terms("अनुबंध समाप्ति")) == 2


def test_only_stop_words_ask_nothing() -> None:
    """A question of stop words or signs has an empty vector."""
    assert lexical.query("What is the ...?") == SparseVector((), ())


def test_a_question_weighs_each_distinct_term_once() -> None:
    """Repeating a word in a question changes nothing."""
    assert lexical.query("leave leave parental") == lexical.query("parental leave")
    assert set(lexical.query("leave parental").values) == {1.0}


def test_a_question_asks_for_its_first_terms_only() -> None:
    """However long it is, and in whatever script, it costs a bounded number of queries."""
    words = [f"word{n}" for n in range(lexical.MOST_ASKED + 1)]
    assert lexical.query(" ".join(words)) == lexical.query(" ".join(words[:-1]))
    assert lexical.query(" ".join(words[:-1])) != lexical.query(" ".join(words[:-2]))
    assert lexical.query("the " * 100 + " ".join(words)) == lexical.query(" ".join(words))
    unspaced = "".join(chr(0x4E00 + n) for n in range(8_000))
    assert set(lexical.query(unspaced).indices) == terms(unspaced[: lexical.MOST_ASKED + 1])
    assert len(lexical.query(unspaced).indices) == lexical.MOST_ASKED


def test_words_of_title_headings_and_path_count_once_more() -> None:
    """A word weighs more where title, headings or path say it too."""
    plain = lexical.document("", (), "", "leave zone")
    for title, headings, path in (("leave", (), ""), ("", ("leave",), ""), ("", (), "hr/leave.md")):
        assert weight(lexical.document(title, headings, path, "leave zone"), "leave") > weight(plain, "leave")


@given(times=st.integers(1, 50), others=st.integers(0, 300))
def test_weights_saturate(times: int, others: int) -> None:
    """More mentions weigh more but never k1 + 1; a longer chunk weighs less."""

    def at(n: int, extra: int) -> float:
        return weight(lexical.document("", (), "", "leave " * n + "filler " * extra), "leave")

    assert at(times, others) < at(times + 1, others) < lexical.K1 + 1
    assert at(times, others + 1) < at(times, others)


@given(st.text(max_size=200))
def test_vectors_are_sorted_and_positive(text: str) -> None:
    """Term ids are distinct, ascending and 32 bit, weights positive, whatever the text."""
    for vector in (lexical.document(text, (text,), text, text), lexical.query(text)):
        assert len(vector.indices) == len(vector.values)
        assert all(a < b for a, b in pairwise(vector.indices))
        assert all(0 <= term < 1 << 32 for term in vector.indices)
        assert all(value > 0 for value in vector.values)


def test_term_ids_never_change() -> None:
    """Ids are the same in every process and on every machine, since an index holds them."""
    assert lexical.query("parental leave").indices == (680620476, 2709293332)
    assert lexical.query("契約").indices == (3074988312,)
