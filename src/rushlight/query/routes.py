"""The routes of the query API: they parse, ask one view, and shape the answer."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Router, get, post
from litestar.di import NamedDependency
from litestar.exceptions import NotAuthorizedException, NotFoundException
from litestar.params import JSONBody, PathParameter, QueryParameter, SkipValidation

from rushlight.errors import Rejected
from rushlight.projections.registry import BUILT_IN
from rushlight.query import notices as board
from rushlight.query.answers import (
    CustomerAnswer,
    EventsAnswer,
    FunnelAnswer,
    LedgerAnswer,
    NoticesAnswer,
    ParkedAnswer,
    ProductsAnswer,
    ProjectionAnswer,
    SeriesAnswer,
    SessionsAnswer,
    SummaryAnswer,
)
from rushlight.query.customers import customer
from rushlight.query.figures import QUERY_SECONDS, Figures, within
from rushlight.query.funnel import funnel
from rushlight.query.notices import NewNotice, Notice
from rushlight.query.parked import parked
from rushlight.query.products import Sort, products
from rushlight.query.projections import page
from rushlight.query.sales import Step, check_step, series, summary, warnings
from rushlight.query.sessions import sessions, tests
from rushlight.query.span import Span, parse_span, require_quarters
from rushlight.query.trail import trail
from rushlight.query.view import View
from rushlight.query.zones import zone
from rushlight.settings import DEFAULT_SHOP, SHOP_ID
from rushlight.store.clock import server_time

PRODUCTS_SECONDS = 60.0
MAX_PRODUCTS = 100_000
MAX_OFFSET = 100_000
MAX_EVENTS = 500
MAX_NAME_CHARACTERS = 256
SHOWN_NOTICES = 50
MAX_KEY_CHARACTERS = 1024
MAX_DOCUMENTS = 1000
BEARER = "bearer "

Reader = NamedDependency[SkipValidation[Figures]]
From = Annotated[
    str | None,
    QueryParameter(
        name="from",
        description="Begin, inclusive: ISO 8601 with offset, on a whole minute. Default: the shop's local midnight.",
    ),
]
To = Annotated[
    str | None,
    QueryParameter(name="to", description="End, exclusive: as `from`. Default: the local midnight that follows."),
]
ShopId = Annotated[str, QueryParameter(name="shop", max_length=63, description="The shop. Default: `default`.")]


def shop_id(shop: str) -> str:
    """A shop's id as it was asked for.

    Raises:
        Rejected: it is malformed.
    """
    if not SHOP_ID.match(shop):
        raise Rejected("must be lower-case letters, digits and hyphens, at most 63", field="shop")
    return shop


async def _span(figures: Figures, shop: str, start: str | None, end: str | None) -> Span:
    local = zone(figures.settings.shop(shop_id(shop)).time_zone)
    with within(QUERY_SECONDS):
        present = await server_time(figures.database)
    return parse_span(start or None, end or None, local=local, present=present)


@get("/summary", summary="Sales of a range, by currency")
async def get_summary(
    figures: Reader, start: From = None, end: To = None, shop: ShopId = DEFAULT_SHOP
) -> SummaryAnswer:
    """Orders, units and amounts of the shop's source of record. `net = gross - discounts - refunds`; tax and shipping
    stand apart; `aov = (gross - discounts) / orders`. Cancelled orders count nowhere.
    """
    span = await _span(figures, shop, start, end)

    async def query(view: View) -> SummaryAnswer:
        return SummaryAnswer(
            complete_to=view.complete_to,
            start=span.start,
            end=span.end,
            currencies=await summary(view, span),
            tests=await tests(view, span),
            warnings=await warnings(view, span),
        )

    return await figures.read(shop, query)


@get("/series", summary="Sales of a range, step by step")
async def get_series(
    figures: Reader,
    step: Annotated[Step, QueryParameter(name="step", description="Length of a step, cut at local boundaries.")],
    start: From = None,
    end: To = None,
    shop: ShopId = DEFAULT_SHOP,
    time_zone: Annotated[
        str | None,
        QueryParameter(name="timeZone", description="IANA time zone that cuts hours and days. Default: the shop's."),
    ] = None,
) -> SeriesAnswer:
    """The counters of `summary` for every minute, hour or day that has any."""
    span = await _span(figures, shop, start, end)
    check_step(span, step)
    local = zone(time_zone or figures.settings.shop(shop).time_zone)

    async def query(view: View) -> SeriesAnswer:
        return SeriesAnswer(
            complete_to=view.complete_to,
            start=span.start,
            end=span.end,
            step=step,
            time_zone=local.key,
            currencies=await series(view, span, step, local),
            warnings=await warnings(view, span),
        )

    return await figures.read(shop, query)


@get("/products", summary="What each product did in a range")
async def get_products(
    figures: Reader,
    start: From = None,
    end: To = None,
    shop: ShopId = DEFAULT_SHOP,
    sort: Annotated[
        Sort,
        QueryParameter(name="sort", description="`revenue` is net in the currency of most orders of the range."),
    ] = "revenue",
    limit: Annotated[int, QueryParameter(name="limit", ge=1, le=MAX_PRODUCTS)] = 50,
    offset: Annotated[int, QueryParameter(name="offset", ge=0, le=MAX_OFFSET)] = 0,
) -> ProductsAnswer:
    """Views, additions to carts and sales by product, the greatest first. The range is in whole quarter-hours."""
    span = require_quarters(await _span(figures, shop, start, end))

    async def query(view: View) -> ProductsAnswer:
        page = await products(view, span, sort=sort, limit=limit, offset=offset)
        return ProductsAnswer(
            complete_to=view.complete_to, start=span.start, end=span.end, total=page.total, products=page.products
        )

    return await figures.read(shop, query, seconds=PRODUCTS_SECONDS, lane="long")


@get("/customers/{customer_id:path}", summary="One customer's lifetime value")
async def get_customer(
    figures: Reader,
    customer_id: Annotated[str, PathParameter(description="The customer's id.")],
    shop: ShopId = DEFAULT_SHOP,
) -> CustomerAnswer:
    """Historic lifetime value: `net` of all the customer's orders, by currency; and the visitors that the customer
    was seen as. 404 when nothing is known of them. What names a person is in no answer: see `rushlight export`.
    """
    shop_id(shop)
    wanted = str(customer_id).removeprefix("/")
    if not 0 < len(wanted) <= MAX_NAME_CHARACTERS:
        raise Rejected(f"must have 1 to {MAX_NAME_CHARACTERS} characters", field="customer_id")

    async def query(view: View) -> CustomerAnswer:
        found = await customer(view, wanted)
        if found is None:
            raise NotFoundException("nothing of this customer is known")
        return CustomerAnswer(
            complete_to=view.complete_to,
            customer_id=wanted,
            also=found.also,
            visitors=found.visitors,
            first_seen=found.first_seen,
            first_order_at=found.first_order_at,
            last_order_at=found.last_order_at,
            currencies=found.currencies,
        )

    return await figures.read(shop, query)


@get("/funnel", summary="How far visitors come")
async def get_funnel(figures: Reader, start: From = None, end: To = None, shop: ShopId = DEFAULT_SHOP) -> FunnelAnswer:
    """Sessions that began in the range (in whole quarter-hours) and reached each step or a later one."""
    span = require_quarters(await _span(figures, shop, start, end))

    async def query(view: View) -> FunnelAnswer:
        return FunnelAnswer(
            complete_to=view.complete_to, start=span.start, end=span.end, steps=await funnel(view, span)
        )

    return await figures.read(shop, query)


@get("/sessions", summary="Where visitors come from, and on what")
async def get_sessions(
    figures: Reader, start: From = None, end: To = None, shop: ShopId = DEFAULT_SHOP
) -> SessionsAnswer:
    """Sessions that began in the range (in whole quarter-hours), by channel, device and campaign source. `leftOut`
    counts what is in no figure: bots, tests, and visitors who did not agree to be measured.
    """
    span = require_quarters(await _span(figures, shop, start, end))

    async def query(view: View) -> SessionsAnswer:
        found = await sessions(view, span)
        return SessionsAnswer(complete_to=view.complete_to, start=span.start, end=span.end, **found._asdict())

    return await figures.read(shop, query)


@get("/projections/{name:str}", summary="Figures of a projection of your own")
async def get_projection(
    figures: Reader,
    name: Annotated[str, PathParameter(description="The projection's name.", max_length=MAX_NAME_CHARACTERS)],
    shop: ShopId = DEFAULT_SHOP,
    prefix: Annotated[
        str, QueryParameter(name="prefix", max_length=MAX_KEY_CHARACTERS, description="What keys begin with.")
    ] = "",
    after: Annotated[
        str, QueryParameter(name="after", max_length=MAX_KEY_CHARACTERS, description="`next` of the page before.")
    ] = "",
    limit: Annotated[int, QueryParameter(name="limit", ge=1, le=MAX_DOCUMENTS)] = 100,
) -> ProjectionAnswer:
    """Documents by key (without the shop), those of all partitions merged by the projection itself, in one snapshot of
    one generation. 503 while its first figures are being built. Rushlight's own projections have routes of their own.
    """
    projection = figures.projections.get(name)
    if projection is None or type(projection) in BUILT_IN:
        raise NotFoundException(f"no module of the setting modules declares a projection {name!r}")

    async def query(view: View) -> ProjectionAnswer:
        found = await page(view, projection, prefix=prefix, after=after, limit=limit)
        return ProjectionAnswer(
            complete_to=found.complete_to,
            projection=name,
            generation=found.generation,
            documents=msgspec.to_builtins(found.documents, enc_hook=_plain),
            next=found.next,
        )

    return await figures.read(shop_id(shop), query)


def _plain(value: Any) -> Any:
    """What JSON has no form for: BSON's own kinds of numbers, and the rest as text."""
    return int(value) if isinstance(value, int) else str(value)


