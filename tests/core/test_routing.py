"""How a request is answered."""

from usher.core.routing import Route, RouteKind, route


def test_a_person_who_may_not_chat_is_refused_whatever_they_may_read() -> None:
    """A refusal names its reason and nothing of the scope."""
    assert route(may_chat=False, classes=(1, 2), dropped_turns=3) == Route(RouteKind.REFUSE, ("chat_not_allowed",))


def test_an_empty_scope_is_answered_as_a_search_without_result() -> None:
    """The route is the ordinary one, so that the words are the ordinary ones."""
    assert route(may_chat=True, classes=(), dropped_turns=0) == Route(RouteKind.RETRIEVE, ("scope_empty",))


def test_turns_left_out_are_counted_in_the_reasons() -> None:
    """A client sees that its history was not used."""
    assert route(may_chat=True, classes=(4,), dropped_turns=2).reasons == ("earlier_turns_left_out:2",)


def test_an_ordinary_request_has_no_reasons() -> None:
    """Nothing to explain."""
    assert route(may_chat=True, classes=(4,), dropped_turns=0) == Route(RouteKind.RETRIEVE, ())
