"""Texts without passwords: whatever a password holds and wherever it stands, and nothing else is cut."""

import re
from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from darkaction.core.redact import holds_password, scrub, scrub_code, without_credentials

MARK = "PLANTED7"
ALWAYS = settings(derandomize=True, deadline=None, max_examples=60, database=None)

NAMES = ("password", "Password", "sslpassword", "access_token", "api_key", "apikey", "secret", "X-Amz-Signature", "pwd")


def around(mark: str, alphabet: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts of these characters with the mark somewhere in them."""
    return st.tuples(st.text(alphabet, max_size=8), st.text(alphabet, max_size=8)).map(mark.join)


anything = around(MARK, st.characters(codec="utf-8") | st.sampled_from(" @/:?#&=;'\"\\%"))
one_line = anything.filter(lambda text: "\n" not in text)
names = st.sampled_from(NAMES)


@ALWAYS
@given(anything, st.sampled_from(("", "?sslmode=require", "#part")))
def test_an_address_alone_is_shown_without_what_it_holds(password: str, end: str) -> None:
    encoded = quote(password, safe="")
    for given_as in (password, encoded):
        assert without_credentials(f"postgresql://me:{given_as}@host:5432/db{end}") == "postgresql://host:5432/db"
    assert without_credentials(f"https://{encoded}@host/base{end}") == "https://host/base"
    assert without_credentials(f"postgresql:///db?user=u&password={password}") == "postgresql:///db"
    assert holds_password(f"postgresql://me:{encoded}@host/db")
    assert holds_password(f"postgresql:///db?user=u&sslpassword={encoded}")


@ALWAYS
@given(one_line)
def test_a_password_in_front_of_a_host_is_cut_from_a_text(password: str) -> None:
    assume(not re.search(r"[\s'\"<(\[][\w+.-]+://", password))  # as another address begins
    text = f"no answer from 'postgresql://me:{password}@host:5432/db' (tried twice)"
    assert scrub(text) == "no answer from 'postgresql://host:5432/db' (tried twice)"
    token = f"git clone https://{quote(password, safe='')}@host/a.git failed"
    assert scrub(token) == scrub_code(token) == "git clone https://host/a.git failed"


@ALWAYS
@given(anything, names)
def test_a_password_in_a_query_is_cut_from_a_text(password: str, name: str) -> None:
    text = f"at postgresql:///db?user=u&{name}={quote(password, safe='')}&sslmode=require: no answer"
    shown = f"at postgresql:///db?user=...&{name}=...&sslmode=require: no answer"
    assert scrub(text) == shown
    assert scrub_code(text) == shown


@ALWAYS
@given(one_line, names)
def test_a_quoted_password_is_cut_from_a_connection_string(password: str, name: str) -> None:
    escaped = password.replace("\\", "\\\\").replace("'", "\\'")
    for equals in ("=", " = "):
        text = f"host=h {name}{equals}'{escaped}' dbname=d: no answer"
        assert scrub(text) == f"host=h {name}{equals}... dbname=d: no answer"
    assert scrub(f"in { ({'host': 'h', name: password, 'port': 1})!r}: wrong") == (
        f"in {{'host': 'h', '{name}': ..., 'port': 1}}: wrong"
    )


@ALWAYS
@given(
    around(MARK, st.characters(codec="utf-8", exclude_characters="\n=,;&'\"") | st.just(" ")).filter(
        lambda text: text == text.strip()
    ),
    names,
)
def test_a_password_with_spaces_is_cut_to_the_next_name(password: str, name: str) -> None:
    assert scrub(f"host=h {name}={password} port=1") == f"host=h {name}=... port=1"
    assert scrub(f"MLFLOW_TRACKING_TOKEN={password}\nnext") == "MLFLOW_TRACKING_TOKEN=...\nnext"
    assert MARK not in scrub(f"Server=h;{name}={password};Port=1, {name.upper()}={password}")
    encoded = quote(password, safe="")
    assert MARK not in scrub(f"{ {'Authorization': f'Basic {password}'}!r} and Authorization: Bearer {encoded}")


@ALWAYS
@given(st.text(st.characters(exclude_characters="@=") | st.sampled_from(" :/?#&'\"{}")))
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert scrub(text) == text
    assert scrub_code(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/me@work/mlflow.db",
        "https://host:5000/base?page=2#part",
        "write to me@host, or see https://host/@name",
        "bert.normalize=token focal.gamma=1.0",
        "num_tokens=5: unexpected token: '}'; wrong password for user",
        "if token == password: pass",
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert scrub(text) == text
    assert scrub_code(text) == text
    assert not holds_password(text)


def test_addresses() -> None:
    assert without_credentials("https://me:pw@host:5000/base?token=1") == "https://host:5000/base"
    assert without_credentials("sqlite:////data/me@work/mlflow.db") == "sqlite:////data/me@work/mlflow.db"
    assert without_credentials("runs/tune/studies.log") == "runs/tune/studies.log"
    assert without_credentials("host=h password=pw") == "host=h password=..."
    assert not holds_password("postgresql://me@host/db?user=me&sslmode=require")
    assert scrub("at postgresql://me:p/a@ss@host/db and x://a:b@host?user=me&password=pw&a=1") == (
        "at postgresql://host/db and x://host?user=...&password=...&a=1"
    )


def test_code_stays_as_it_is_but_for_addresses_and_variables() -> None:
    code = "+    run(token=study.token, api_key=None)  # as before\n+export DB_PASSWORD=pw\n+x = 'http://me:pw@host/'\n"
    assert scrub_code(code) == code.replace("DB_PASSWORD=pw", "DB_PASSWORD=...").replace("me:pw@", "")
