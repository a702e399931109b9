"""Texts fit to be shown and stored: without user names, passwords and tokens.

An address that stands alone is taken apart. In other text the end of a password is a guess, since it may hold any
character: in doubt too much is cut.
"""

import re

SECRET = (
    "password|passwd|passphrase|pwd|secret|token|credentials?|signature|(?:api|access|account|private|secret)[_-]?key"
)
"""Ends of the names that hold a secret: sslpassword, MLFLOW_TRACKING_TOKEN, api_key."""

NAME = rf"(?:user|username|(?:[\w.-]*[_.-])?(?:pass|sig)|[\w.-]*(?:{SECRET}))"

QUOTED = r"'(?:[^'\\\n]|\\.|'')*'|\"(?:[^\"\\\n]|\\.|\"\")*\""

END = r"""(?=[\s;&,]+[\w.-]+\s*=|['"](?:[\s,;:)\]}>]|$)|$)"""
"""Of a value without quotes: the next name, the quote around all of it, the end of the line."""

PAIR = re.compile(rf"(?<![\w.-])({NAME}\s*=(?!=)\s*)(?:{QUOTED}|[^\n]*?{END})", re.IGNORECASE | re.MULTILINE)
ITEM = re.compile(rf"((['\"]){NAME}\2\s*:\s*|\bauthorization['\"]?\s*:\s*)(?:{QUOTED}|[^,}}\]\n]+)", re.IGNORECASE)
USERINFO = re.compile(r"://(?:[^\s/?#@:]*:(?:(?![\s'\"<(\[][\w+.-]+://)[^\n])*@|[^\s/?#]*@)")
"""Of an address in a text: up to the last @ before the next address."""

IN_CODE = re.compile(rf"((?:(?<![\w.-])[A-Z][A-Z\d_]*(?:{SECRET.upper()})|[?&](?i:{NAME}))=)[^\s&'\"]+")
"""A variable of the environment, or a name in an address: code has many names that end as secrets do."""


def without_credentials(uri: str) -> str:
    """`uri` without user name, password, query and fragment, fit to be stored. A path stays as it is."""
    scheme, mark, rest = uri.partition("://")
    if not mark:
        return scrub(uri)
    return f"{scheme}://{re.split('[?#]', _without_userinfo(rest), maxsplit=1)[0]}"


def holds_password(uri: str) -> bool:
    """Whether an address has a password in it; a user name alone is none."""
    _, _, rest = uri.partition("://")
    plain = _without_userinfo(rest)
    userinfo = rest.removesuffix(plain)
    without_users = re.sub(r"([?&])user(name)?=[^&#]*", r"\1", plain, flags=re.IGNORECASE)
    return userinfo.rstrip("@").partition(":")[2] != "" or PAIR.search(without_users) is not None


def _without_userinfo(rest: str) -> str:
    return re.sub(r"\A(?:[^/?#@:]*:.*|[^/?#]*)@", "", rest, flags=re.DOTALL)


def scrub(text: str) -> str:
    """`text` without user names and passwords of the addresses in it, and without the values of names that hold such:
    those of connection strings, of the environment, of dictionaries and headers. Errors quote them."""
    return ITEM.sub(r"\1...", PAIR.sub(r"\1...", USERINFO.sub("://", text)))


def scrub_code(text: str) -> str:
    """`scrub` for source code, which stays as it is but for addresses and variables of the environment."""
    return IN_CODE.sub(r"\1...", USERINFO.sub("://", text))
