"""What the service says, by region."""

GREETINGS = {"en-GB": "Hello", "en-US": "Hi", "zh": "你好"}


def greet(language: str = "en") -> str:
    """A greeting; LookupError for a language without one."""
    return f"{GREETINGS[language]}!"


def is_well() -> bool:
    """Whether there is something to say."""
    return "en" in GREETINGS