@get("/ledger", summary="Does every acknowledged event have its place?")
async def get_ledger(figures: Reader) -> LedgerAnswer:
    """`acknowledged = stored + duplicate + parked + dropped + pending`, each counted by itself, for every source of
    all shops. While events flow the answer may take some seconds: until what was read can be compared.
    """
    with within(QUERY_SECONDS):
        complete_to = await figures.freshness.read()
    ledger = await figures.read_ledger(wait=True)
    return LedgerAnswer(
        complete_to=complete_to,
        balanced=ledger.balanced,
        as_of=ledger.as_of,
        total=ledger.total,
        sources=ledger.sources,
        unreachable=ledger.unreachable,
        rejected_by=ledger.rejected_by,
    )


@get("/events", summary="The audit trail")
async def get_events(
    figures: Reader,
    shop: ShopId = DEFAULT_SHOP,
    aggregate: Annotated[
        str | None,
        QueryParameter(name="aggregate", max_length=MAX_NAME_CHARACTERS, description="Order id, or visitor id."),
    ] = None,
    name: Annotated[str | None, QueryParameter(name="name", max_length=MAX_NAME_CHARACTERS)] = None,
    after: Annotated[str | None, QueryParameter(name="after", description="Cursor of the page before.")] = None,
    limit: Annotated[int, QueryParameter(name="limit", ge=1, le=MAX_EVENTS)] = 100,
) -> EventsAnswer:
    """Journal events from the oldest on; each aggregate's in order. Follow `next` until it is null; ask again later
    with `cursor`. Amounts in payloads are integer minor units.
    """

    async def query(view: View) -> EventsAnswer:
        page = await trail(view, aggregate=aggregate or None, name=name or None, after=after or None, limit=limit)
        return EventsAnswer(
            complete_to=view.complete_to,
            events=page.events,
            next=page.cursor if page.more else None,
            cursor=page.cursor,
        )

    return await figures.read(shop_id(shop), query)


