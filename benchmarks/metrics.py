"""A stand-in of Prometheus' query API in a process of its own: answers at once and notes what was asked when.

`python -m benchmarks.metrics PORT`; `GET /asked` gives the queries with their times, `DELETE /asked` forgets them.
"""

from __future__ import annotations

import sys
import time

from aiohttp import web

ANSWER = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[%.3f,"0.004"]}]}}'


class Door:
    """Every query finds one series, within its limit."""

    def __init__(self) -> None:
        self._asked: list[tuple[float, str]] = []

    async def query(self, request: web.Request) -> web.Response:
        """`POST /api/v1/query`"""
        at = time.time()
        form = await request.post()
        self._asked.append((at, str(form.get("query", ""))))
        return web.Response(body=ANSWER % at, content_type="application/json")

    async def asked(self, _request: web.Request) -> web.Response:
        """What was asked since the last `DELETE`."""
        return web.json_response(self._asked)

    async def forget(self, _request: web.Request) -> web.Response:
        """Begin anew."""
        self._asked.clear()
        return web.json_response({})


def main(port: int) -> None:
    """Serve until SIGTERM."""
    door, app = Door(), web.Application()
    app.add_routes(
        [
            web.post("/api/v1/query", door.query),
            web.get("/asked", door.asked),
            web.delete("/asked", door.forget),
        ]
    )
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
