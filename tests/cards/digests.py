"""Digests as their presenter is given them: `digests()["typical"]` and so on."""

from __future__ import annotations

from bot.domain.builds import Build, BuildFacts, BuildStatus, Phase
from bot.domain.noise import Digest
from bot.domain.subjects import SubjectKey, SubjectKind
from tests.cards.cases import BUILD_URL, NASTY, STARTED

KEY = SubjectKey(SubjectKind.DIGEST, "storm", "slack:T024/C0G9QF9GZ", "1795233600000")
RUNNING, SUCCESS, FAILED = BuildStatus.RUNNING, BuildStatus.SUCCESS, BuildStatus.FAILED


def digests() -> dict[str, Digest]:
    """Every case by its name."""
    return {make.__name__: make() for make in (minimal, typical, longest, hostile, decided)}


def _build(
    project: str, number: int, status: BuildStatus, *, url: str | None = BUILD_URL, branch: str = "main"
) -> Build:
    facts = BuildFacts(status=status, branch=branch, started_at=STARTED, url=url)
    phase = Phase.RUNNING if status is RUNNING else Phase.FINISHED
    return Build(SubjectKey(SubjectKind.BUILD, "ci", project, str(number)), 1, phase, facts)


def minimal() -> Digest:
    """One build of which nothing is known but that it began."""
    build = Build(SubjectKey(SubjectKind.BUILD, "ci", "web", "1"), 1, Phase.RUNNING, BuildFacts())
    return Digest(KEY, {RUNNING: 1}, (build,))


def typical() -> Digest:
    """A nightly run of which some have ended."""
    shown = (
        _build("user-service", 12, FAILED),
        _build("billing", 7, FAILED, branch="release/2.4"),
        _build("web", 101, RUNNING),
        _build("search", 33, BuildStatus.CANCELLED),
        Build(SubjectKey(SubjectKind.BUILD, "ci", "mail", "5"), 1, Phase.FINISHED, BuildFacts(status=SUCCESS), True),
        _build("docs", 4, SUCCESS),
    )
    return Digest(KEY, {SUCCESS: 2, FAILED: 2, RUNNING: 1, BuildStatus.CANCELLED: 1}, shown)


def longest() -> Digest:
    """As many builds as a digest takes, with names and addresses as long as they get."""
    url = f"https://ci.example.com/{'path/' * 60}"
    shown = tuple(
        _build(f"project-{number}-{'名' * 60}", number, FAILED if number < 10 else RUNNING, url=url, branch="枝" * 200)
        for number in range(60)
    )
    counts = {FAILED: 10, RUNNING: 300, BuildStatus.UNKNOWN: 40, BuildStatus.CANCELLED: 50, SUCCESS: 100}
    return Digest(KEY, counts, shown)


def hostile() -> Digest:
    """Names from outside that try to be markup, mentions and links."""
    shown = (
        _build(NASTY, 1, FAILED, url="javascript:alert(1)", branch=NASTY),
        _build("用户 {name} <b>", 2, RUNNING, url="https://example.com/a)b [c]", branch="`x` <!channel>"),
    )
    return Digest(KEY, {FAILED: 1, RUNNING: 1}, shown)


def decided() -> Digest:
    """All have ended well: nothing more is expected."""
    return Digest(KEY, {SUCCESS: 55}, tuple(_build("web", number, SUCCESS) for number in range(55)))
