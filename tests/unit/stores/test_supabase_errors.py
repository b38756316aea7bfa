"""What an answer that is not a success means. Bodies as PostgREST, the gateway before it, and @supabase/lite word them."""

import httpx
import pytest

from core.model.errors import StoreError, TransportError
from core.stores.rows import LEVELS, RISKS, TRADES
from core.stores.supabase_access import SupabaseAccess, TableNames
from core.stores.supabase_errors import (
    Meaning,
    Refusal,
    RefusedRequest,
    emptied,
    error_of,
    error_of_failure,
    lacks,
    worst_of,
)

ACCESS = SupabaseAccess("https://a.supabase.co", "k", tables=TableNames(schema="app", trades="positions"))
AS_ROLE = SupabaseAccess("https://a.supabase.co", "k", "t")


@pytest.mark.parametrize(
    ("status", "code", "message", "meaning"),
    [
        (400, "42703", "column trades.nope does not exist", Meaning.NO_COLUMN),
        (400, "PGRST204", "Could not find the 'nope' column of 'trades' in the schema cache", Meaning.NO_COLUMN),
        (404, "PGRST205", "Could not find the table 'public.nope' in the schema cache", Meaning.NO_TABLE),
        (404, "42P01", 'relation "public.nope" does not exist', Meaning.NO_TABLE),
        (404, "PGRST202", "Could not find the function public.f in the schema cache", Meaning.NO_FUNCTION),
        (404, "42883", "function f() does not exist", Meaning.NO_FUNCTION),
        (406, "PGRST106", "Invalid schema: nope", Meaning.NO_SCHEMA),
        (400, "3F000", 'schema "nope" does not exist', Meaning.NO_SCHEMA),
        (400, "42P10", "there is no unique or exclusion constraint matching", Meaning.NO_CONSTRAINT),
        (403, "42501", "permission denied for table trades", Meaning.DENIED),
        # For the role anon PostgREST says 401, but another key would not help.
        (401, "42501", "permission denied for table trades", Meaning.DENIED),
        (401, "", "Invalid API key", Meaning.KEY_REFUSED),
        (401, "PGRST301", "No suitable key or wrong key type", Meaning.KEY_REFUSED),
        (401, "PGRST302", "Anonymous access is disabled", Meaning.KEY_REFUSED),
        (401, "PGRST303", "JWT expired", Meaning.KEY_REFUSED),
        (400, "22023", 'role "nobody" does not exist', Meaning.KEY_REFUSED),
        (400, "22023", "invalid parameter value", Meaning.OTHER),
        (403, "", "Forbidden", Meaning.DENIED),
        (500, "SUP", "Error: connect ECONNREFUSED", Meaning.PASSING),
        (503, "PGRST000", "Database connection error. Retrying the connection.", Meaning.PASSING),
        (503, "PGRST002", "Could not query the database for the schema cache. Retrying.", Meaning.PASSING),
        (504, "PGRST003", "Timed out acquiring connection from connection pool.", Meaning.PASSING),
        (500, "40001", "could not serialize access due to concurrent update", Meaning.PASSING),
        (500, "57014", "canceling statement due to statement timeout", Meaning.PASSING),
        (503, "57P01", "terminating connection due to administrator command", Meaning.PASSING),
        (400, "55P03", "canceling statement due to lock timeout", Meaning.PASSING),
        (502, "", "Bad Gateway", Meaning.PASSING),
        (500, "55000", "cannot update table because it does not have a replica identity", Meaning.OTHER),
        (540, "", "Project paused", Meaning.PASSING),
        (429, "", "Too Many Requests", Meaning.PASSING),
        (408, "", "Request Timeout", Meaning.PASSING),
        (400, "23514", "new row violates check constraint", Meaning.OTHER),
        (400, "22P02", "invalid input syntax for type bigint", Meaning.OTHER),
        (404, "", "Not Found", Meaning.OTHER),
        (301, "", "Moved Permanently", Meaning.OTHER),
    ],
)
def test_what_an_answer_means(status, code, message, meaning):
    assert Refusal(status, code, message).meaning is meaning


@pytest.mark.parametrize(
    ("message", "column"),
    [
        ("column trades.nope does not exist", "nope"),
        ("column nope does not exist", "nope"),
        ('column "nope" does not exist', "nope"),
        ('column "trades"."nope" does not exist', "nope"),
        ('column "nope" of relation "trades" does not exist', "nope"),
        ("Could not find the 'nope' column of 'trades' in the schema cache", "nope"),
        ("there is something else the matter", None),
    ],
)
def test_which_column_is_absent(message, column):
    assert Refusal(400, "42703", message).column == column


