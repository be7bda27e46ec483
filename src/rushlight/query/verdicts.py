"""Is a shop's tracking right? What its last events say, as a list of checks, each with what would put it right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from difflib import SequenceMatcher
from typing import Any, Literal

import msgspec

from rushlight.events import catalogue
from rushlight.events.event import Event
from rushlight.store.rejected import NOBODY, Sample

Verdict = Literal["good", "look", "bad", "idle"]
STEPS = ("view_item", "add_to_cart", "begin_checkout", "add_payment_info", "purchase")
LATE = timedelta(minutes=10)
NEAR = 0.82
MANY_OF_ONE = 20
SHOWN = 3
IMPORTED = "import"
BROWSER = "web"
_CLASSES = [each for each in vars(catalogue).values() if isinstance(each, type) and issubclass(each, Event)]
CATALOGUE = {str(each.event_name): each for each in _CLASSES if getattr(each, "event_name", None)}
WITH_ITEMS = frozenset(name for name, each in CATALOGUE.items() if "items" in each.__struct_fields__)
_SAME_WORDS = {"product": "item", "products": "item", "viewed": "view", "added": "add", "removed": "remove"} | {
    "started": "begin", "start": "begin", "clicked": "select", "selected": "select", "basket": "cart", "bag": "cart",
    "completed": "complete", "placed": "complete", "searched": "search", "registered": "signup", "initiated": "begin",
}  # fmt: skip
_OTHER_NAMES = {"order complete": "purchase", "checkout complete": "purchase", "add payment": "add_payment_info"}


class Seen(msgspec.Struct, kw_only=True, gc=False):
    """One event of the journal, as far as the checks look at it.

    Attributes:
        items, currency, transaction_id: of its payload. context: as stored.
    """

    name: str
    aggregate_id: str
    visitor_id: str | None
    source: str
    occurred_at: datetime
    received_at: datetime
    items: Sequence[Any] | None = None
    transaction_id: str | None = None
    context: dict[str, Any] = msgspec.field(default_factory=dict)


class Check(msgspec.Struct, frozen=True):
    """One question about the tracking, answered.

    Attributes:
        verdict: ``look`` is worth a look, ``idle`` cannot be told yet. detail: what was seen, and what to do.
    """

    id: str
    title: str
    verdict: Verdict
    detail: str


def judge(seen: Sequence[Seen], repeats: int, turned_away: Sequence[Sample], source: str) -> list[Check]:
    """Every check, the worst first.

    Args:
        seen: the last events that were taken. repeats: how many came again. turned_away: the last ones that were not.
        source: the shop's source of record.
    """
    calm: Verdict = "good" if seen or turned_away else "idle"
    checks = [
        _arriving(seen),
        _keys(turned_away, calm),
        _turned_away(turned_away, calm),
        _money_under_public_key(turned_away, calm),
        _orders(seen, source),
        _names(seen),
        _steps(seen),
        _products(seen),
        _prices(seen),
        _visitors(seen),
        _repeats(seen, repeats),
        _clocks(seen),
        _machines(seen),
    ]
    order: list[Verdict] = ["bad", "look", "good", "idle"]
    return sorted(checks, key=lambda check: order.index(check.verdict))


def _arriving(seen: Sequence[Seen]) -> Check:
    right, wrong = "Events arrive", "No event arrives"
    if not seen:
        detail = "Nothing was taken in the last half hour. Load a page that sends something."
        return Check("arriving", wrong, "look", detail)
    ways = Counter(each.context.get("dialect") or each.source for each in seen)
    return Check("arriving", right, "good", f"By {_listed(ways)}.")


def _keys(turned_away: Sequence[Sample], calm: Verdict) -> Check:
    right, wrong = "The write key is known", "A write key is missing or wrong"
    strange = [sample for sample in turned_away if sample.shop == NOBODY and sample.code == "key"]
    if not strange:
        return Check("keys", right, calm, "No request came with a key that is not known.")
    keys = ", ".join(sorted({sample.key for sample in strange if sample.key})[:SHOWN])
    said = f"It began with {keys}" if keys else "It was missing, or no key of Rushlight's (pk_… or sk_…)"
    detail = f"A request came without a valid key. {said}. See: rushlight keys list."
    return Check("keys", wrong, "bad", detail)


def _turned_away(turned_away: Sequence[Sample], calm: Verdict) -> Check:
    right, wrong = "Nothing is turned away", "Events are turned away"
    ours = [sample for sample in turned_away if sample.shop != NOBODY and sample.code != "money_needs_secret_key"]
    if not ours:
        return Check("rejected", right, calm, "Nothing was refused in the last half hour.")
    kinds = Counter(f"{sample.field}: {sample.reason}".removeprefix(": ") for sample in ours)
    told = "; ".join(kind for kind, _ in kinds.most_common(SHOWN))
    return Check("rejected", wrong, "bad", f"{told}. The events themselves are in the list.")


def _money_under_public_key(turned_away: Sequence[Sample], calm: Verdict) -> Check:
    right, wrong = "Only servers report money", "A page reports money"
    if not any(sample.code == "money_needs_secret_key" for sample in turned_away):
        return Check("public_money", right, calm, "No page tried to report an order's money with a public key.")
    detail = "A public key (pk_) tried to. Report orders from a server, with a secret key (sk_) that no page holds."
    return Check("public_money", wrong, "bad", detail)


def _orders(seen: Sequence[Seen], source: str) -> Check:
    right, wrong = "Purchases in browsers and orders agree", "Purchases in browsers and orders differ"
    orders = {each.aggregate_id for each in seen if each.name == "order_created"}
    bought = [each for each in seen if each.name == "purchase" and each.source == BROWSER]
    named = {each.transaction_id for each in bought if each.transaction_id}
    if not orders and not bought:
        return Check("orders", right, "idle", "Neither an order nor a browser's purchase in the last half hour.")
    if not orders:
        detail = f"{_n(len(bought), 'purchase')} by browsers, but no order: revenue needs a server with a secret key."
        return Check("orders", "No order arrives", "bad", detail)
    sources = Counter(each.source for each in seen if each.name == "order_created")
    if source not in sources:
        setting = f"{source}: in rushlight.toml, the shop's source_of_record says whose orders count"
        detail = f"They come from {_listed(sources)}, but revenue counts {setting}."
        return Check("orders", "Orders come from a source that does not count", "bad", detail)
    counts = f"{_n(len(orders), 'order')}, {_n(len(bought), 'purchase')} by browsers"
    if not all(each.transaction_id for each in bought):
        detail = f"{counts}; some of these do not say which order (transactionId)."
        return Check("orders", wrong, "look", detail)
    if unknown := named - orders:
        detail = f"{counts}; {len(unknown)} of these name no order of the last half hour."
        return Check("orders", wrong, "look", detail)
    if bought and len(named) < len(orders) / 2:
        detail = f"{counts}: is the purchase page's snippet there?"
        return Check("orders", wrong, "look", detail)
    return Check("orders", right, "good", f"{counts}.")


def _names(seen: Sequence[Seen]) -> Check:
    right, wrong = "Event names are the ones that are counted", "An event name is one that no figure counts"
    own = Counter((each.name, each.context.get("original") or each.name) for each in seen if each.name not in CATALOGUE)
    meant = [(said, n, near) for (name, said), n in own.most_common() if (near := nearest(name)) is not None]
    if meant:
        told = "; ".join(f"“{said}” ({n}): is {near} meant?" for said, n, near in meant[:SHOWN])
        detail = f"{told} As it is, it is kept as an event of your own and in no figure."
        return Check("names", wrong, "bad", detail)
    if own:
        return Check(
            "names",
            right,
            "good",
            f"Events of your own are kept: {_listed(Counter({said: n for (_, said), n in own.items()}))}.",
        )
    return Check(
        "names", right, "good" if seen else "idle", "All are names of the catalogue." if seen else "No event yet."
    )


def _steps(seen: Sequence[Seen]) -> Check:
    right, wrong = "Every step to a purchase is reported", "Not every step to a purchase was seen"
    names = {each.name for each in seen}
    here, missing = [step for step in STEPS if step in names], [step for step in STEPS if step not in names]
    if not here:
        return Check("steps", right, "idle", "No step of the funnel in the last half hour.")
    if not missing:
        return Check("steps", right, "good", f"{', '.join(STEPS)}.")
    detail = f"Seen: {', '.join(here)}. Not in the last half hour: {', '.join(missing)}. Walk through a purchase."
    return Check("steps", wrong, "look", detail)


def _products(seen: Sequence[Seen]) -> Check:
    right, wrong = "Events name their products", "Events do not name their products"
    about = [each for each in seen if each.name in WITH_ITEMS and each.source != IMPORTED]
    without = Counter(each.name for each in about if not each.items)
    if not about:
        return Check("products", right, "idle", "No event about products in the last half hour.")
    missing = sum(without.values())
    if not missing:
        return Check("products", right, "good", f"All {len(about)} do.")
    detail = f"{missing} of {len(about)} have no items: {_listed(without)}. Each item needs an id (productId, item_id)."
    return Check("products", wrong, "bad" if missing * 5 >= len(about) else "look", detail)


def _prices(seen: Sequence[Seen]) -> Check:
    right, wrong = "Prices come with a currency", "Products come without a price"
    items = [item for each in seen if each.name in WITH_ITEMS for item in each.items or () if isinstance(item, dict)]
    if not items:
        return Check("prices", right, "idle", "No product in the last half hour.")
    without = len([item for item in items if item.get("price") is None])
    if not without:
        return Check("prices", right, "good", f"All {len(items)} products have both.")
    detail = f"{without} of {len(items)} products have no price, or one without a currency, which is not kept."
    return Check("prices", wrong, "look", detail)


def _visitors(seen: Sequence[Seen]) -> Check:
    right, wrong = "Visitors are told apart", "All events are of one visitor"
    visitors = Counter(each.visitor_id for each in seen if each.visitor_id)
    if not visitors:
        return Check("visitors", right, "idle", "No event with a visitor in the last half hour.")
    (first, most), total = visitors.most_common(1)[0], visitors.total()
    if total >= MANY_OF_ONE and most == total:
        detail = f"All {total} events are of one visitor, {first}. Is the id written into the page for everybody?"
        return Check("visitors", wrong, "look", detail)
    return Check("visitors", right, "good", f"{_n(len(visitors), 'visitor')} in {_n(total, 'event')}.")


def _repeats(seen: Sequence[Seen], repeats: int) -> Check:
    right, wrong = "A repeat can be told from a new event", "Repeats cannot be told from new events"
    nameless = len([each for each in seen if each.context.get("noId")])
    told = f"{_n(repeats, 'repeat')} came and counted once." if repeats else "No repeat came."
    if nameless:
        some = f"{nameless} of {len(seen)} events have no id of their own (messageId, event_id)"
        detail = f"{some}: sent again, they count again."
        return Check("ids", wrong, "look", detail)
    return Check("ids", right, "good" if seen else "idle", told)


def _clocks(seen: Sequence[Seen]) -> Check:
    right, wrong = "Clocks are right", "Events come late"
    # History that is imported, whatever source it is written as, has no dialect, and is late by its nature.
    fresh = [each for each in seen if each.context.get("dialect")]
    late = [each.received_at - each.occurred_at for each in fresh if each.received_at - each.occurred_at > LATE]
    if not fresh:
        return Check("clocks", right, "idle", "No event yet.")
    if len(late) * 10 <= len(fresh):
        return Check("clocks", right, "good", "Events say that they happened just before they came.")
    detail = f"{len(late)} of {len(fresh)} say that they happened long before they came, up to {_span(max(late))}."
    return Check("clocks", wrong, "look", f"{detail} A clock is off, or they waited.")


def _machines(seen: Sequence[Seen]) -> Check:
    right, wrong = "People, not machines or tests", "Most events are by machines or tests"
    if not seen:
        return Check("machines", right, "idle", "No event yet.")
    bots, tests = (len([each for each in seen if each.context.get(name)]) for name in ("bot", "test"))
    if not bots and not tests:
        return Check("machines", right, "good", "No event is a bot's or a test's.")
    detail = f"{bots} of {len(seen)} by bots, {tests} as tests: counted, and in no other figure."
    if (bots + tests) * 2 > len(seen):
        return Check("machines", wrong, "look", detail)
    return Check("machines", right, "good", detail)


def nearest(name: str) -> str | None:
    """The catalogue's name that an event's own name is likely meant to be, if there is one."""
    words = _words(name)
    if words in _OTHER_NAMES:
        return _OTHER_NAMES[words]
    if len(words) < 4:
        return None
    run = name.casefold().replace("_", "").replace("-", "")
    near = [(max(_likeness(words, of), _likeness(run, known.replace("_", ""))), known) for known, of in _KNOWN.items()]
    ratio, known = max(near)
    return known if ratio >= NEAR else None


def _likeness(left: str, right: str) -> float:
    return SequenceMatcher(None, left, right).ratio()


def _words(name: str) -> str:
    words = [_SAME_WORDS.get(word, word) for word in name.casefold().replace("-", "_").split("_") if word]
    return " ".join(sorted(words)) if len(words) > 1 and words != ["order", "complete"] else " ".join(words)


_KNOWN = {name: _words(name) for name in CATALOGUE}


def _listed(counts: Counter[Any]) -> str:
    shown = ", ".join(f"{name} ({n})" for name, n in counts.most_common(SHOWN))
    return f"{shown} and {len(counts) - SHOWN} more" if len(counts) > SHOWN else shown


def _n(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _span(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"
