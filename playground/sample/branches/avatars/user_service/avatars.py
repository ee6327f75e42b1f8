"""Pictures of people. Unfinished: the size is checked, the format is not."""

LARGEST_BYTES = 64 * 1024
FORMATS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}


def accept_avatar(content: bytes) -> str:
    """Return the picture's format; ValueError for one that is too large."""
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"at most {LARGEST_BYTES} bytes, not {len(content)}")
    return FORMATS[content[:4]]
