"""How long to wait before trying again, and when it is worth it."""

from __future__ import annotations

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
MOST_TRIES = 300
# What a place refuses, or what cannot be drawn, because of what the post says: another state of it may be taken.
OF_CONTENT = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "invalid_attachments", "invalid_arguments", "no_text", "malformed"}
    | {"invalid_metadata_format", "invalid_metadata_schema", "unsupported_type", "missing_parameter"}
    | {"msg_too_long", "msg_blocks_too_long", "too_long", "too_many_attachments", "attachment_payload_limit_exceeded"}
    | {"metadata_too_large", "http_400", "http_413", "keyword_missing", "refused", "other", "render_failed"}
)


def pause_s(tries: int) -> float:
    """Seconds to wait after the `tries`-th failure in a row (from 1): 1, 2, 4 … up to 5 minutes."""
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(tries - 1, 20)))
