"""Whether a machine did it: crawlers, monitors, link previews, browsers without a screen, by their user agent."""

from __future__ import annotations

import re
from functools import lru_cache

from rushlight.ingest.context.device import MAX_CHARACTERS, TooManyStrangers, examined

# Words that machines put into their names and people's browsers do not, or where somebody can complain about them.
_MACHINE = re.compile(
    r"bot(?:[/;,.)@+-]|\b(?! ?[a-z]?\d))|bots?\d*\.(?:html?|php|aspx?)|crawl|spider|slurp|scrap(?:e|y)|fetch|archive"
    r"|headless|phantomjs|puppeteer|playwright|selenium|webdriver|lighthouse|page ?speed|gtmetrix|pingdom|uptime"
    r"|monitor|health-?\s?check|statuscake|newrelic|datadog|synthetic|ptst/|dareboost|catchpoint|preview|externalhit"
    r"|embedly|oembed|validat|checker|verif|inspect|\bscan(?:ner)?\b|probe|\bfeed|\brss|https?://|\bwww\."
    r"|[\w.]@[a-z0-9-]+\.[a-z]{2}|facebookcatalog|facebookplatform|mediapartners|-google\b|googleimageproxy"
    r"|google[ -](?:favicon|web|site|page|search|structured|cloud|image)|googleweblight|ia_archiver|nutch|^whatsapp/"
    r"|analy[sz]er|site ?audit|ahrefs|semrush|flipboardproxy|jndi:",
    re.IGNORECASE,
)
# A telephone of this make is no robot.
_TELEPHONES = re.compile(r"cubot", re.IGNORECASE)
# Programs that fetch what they are told to: as a visitor's user agent no visitor's.
_SCRIPT = re.compile(
    r"(?:curl|wget|python|aiohttp|httpx|go-http-client|java/|apache-httpclient|axios|node-fetch|undici|node\b|got\b|libwww"
    r"|lwp|perl|php|guzzle|ruby|faraday|postman|insomnia|httpie|powershell|k6/|apachebench|jmeter|wrk)",
    re.IGNORECASE,
)


def is_script(user_agent: str) -> bool:
    """Whether it is a program's and no browser's: ``curl/8.5.0``."""
    return bool(_SCRIPT.match(user_agent))


def is_bot(user_agent: str | None, *, scripts: bool = False) -> bool:
    """Whether a user agent is a machine's; without one nothing is known.

    Args:
        scripts: whether programs such as curl count as machines too.
    """
    if not user_agent:
        return False
    try:
        return _is_bot(user_agent[:MAX_CHARACTERS], scripts)
    except TooManyStrangers:
        return False


@lru_cache(maxsize=8192)
def _is_bot(user_agent: str, scripts: bool) -> bool:
    if is_script(user_agent):
        return scripts
    return examined(user_agent).spider or bool(_MACHINE.search(_TELEPHONES.sub("", user_agent)))