def test_what_may_pass_is_a_transport_error():
    error = error_of(Refusal(503, "PGRST001", "busy"), ACCESS, TRADES, "read")
    assert isinstance(error, TransportError)
    assert "PGRST001: busy" in str(error)


@pytest.mark.parametrize(
    ("refusal", "access", "target", "words"),
    [
        (Refusal(404, "PGRST205", "x"), ACCESS, TRADES, ["app.positions", "SUPABASE_TRADES_TABLE", "SUPABASE_SCHEMA"]),
        (Refusal(404, "PGRST205", "x"), ACCESS, "risk_events", ["app.risk_events", "migrations"]),
        (Refusal(404, "PGRST202", "x"), ACCESS, "beat", ["call app.beat"]),
        (
            Refusal(400, "42703", "column l.a does not exist"),
            ACCESS,
            LEVELS,
            ["lacks column a", "SUPABASE_LEVELS_TABLE"],
        ),
        (Refusal(400, "42703", "odd"), ACCESS, LEVELS, ["lacks column ?"]),
        (Refusal(406, "PGRST106", "x"), ACCESS, RISKS, ["schema app", "SUPABASE_SCHEMA", "exposed schemas"]),
        (Refusal(401, "", "Invalid API key"), AS_ROLE, TRADES, ["SUPABASE_KEY", "401: Invalid API key"]),
        (Refusal(401, "PGRST301", "x"), ACCESS, TRADES, ["SUPABASE_KEY"]),
        (Refusal(401, "PGRST303", "JWT expired"), AS_ROLE, TRADES, ["SUPABASE_ROLE_TOKEN", "JWT expired"]),
        (Refusal(403, "42501", "x"), ACCESS, TRADES, ["SUPABASE_KEY may not update app.positions", "Grant"]),
        (Refusal(403, "42501", "x"), AS_ROLE, TRADES, ["SUPABASE_ROLE_TOKEN may not"]),
        (Refusal(404, "", ""), ACCESS, TRADES, ["404: no reason given", "SUPABASE_URL"]),
    ],
)
def test_a_refusal_names_what_to_do(refusal, access, target, words):
    doing = "call" if target == "beat" else "update"
    error = error_of(refusal, access, target, doing)
    assert isinstance(error, RefusedRequest)
    assert isinstance(error, StoreError)
    assert error.meaning is refusal.meaning
    assert error.code == refusal.code
    assert [word for word in words if word not in str(error)] == []


def test_the_servers_words_are_one_short_line():
    said = str(error_of(Refusal(400, "22P02", "a\nb " + "c" * 900), ACCESS, TRADES, "read"))
    assert "\n" not in said
    assert len(said) < 500


REQUEST = httpx.Request("GET", "https://a.supabase.co", headers={"apikey": "the-secret-key"})


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (
            httpx.ConnectError("[Errno 111] refused", request=REQUEST),
            TransportError,
            "cannot be reached to read x: [Errno 111]",
        ),
        (httpx.ConnectTimeout("", request=REQUEST), TransportError, "no connection in time"),
        (httpx.PoolTimeout("", request=REQUEST), TransportError, "cannot be reached"),
        (httpx.ReadTimeout("", request=REQUEST), TransportError, "did not answer in time to read x"),
        (httpx.RemoteProtocolError("x", request=REQUEST), TransportError, "RemoteProtocolError"),
        (httpx.ReadError("x", request=REQUEST), TransportError, "ended before the answer"),
        (httpx.LocalProtocolError("Illegal header value b'the-secret-key'"), StoreError, "stray characters"),
        (httpx.UnsupportedProtocol("the-secret-key"), StoreError, "SUPABASE_URL"),
    ],
)
def test_no_answer_is_unknown_and_what_cannot_be_sent_is_refused(failure, kind, words):
    error = error_of_failure(failure, "read x")
    assert type(error) is kind
    assert words in str(error)
    assert "secret" not in str(error)


def test_a_missing_column_and_an_emptied_table_name_the_projects_own_table():
    assert "app.positions lacks column price" in str(lacks(ACCESS, TRADES, "price"))
    assert "SUPABASE_TRADES_TABLE" in str(lacks(ACCESS, TRADES, "price"))
    assert "app.positions" in str(emptied(ACCESS, TRADES))


def test_of_several_errors_the_worst_is_raised():
    passing, refused, odd = TransportError("a"), StoreError("b"), KeyError("c")
    assert worst_of([passing, refused, odd]) is odd
    assert worst_of([passing, refused]) is refused
    assert worst_of([passing]) is passing
    assert worst_of([]) is None
