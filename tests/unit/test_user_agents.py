"""Bots and browsers."""

import re

import pytest
from crawlerdetect import CrawlerDetect
from crawlerdetect.providers.crawlers import data as CRAWLERS  # noqa: N812 - a list that never changes

from muster.ingest.user_agents import browser_family, request_agent, visitor_agent

CHROME = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
EDGE = CHROME + " Edg/126.0.0.0"
SAFARI = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15"
)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
IPHONE_CHROME = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1 CriOS/126.0 Mobile/1 Safari/604.1"
)


@pytest.mark.parametrize(
    ("agent", "family"),
    [
        (CHROME, "Chrome"),
        (EDGE, "Edge"),
        (SAFARI, "Safari"),
        (FIREFOX, "Firefox"),
        (IPHONE_CHROME, "Chrome"),
        ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)", "Internet Explorer"),
        ("curl/8.5.0", None),
        ("", None),
    ],
)
def test_a_browser_has_a_family(agent: str, family: str | None) -> None:
    assert browser_family(agent) == family
    assert not request_agent(agent).is_bot


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    ],
)
def test_a_crawler_is_a_bot(agent: str) -> None:
    assert request_agent(agent).is_bot
    assert visitor_agent(agent).is_bot


def test_a_library_is_a_client_as_sender_and_a_bot_as_visitor() -> None:
    assert not request_agent("python-requests/2.32").is_bot
    assert visitor_agent("python-requests/2.32").is_bot


def test_crawlers_are_those_of_the_published_list() -> None:
    library = CrawlerDetect()
    literal = [re.sub(r"\\(.)|[\^$]", r"\1", pattern) for pattern in CRAWLERS]
    agents = [
        *literal,
        *(each.upper() for each in literal),
        *(f"{CHROME} {each}" for each in literal),
        *(each[:-1] for each in literal),
        *(each[::-1] for each in literal),
        *(CHROME[:length] for length in range(len(CHROME))),
        " ",
        "Safari/537.36",
    ]
    assert sum(map(library.is_crawler, agents)) > len(literal)
    differing = [agent for agent in agents if visitor_agent(agent).is_bot != library.is_crawler(agent)]
    assert differing == []
