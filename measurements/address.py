"""Address: the one place that a measurement talks to."""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from capacity.errors import InputError
from capacity.reading import printable

_LENGTH_MAX = 2000
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens, and what is asked of it.

    Attributes:
        target: path and query.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def path(self) -> str:
        """The target without its query, in which secrets are."""
        return self.target.partition("?")[0]

    @property
    def shown(self) -> str:
        """The address as it may be printed and kept: without its query.

        >>> parse_address("http://127.0.0.1:8000/predict?key=secret", "--url").shown
        'http://127.0.0.1:8000/predict'
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def is_here(self) -> bool:
        """Whether the server is on this machine: by number, since a name may lead anywhere."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str, flag: str) -> Address:
    """An address from text such as `http://127.0.0.1:8000/predict`.

    Raises:
        InputError: not http or https, no host, a port that is none, a name or password, a blank.

    >>> parse_address("http://127.0.0.1:8000/predict", "--url").port
    8000
    """
    shown = printable(text)[:80]
    if not (text.isascii() and text.isprintable() and " " not in text and len(text) <= _LENGTH_MAX):
        raise InputError(
            f"{flag} {shown!r} has a character that no address has, or is too long; escape it by %"
        )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InputError(f"{flag} {shown!r} is no address; write http://127.0.0.1:8000/predict") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise InputError(f"{flag} {shown!r} must begin with http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise InputError(f"{flag} must hold no user name or password")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(
        scheme=parts.scheme,
        host=parts.hostname,
        port=_PORTS[parts.scheme] if port is None else port,
        target=target,
    )
