"""What is kept of URLs, titles and payloads."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushlight.ingest.context import pages
from rushlight.ingest.context.pages import Parts, clean, host_of, page_of, split
from rushlight.ingest.context.text import masked, short, without_emails


@pytest.mark.parametrize(
    ("url", "page"),
    [
        (None, None),
        ("", None),
        ("https://shop.example", "https://shop.example"),
        ("HTTPS://User:pw@WWW.Shop.Example:8443/A/b?x=1#frag", "https://www.shop.example:8443/A/b"),
        ("https://shop.example/?q=tea&utm_source=News L&utm_term=joe@x.example",
         "https://shop.example/?utm_source=News%20L&utm_term=:email"),
        ("https://shop.example/?gclid=abc", "https://shop.example/"),
        ("https://shop.example/u/joe@x.example/orders", "https://shop.example/u/:email/orders"),
        ("https://shop.example/u/joe%40x.example", "https://shop.example/u/:email"),
        ("https://shop.example/o/550e8400-e29b-41d4-a716-446655440000", "https://shop.example/o/:token"),
        ("https://shop.example/reset/a8Fk39dkQ02lsdfk3921x/ok", "https://shop.example/reset/:token/ok"),
        ("https://shop.example/s/eyJhbGciOi.eyJzdWIi.sig", "https://shop.example/s/:token"),
        ("https://shop.example/h/9f86d081884c7d659a2feaa0", "https://shop.example/h/:token"),
        ("https://shop.example/call/+4917112345678", "https://shop.example/call/:phone"),
        ("https://shop.example/call/0049 171 12345678", "https://shop.example/call/:phone"),
        ("https://shop.example/p/apple-iphone-15-pro-max-256gb", "https://shop.example/p/apple-iphone-15-pro-max-256gb"),
        ("https://shop.example/p/4006381333931", "https://shop.example/p/4006381333931"),
        ("https://shop.example/a;jsessionid=0A1B2C/b", "https://shop.example/a/b"),
        ("https://müller.example/straße", "https://xn--mller-kva.example/straße"),
        ("https://[2001:db8::1]:8000/x", "https://[2001:db8::1]:8000/x"),
        ("//cdn.example/x", "://cdn.example/x"),
        ("/relative/path?x#y", "/relative/path"),
        ("myapp://product/7?x", "myapp://product/7"),
        ("mailto:joe@x.example", None),
        ("javascript:alert(1)", None),
        ("https://[broken", None),
        ("https://shop.example:99999/", None),
        ("https://shop.example/" + "a" * 9000, None),
    ],
)  # fmt: skip
def test_pages(url: str | None, page: str | None) -> None:
    """Scheme, host and path stay, with UTM parameters; users, secrets, other parameters and fragments go."""
    assert page_of(url) == page


def test_payloads() -> None:
    """URL fields, by the names that senders give them, are stripped; everything else stays as it was."""
    payload = {
        "url": "https://shop.example/a?token=1",
        "referrer": "https://mail.example/inbox/joe@x.example",
        "title": "Hello joe@x.example",
        "search": "?email=joe@x.example",
        "page": {"path": "/u/joe@x.example", "search": "tea", "depth": 3},
        "Page_Location": "https://shop.example/?q=1",
        "linkUrl": "https://other.example/?sid=1",
        "items": [{"url": "kept"}],
        "href": 7,
    }
    before = dict(payload)
    assert clean(payload) == {
        "url": "https://shop.example/a",
        "referrer": "mail.example",
        "title": "Hello :email",
        "page": {"path": "/u/:email", "search": "tea", "depth": 3},
        "Page_Location": "https://shop.example/",
        "linkUrl": "https://other.example/",
        "items": [{"url": "kept"}],
        "href": 7,
    }
    assert payload == before
    plain = {"searchTerm": "tea"}
    assert clean(plain) is plain
    named = {"name": "Account of joe@x.example"}
    assert (clean(named), clean(named, of_page=True)) == (named, {"name": "Account of :email"})


def test_texts() -> None:
    """Addresses and telephone numbers are masked, prices and dates are not; texts are one line and of a length."""
    assert masked("ask joe.doe+x@mail.example.org or +49 (171) 123-4567") == "ask :email or :phone"
    assert masked("write to joe@mail.example.") == "write to :email."
    assert masked("0171-1234567") == ":phone"
    for plain in ("2026-11-24", "12.345,00 EUR", "4006381333931", "100 200 300", "a@b", "20% off"):
        assert masked(plain) == plain
    assert short("  a\nb\x00c  ") == "a b c"
    assert short("x" * 999) == "x" * 200
    assert [short(value) for value in ("", " ", None, 7, ["x"])] == [None] * 5


@given(st.text(max_size=120))
def test_nothing_breaks_it(text: str) -> None:
    """Any text is a page or none, and what is kept of a page is what is kept of it again."""
    for url in (text, f"https://{text}", f"https://shop.example/{text}"):
        page = page_of(url)
        assert page is None or "#" not in page
        host_of(url)
    clean({"url": text, "referrer": text, "title": text, "search": text})


def test_a_host_of_many_parts_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """To write a name in ASCII takes long where it has many parts: one that has more than names have is none."""
    asked: list[str] = []

    def in_ascii(host: str) -> str:
        asked.append(host)
        return "found"

    monkeypatch.setattr(pages, "_in_ascii", in_ascii)
    assert [host_of(f"https://{host}/") for host in ("ü." * 9 + "de", "ü" * 300, "ü." * 8 + "de")] == [
        None,
        None,
        "found",
    ]
    assert asked == ["ü." * 8 + "de"]


ADDRESS = re.compile(
    r"[^\s/?#&=;:,<>()\"']{1,64}(?:@|%40)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}", re.IGNORECASE
)
SIGNS = st.sampled_from(["a", "b.c", "@", "%40", "jane", "shop.example", ".", " ", "/", "?", "=", "é", "%", "de"])


@given(st.lists(SIGNS, max_size=5).map("".join))
def test_addresses_are_found_from_their_sign_on(text: str) -> None:
    """What a plain pattern finds from its first letter on, at a price that grows with the text's square."""
    assert without_emails(text) == ADDRESS.sub(":email", text)


def test_a_text_full_of_signs() -> None:
    """Thousands of signs that belong to no address are looked at once each."""
    for text in ("a@" * 500_000, "a%40" * 250_000, ("a" * 63 + "@") * 20_000):
        assert without_emails(text) is text
    assert without_emails("a@b.de@c.de,x@y.example " * 20_000) == ":email,:email " * 20_000


@given(st.from_regex(r"https?://[a-z0-9.-]{1,12}[/:@\[\]]?[ -~\t\n]{0,40}", fullmatch=True))
def test_usual_addresses_are_read_as_all_are(url: str) -> None:
    """What is read in one go has the parts that the standard library finds in it."""
    try:
        full = urlsplit(url.strip())
        parts = Parts(full.scheme, full.netloc, full.hostname, full.port, full.path, full.query)
    except ValueError:
        assert split(url) is None
    else:
        assert split(url) == parts
