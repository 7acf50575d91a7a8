"""Detects bots and the browser family from a user agent. The user agent itself is not stored."""

import re
from functools import cache, lru_cache
from typing import NamedTuple

from crawlerdetect.providers.crawlers import data as CRAWLERS  # noqa: N812 - a constant list
from crawlerdetect.providers.exclusions import data as EXCLUSIONS  # noqa: N812 - as above

# A server that posts events with an HTTP library is a client of the API, not a bot.
_LIBRARY = re.compile(
    r"(curl|wget|python|aiohttp|httpx|okhttp|go-http-client|node|undici|axios|got|deno|bun|java|apache-httpclient|ruby|"
    r"faraday|php|guzzle|dart|postman|insomnia|httpie|powershell|dotnet|reqwest|hyper|k6|analytics-)",
    re.IGNORECASE,
)
_ESCAPED, _SPECIAL = re.compile(r"\\([^a-zA-Z0-9])"), re.compile(r"[\\.^$*+?{}\[\]|()]")
# The first match wins: Edge, for example, also contains the names Chrome and Safari.
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
    """The properties of a user agent."""

    is_bot: bool
    browser: str | None
    """The family, such as "Firefox"; None if unknown."""


@lru_cache(maxsize=1024)
def request_agent(user_agent: str) -> Agent:
    """The user agent of the HTTP request. An HTTP library is a client here, not a bot."""
    is_bot = _LIBRARY.match(user_agent) is None and _is_crawler(user_agent.strip())
    return Agent(is_bot, browser_family(user_agent))


@lru_cache(maxsize=1024)
def visitor_agent(user_agent: str) -> Agent:
    """The user agent of a visitor, as named in a batch. An HTTP library is a bot here."""
    return Agent(_is_crawler(user_agent.strip()), browser_family(user_agent))


@lru_cache(maxsize=1024)
def browser_family(user_agent: str) -> str | None:
    """The browser's family, such as "Firefox"; None if unknown."""
    return next((family for family, pattern in _FAMILIES if pattern.search(user_agent)), None)


def _is_crawler(user_agent: str) -> bool:
    """The same as CrawlerDetect().is_crawler(user_agent), without its regular expression (20 ms to compile)."""
    excluded, literals, others = _crawlers()
    agent = excluded.sub("", user_agent)
    lowered = agent.lower()
    return bool(agent) and (any(literal in lowered for literal in literals) or others.search(agent) is not None)


@cache
def _crawlers() -> tuple[re.Pattern[str], list[str], re.Pattern[str]]:
    """The parts of an agent to ignore, the crawlers that are plain strings, and the patterns of the others."""
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