@get("/parked", summary="What was set aside, and why")
async def get_parked(
    figures: Reader,
    shop: ShopId = DEFAULT_SHOP,
    aggregate: Annotated[
        str | None,
        QueryParameter(name="aggregate", max_length=MAX_NAME_CHARACTERS, description="Order id, or visitor id."),
    ] = None,
    limit: Annotated[int, QueryParameter(name="limit", ge=1, le=MAX_EVENTS)] = 100,
) -> ParkedAnswer:
    """Aggregates whose events could not be processed, the oldest first, and what could not be read at all. With
    `aggregate` also its events, in the order in which `rushlight parked retry` takes them.
    """

    async def query(view: View) -> ParkedAnswer:
        wanted = aggregate or None
        found = await parked(view.database, shop, aggregate=wanted, limit=limit, session=view.session)
        return ParkedAnswer(complete_to=view.complete_to, **msgspec.structs.asdict(found))

    return await figures.read(shop_id(shop), query, lane="long")


@get("/notices", summary="The newest lines of the board")
async def get_notices(figures: Reader, shop: ShopId = DEFAULT_SHOP) -> NoticesAnswer:
    """Newest first."""

    async def query(view: View) -> NoticesAnswer:
        lines = await board.latest(view.database, shop, SHOWN_NOTICES, view.session)
        return NoticesAnswer(complete_to=view.complete_to, notices=lines)

    return await figures.read(shop_id(shop), query)


@post("/notices", summary="Put a line on the board")
async def post_notice(figures: Reader, request: Request[Any, Any, Any], data: JSONBody[NewNotice]) -> Notice:
    """Needs a secret key: `Authorization: Bearer sk_…`; the line goes to that key's shop."""
    scheme = request.headers.get("authorization", "")
    key = scheme[len(BEARER) :].strip() if scheme.lower().startswith(BEARER) else ""
    with within(QUERY_SECONDS):
        shop = await board.shop_of_secret_key(figures.database, key) if key else None
        if shop is None:
            raise NotAuthorizedException(
                "a secret key is needed: Authorization: Bearer sk_…", headers={"www-authenticate": "Bearer"}
            )
        return await board.post(figures.database, shop, data)


ROUTES = Router(
    path="/api/v1",
    route_handlers=[
        get_summary,
        get_series,
        get_products,
        get_customer,
        get_funnel,
        get_sessions,
        get_projection,
        get_ledger,
        get_events,
        get_parked,
        get_notices,
        post_notice,
    ],
)
