"""Texts fit to be shown and stored: without user names and passwords."""

import re
from urllib.parse import urlsplit, urlunsplit


def without_credentials(uri: str) -> str:
    """`uri` without user name, password and query, fit to be stored."""
    parts = urlsplit(scrub(uri))  # whose host is none of a password's parts
    if not parts.netloc:
        return uri
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def scrub(text: str) -> str:
    """`text` with user names and passwords taken out of the addresses in it; MLflow's errors quote them. A password may
    contain / and @, or follow a ?."""
    without = re.sub(r"://[^\s'\"]+@", "://", text)
    return re.sub(r"([?&](?:user|password|token)=)[^\s&'\"]+", r"\1...", without)
