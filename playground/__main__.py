"""`python -m playground`: stand-ins for Slack and DingTalk with a web page, on one port."""

import argparse
import asyncio
import signal
import sys

from playground.options import Options
from playground.server import Server


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; 1 where it cannot start, with one line that says why."""
    options = _options(_parser().parse_args(arguments))
    try:
        return asyncio.run(_serve(options))
    except OSError as problem:
        print(
            f"playground: cannot listen on {options.host}:{options.port}: {problem.strerror or problem}",
            file=sys.stderr,
        )
    except ValueError as problem:
        print(f"playground: {problem}", file=sys.stderr)
    return 1


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
    defaults = Options()
    parser.add_argument("--host", default=defaults.host)
    parser.add_argument("--port", type=int, default=defaults.port, help="0 takes a free one")
    parser.add_argument("--bot-url", default=defaults.bot_url, help="where HTTP deliveries go")
    parser.add_argument("--bot-path", default=defaults.bot_path, help="the bot's path for all Slack deliveries")
    parser.add_argument("--slack-mode", choices=("socket", "http"), default=defaults.slack_mode)
    parser.add_argument("--slack-command", action="append", metavar="/NAME", help="a registered slash command")
    parser.add_argument("--event-retries", metavar="S,S,…", help="seconds before each retry of an event")
    parser.add_argument("--no-budgets", action="store_true", help="lift every rate limit")
    parser.add_argument("--dingtalk-template", action="append", default=[], metavar="[ID=]FILE", help="a card template")
    parser.add_argument("--dingtalk-throttle", type=float, default=defaults.dingtalk_throttle_s, metavar="S")
    parser.add_argument("--channel", action="append", default=[], metavar="#NAME", help="one more Slack channel")
    return parser


def _options(given: argparse.Namespace) -> Options:
    defaults = Options()
    retries = defaults.slack_event_retries_s
    if given.event_retries is not None:
        retries = tuple(float(one) for one in given.event_retries.split(",") if one)
    return Options(
        host=given.host,
        port=given.port,
        bot_url=given.bot_url,
        bot_path=given.bot_path,
        budgets=not given.no_budgets,
        slack_mode=given.slack_mode,
        slack_event_retries_s=retries,
        slack_commands=tuple(given.slack_command) if given.slack_command else defaults.slack_commands,
        dingtalk_templates=tuple(given.dingtalk_template),
        dingtalk_throttle_s=given.dingtalk_throttle,
        extra_channels=tuple(given.channel),
    )


if __name__ == "__main__":
    sys.exit(main())
