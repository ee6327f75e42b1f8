"""`python -m playground`: stand-ins for Slack and DingTalk with a web page, on one port."""

import argparse
import asyncio
import errno
import gc
import os
import signal
import sys

from playground.options import Options
from playground.server import Server

# It keeps what it is told. Looking through all of that for what could be let go, as Python does whenever there is a
# quarter more, takes a tenth of a second after 6,000 calls: one of them seems slow then, and the bot is blamed.
SELDOM = 10_000


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; 1 where it cannot start, with one line that says why."""
    options = _options(_parser().parse_args(arguments))
    gc.set_threshold(*gc.get_threshold()[:2], SELDOM)
    try:
        return asyncio.run(_serve(options))
    except OSError as problem:
        print(f"playground: {_obstacle(problem, options)}", file=sys.stderr)
    except ValueError as problem:
        print(f"playground: {problem}", file=sys.stderr)
    return 1


def _obstacle(problem: OSError, options: Options) -> str:
    words = os.strerror(problem.errno) if problem.errno and problem.errno > 0 else str(problem)
    if problem.filename is not None:
        return f"cannot read {problem.filename}: {words}"
    hint = "; choose another one with --port" if problem.errno == errno.EADDRINUSE else ""
    return f"cannot listen on {options.host}:{options.port}: {words}{hint}"


async def _serve(options: Options) -> int:
    server = Server(options)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await server.start()
    print(f"playground: {server.url}", flush=True)
    await stop.wait()
    await server.stop()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m playground", description=__doc__)
    known = Options()
    add = parser.add_argument
    add("--host", default=known.host, help=f"the address to listen on ({known.host})")
    add("--port", type=_port, default=known.port, help=f"the port ({known.port}); 0 takes a free one")
    add("--public-url", default=known.public_url, help="what its links begin with, behind a proxy (its own address)")
    add("--bot-url", default=known.bot_url, help=f"where HTTP deliveries go ({known.bot_url})")
    add("--bot-path", default=known.bot_path, help=f"the bot's path for all Slack deliveries ({known.bot_path})")
    add("--slack-mode", choices=("socket", "http"), default=known.slack_mode, help="how Slack reaches the bot (socket)")
    add("--slack-command", action="append", metavar="/NAME", help="a registered slash command; may be repeated")
    add(
        "--event-retries",
        type=_seconds,
        metavar="S,S,…",
        default=known.slack_event_retries_s,
        help="seconds before each retry of an event (0,60,300)",
    )
    add("--no-budgets", action="store_true", help="lift every rate limit")
    add(
        "--dingtalk-template", action="append", default=[], metavar="[ID=]FILE", help="a card template; may be repeated"
    )
    add(
        "--dingtalk-throttle",
        type=float,
        default=known.dingtalk_throttle_s,
        metavar="S",
        help="seconds for which a webhook robot that was too fast is throttled (600)",
    )
    add("--channel", action="append", default=[], metavar="#NAME", help="one more Slack channel; may be repeated")
    return parser


def _port(word: str) -> int:
    if not (word.isdigit() and int(word) < 65536):
        raise argparse.ArgumentTypeError(f"{word!r} is no port: 0 to 65535")
    return int(word)


def _seconds(words: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in words.split(",") if word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{words!r} are no seconds: 0,60,300") from None


def _options(given: argparse.Namespace) -> Options:
    defaults = Options()
    return Options(
        host=given.host,
        port=given.port,
        public_url=given.public_url,
        bot_url=given.bot_url,
        bot_path=given.bot_path,
        budgets=not given.no_budgets,
        slack_mode=given.slack_mode,
        slack_event_retries_s=given.event_retries,
        slack_commands=tuple(given.slack_command) if given.slack_command else defaults.slack_commands,
        dingtalk_templates=tuple(given.dingtalk_template),
        dingtalk_throttle_s=given.dingtalk_throttle,
        extra_channels=tuple(given.channel),
    )


if __name__ == "__main__":
    sys.exit(main())
