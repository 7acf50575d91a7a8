"""Tells bots from people, and the family of a browser, by a user agent, which is not stored."""

import re
from functools import cache, lru_cache
from typing import NamedTuple

from crawlerdetect.providers.crawlers import data as CRAWLERS  # noqa: N812 - a list that never changes
from crawlerdetect.providers.exclusions import data as EXCLUSIONS  # noqa: N812 - as above

# A server that posts events with an HTTP library is a client of the API, not a robot that reads pages.
_LIBRARY = re.compile(
    r"(curl|wget|python|aiohttp|httpx|okhttp|go-http-client|node|undici|axios|got|deno|bun|java|apache-httpclient|ruby|"
    r"faraday|php|guzzle|dart|postman|insomnia|httpie|powershell|dotnet|reqwest|hyper|k6|analytics-)",
    re.IGNORECASE,
)
_ESCAPED, _SPECIAL = re.compile(r"\\([^a-zA-Z0-9])"), re.compile(r"[\\.^$*+?{}\[\]|()]")
# The first that matches names the family: the agent of an earlier browser also contains the names of later ones.
_FAMILIES = (
    ("Edge", re.compile(r"\bEdg(e|A|iOS)?/")),
    ("Opera", re.compile(r"\bOPR/|\bOpera\b")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/")),
    ("Firefox", re.compile(r"\b(Firefox|FxiOS)/")),
    ("Chrome", re.compile(r"\b(Chrome|CriOS|Chromium)/")),
    ("Internet Explorer", re.compile(r"\bMSIE |\bTrident/")),
    ("Safari", re.compile(r"\bSafari/|\biPhone\b.*AppleWebKit|\biPad\b.*AppleWebKit")),
)


class Agent(NamedTuple):
    """What is known of the sender's user agent."""

    is_bot: bool
    browser: str | None
    """The family, e.g. "Firefox"; None if it is no browser that we know."""


@lru_cache(maxsize=1024)
def request_agent(user_agent: str) -> Agent:
    """The agent of an HTTP request itself. An HTTP library is a client there, not a bot."""
    is_bot = _LIBRARY.match(user_agent) is None and _is_crawler(user_agent.strip())
    return Agent(is_bot, browser_family(user_agent))


@lru_cache(maxsize=1024)
def visitor_agent(user_agent: str) -> Agent:
    """The agent of a visitor, as a batch names it. An HTTP library is a robot like any other there."""
    return Agent(_is_crawler(user_agent.strip()), browser_family(user_agent))


@lru_cache(maxsize=1024)
def browser_family(user_agent: str) -> str | None:
    """The browser's family, e.g. "Firefox"; None if it is no browser that we know."""
    return next((family for family, pattern in _FAMILIES if pattern.search(user_agent)), None)


def _is_crawler(user_agent: str) -> bool:
    """As CrawlerDetect().is_crawler(user_agent) says, whose one expression of all takes 20 ms to compile."""
    excluded, literals, others = _crawlers()
    agent = excluded.sub("", user_agent)
    lowered = agent.lower()
    return bool(agent) and (any(literal in lowered for literal in literals) or others.search(agent) is not None)


@cache
def _crawlers() -> tuple[re.Pattern[str], list[str], re.Pattern[str]]:
    """What is left out of an agent, the literal texts of crawlers, and the patterns of the others."""
    literals, others = [], []
    for pattern in CRAWLERS:
        literal = _ESCAPED.sub(r"\1", pattern)
        if _SPECIAL.search(_ESCAPED.sub("", pattern)) is None:
            literals.append(literal.lower())
        else:
            others.append(pattern)
    return _any_of(EXCLUSIONS), literals, _any_of(others)


def _any_of(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)
