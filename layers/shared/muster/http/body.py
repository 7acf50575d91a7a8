"""Decodes a request body into text. Size limits apply before memory is allocated."""

import base64
import binascii
import zlib
from typing import NamedTuple

from muster.platform.errors import Detail, InvalidJson, PayloadTooLarge, UnsupportedEncoding

MAX_SENT_BYTES = 1024 * 1024
MAX_INFLATED_BYTES = 4 * 1024 * 1024
CONTENT_TYPES = ("application/json", "text/plain", "application/x-www-form-urlencoded")
_GZIP = 16 + zlib.MAX_WBITS


class RawBody(NamedTuple):
    """The body of a request and the headers that describe it, as received from API Gateway."""

    content: str | None
    is_base64: bool = False
    content_type: str | None = None
    content_encoding: str | None = None
    content_length: str | None = None


def read_text(body: RawBody) -> str:
    """The body as text, decompressed if necessary.

    Raises:
        PayloadTooLarge: the body is over 1 MB as sent, or over 4 MB decompressed.
        UnsupportedEncoding: the content type or encoding is not supported.
        InvalidJson: the body is missing, not UTF-8, or not valid gzip although its header says gzip.
    """
    if not body.content:
        raise _unreadable("The request has no body. Send a JSON object.", "body_missing")
    # Base64 encodes three bytes as four characters.
    if len(body.content) > MAX_SENT_BYTES * (4 if body.is_base64 else 3) // 3 + 4:
        raise _too_large()
    _check_content_type(body.content_type)
    encoding = (body.content_encoding or "identity").strip().lower()
    is_ascii = encoding == "identity" and not body.is_base64 and body.content.isascii()
    if is_ascii and len(body.content) <= MAX_SENT_BYTES:
        # Each character is one byte.
        return body.content
    sent = _decoded(body.content) if body.is_base64 else body.content.encode("utf-8", "surrogatepass")
    if len(sent) > MAX_SENT_BYTES:
        raise _too_large()
    if "\ufffd" in body.content and body.content_length not in (None, str(len(sent))):
        # The body was not UTF-8, so API Gateway replaced some of its bytes.
        raise _unreadable("The body is not UTF-8. Send JSON in UTF-8.", "utf8_invalid")
    if encoding in ("gzip", "x-gzip"):
        sent = _inflated(sent)
    elif encoding != "identity":
        raise UnsupportedEncoding("This content-encoding is not supported. Send the body uncompressed or as gzip.")
    try:
        return sent.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(
            f"The body is not UTF-8 at byte {error.start}. Send JSON in UTF-8.", "utf8_invalid"
        ) from error


def _check_content_type(content_type: str | None) -> None:
    kind = (content_type or CONTENT_TYPES[0]).partition(";")[0].strip().lower()
    if kind not in CONTENT_TYPES and not kind.endswith("+json"):
        raise UnsupportedEncoding(f"This content-type is not supported. Send JSON as {', '.join(CONTENT_TYPES)}.")


def _decoded(body: str) -> bytes:
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise _unreadable("API Gateway marked the body as base64, but it is not.", "base64_invalid") from error


def _inflated(sent: bytes) -> bytes:
    inflated = bytearray()
    # A gzip stream may have several members.
    while sent:
        member = zlib.decompressobj(_GZIP)
        try:
            inflated += member.decompress(sent, MAX_INFLATED_BYTES - len(inflated) + 1)
        except zlib.error as error:
            raise _not_gzip() from error
        if len(inflated) > MAX_INFLATED_BYTES:
            raise PayloadTooLarge("The body is over 4 MB decompressed. Send the events in several batches.")
        if not member.eof:
            raise _not_gzip()
        sent = member.unused_data
    return bytes(inflated)


def _not_gzip() -> InvalidJson:
    return _unreadable("The content-encoding is gzip, but the body is not a complete gzip stream.", "gzip_invalid")


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge("The body is over 1 MB as sent. Send the events in several batches.")


def _unreadable(message: str, kind: str) -> InvalidJson:
    return InvalidJson(message, details=[Detail(loc=["body"], type=kind, message=message)])
